"""What a new room begins with: the contents of its first state events, as its creator asked for them.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeserver.core.events import StateKey
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.room_versions import RoomVersion
from homeserver.errors import BadJson, InvalidParam

PRESETS: Final[Mapping[str, Mapping[str, str]]] = {
    "private_chat": {"join_rule": "invite", "history_visibility": "shared", "guest_access": "can_join"},
    "trusted_private_chat": {"join_rule": "invite", "history_visibility": "shared", "guest_access": "can_join"},
    "public_chat": {"join_rule": "public", "history_visibility": "shared", "guest_access": "forbidden"},
}
"""Guests are shut out of rooms that say nothing of them, so only their admission takes an event."""
TRUSTED: Final = "trusted_private_chat"
_ENCRYPTION: Final = "m.room.encryption"


@dataclass(frozen=True, slots=True)
class NewRoom:
    """What was asked for, checked. `initial_state` keeps its order; `is_public` is the visibility in the directory."""

    preset: str
    is_public: bool = False
    name: str | None = None
    topic: str | None = None
    alias_localpart: str | None = None
    invite: Sequence[str] = ()
    is_direct: bool = False
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Mapping[StateKey, dict[str, Any]] = field(default_factory=dict)
    power_levels: Mapping[str, Any] = field(default_factory=dict)


def parse(body: Mapping[str, Any]) -> NewRoom:
    """Read the body of a createRoom request. Raises `BadJson` and `InvalidParam`."""
    visibility = _get(body, "visibility", str) or "private"
    if visibility not in ("public", "private"):
        raise InvalidParam("visibility is neither public nor private")
    preset = _get(body, "preset", str) or ("public_chat" if visibility == "public" else "private_chat")
    if preset not in PRESETS:
        raise InvalidParam("There is no such preset")
    if body.get("invite_3pid"):
        raise InvalidParam("This server cannot invite by e-mail address or phone number: it uses no identity server")
    return NewRoom(
        preset=preset,
        is_public=visibility == "public",
        name=_get(body, "name", str),
        topic=_get(body, "topic", str),
        alias_localpart=_get(body, "room_alias_name", str),
        invite=_user_ids(body.get("invite"), "invite"),
        is_direct=_get(body, "is_direct", bool) or False,
        creation_content=_get(body, "creation_content", dict) or {},
        initial_state=_initial_state(_get(body, "initial_state", list) or []),
        power_levels=_get(body, "power_level_content_override", dict) or {},
    )


def create_content(new: NewRoom, version: RoomVersion, creator: str) -> dict[str, Any]:
    """The content of m.room.create. Raises `InvalidParam`."""
    content = {**new.creation_content, "room_version": version.identifier}
    content.pop("creator", None)
    if not version.implicit_room_creator:
        content["creator"] = creator
    if version.additional_creators:
        creators = _user_ids(content.pop("additional_creators", None), "additional_creators")
        if new.preset == TRUSTED:
            creators = list(dict.fromkeys([*creators, *new.invite]))
        if creators:
            content["additional_creators"] = creators
    return content


def power_levels_content(new: NewRoom, version: RoomVersion, creators: Iterable[str]) -> dict[str, Any]:
    """The content of the first m.room.power_levels; `creators` are the user and any additional creators."""
    given = new.initial_state.get(("m.room.power_levels", ""))
    if given is not None:
        return {**given, **new.power_levels}
    users: dict[str, int] = {}
    if not version.privileged_creators:
        users = dict.fromkeys(creators, 100)
        if new.preset == TRUSTED:
            users |= dict.fromkeys(new.invite, 100)
    content: dict[str, Any] = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50,
            "m.room.avatar": 50,
            # Where creators stand above all levels, replacing the room is theirs alone.
            "m.room.tombstone": 150 if version.privileged_creators else 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if new.preset == "public_chat" else 0,
        "historical": 100,
    }
    return {**content, **new.power_levels}


def state_events(new: NewRoom, alias: str | None) -> list[tuple[str, str, dict[str, Any]]]:
    """(type, state key, content) of what follows the power levels: canonical alias, preset, initial state, name,
    topic."""
    events: list[tuple[str, str, dict[str, Any]]] = []
    if alias is not None and ("m.room.canonical_alias", "") not in new.initial_state:
        events.append(("m.room.canonical_alias", "", {"alias": alias}))
    preset = PRESETS[new.preset]
    for event_type, name in (
        ("m.room.join_rules", "join_rule"),
        ("m.room.history_visibility", "history_visibility"),
        ("m.room.guest_access", "guest_access"),
    ):
        if (event_type, "") not in new.initial_state and preset[name] != "forbidden":
            events.append((event_type, "", {name: preset[name]}))
    overridden = {
        key for key, value in (("m.room.name", new.name), ("m.room.topic", new.topic)) if value is not None
    } | {"m.room.power_levels", "m.room.create"}
    events += [
        (event_type, state_key, content)
        for (event_type, state_key), content in new.initial_state.items()
        if event_type not in overridden or state_key
    ]
    if new.name is not None:
        events.append(("m.room.name", "", {"name": new.name}))
    if new.topic is not None:
        events.append(("m.room.topic", "", topic_content(new.topic)))
    return events


def topic_content(topic: str) -> dict[str, Any]:
    """The content of m.room.topic."""
    return {"topic": topic, "m.topic": {"m.text": [{"body": topic, "mimetype": "text/plain"}]}}


def _get(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise BadJson(f"{name} is of the wrong type")
    return value


def _user_ids(value: Any, name: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(u, str) and is_valid_user_id(u) for u in value):
        raise InvalidParam(f"{name} must be an array of user ids")
    return list(dict.fromkeys(value))


def _initial_state(events: list[Any]) -> dict[StateKey, dict[str, Any]]:
    state: dict[StateKey, dict[str, Any]] = {}
    for event in events:
        if not isinstance(event, dict):
            raise BadJson("initial_state must hold objects")
        event_type, state_key, content = event.get("type"), event.get("state_key"), event.get("content")
        if state_key is None:
            state_key = ""
        if not isinstance(event_type, str) or not isinstance(state_key, str) or not isinstance(content, dict):
            raise BadJson("Events of initial_state need a type, a state_key and a content")
        if event_type in ("m.room.create", "m.room.member"):
            raise BadJson(f"{event_type} cannot be part of initial_state")
        state[event_type, state_key] = content
    return state
