"""Which state events authorise an event: server-server-api §Auth events selection."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import RoomVersion

CREATE_KEY: Final[StateKey] = ("m.room.create", "")
POWER_LEVELS_KEY: Final[StateKey] = ("m.room.power_levels", "")
JOIN_RULES_KEY: Final[StateKey] = ("m.room.join_rules", "")


class EventLike(Protocol):
    """What is needed of an event, or of a draft of one, to select its auth events."""

    @property
    def type(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def state_key(self) -> str | None: ...
    @property
    def content(self) -> dict[str, Any]: ...


def auth_types_for(
    event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any], version: RoomVersion
) -> list[StateKey]:
    """The keys of the room state that belong in an event's `auth_events`, without duplicates.

    The create event is among them only in the room versions that list it (not in version 12).
    """
    if event_type == "m.room.create":
        return []
    keys = [POWER_LEVELS_KEY, ("m.room.member", sender)]
    if version.create_event_in_auth_events:
        keys.append(CREATE_KEY)
    if event_type == "m.room.member":
        for key in _member_auth_types(state_key, content, version):
            if key not in keys:
                keys.append(key)
    return keys


def _member_auth_types(state_key: str | None, content: Mapping[str, Any], version: RoomVersion) -> list[StateKey]:
    keys: list[StateKey] = []
    membership = content.get("membership")
    if state_key is not None:
        keys.append(("m.room.member", state_key))
    if membership in ("join", "invite", "knock"):
        keys.append(JOIN_RULES_KEY)
    if membership == "invite":
        token = third_party_invite_token(content)
        if token is not None:
            keys.append(("m.room.third_party_invite", token))
    if membership == "join" and version.restricted_joins:
        authorised_via = content.get("join_authorised_via_users_server")
        if isinstance(authorised_via, str):
            keys.append(("m.room.member", authorised_via))
    return keys


def third_party_invite_token(content: Mapping[str, Any]) -> str | None:
    """The `third_party_invite.signed.token` of an invite's content, where there is a well-formed one."""
    third_party_invite = content.get("third_party_invite")
    signed = third_party_invite.get("signed") if isinstance(third_party_invite, Mapping) else None
    token = signed.get("token") if isinstance(signed, Mapping) else None
    return token if isinstance(token, str) else None


def select_auth_events(
    event: EventLike, state: Mapping[StateKey, str], version: RoomVersion | None = None
) -> list[str]:
    """The ids of the events of `state` that an event must name in `auth_events`.

    `version` may be left out for an `Event`, which knows its room version.
    """
    if version is None:
        if not isinstance(event, Event):
            raise TypeError("a draft does not know its room version")
        version = event.room_version
    keys = auth_types_for(event.type, event.sender, event.state_key, event.content, version)
    return [state[key] for key in keys if key in state]
