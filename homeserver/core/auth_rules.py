"""The authorization rules of room versions 1 to 12: may this event be sent in a room with this state?

Numbers in comments are those of room version 12, the longest list; rules it no longer has are given with the version
that has them. An `AuthError` carries the number of the event's own room version.
https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from homeserver.core.auth_context import AuthContext, domain_of, reject
from homeserver.core.auth_errors import AuthError, MissingEvents
from homeserver.core.auth_power_level_rules import check_power_levels
from homeserver.core.auth_rule_numbers import numbers_of
from homeserver.core.auth_selection import CREATE_KEY, auth_types_for, select_auth_events
from homeserver.core.event_format import MAX_KEY_BYTES, has_too_many_bytes
from homeserver.core.events import Event, StateKey
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.member_rules import check_member
from homeserver.core.room_versions import KNOWN_VERSIONS

__all__ = [
    "AuthError",
    "MissingEvents",
    "auth_events_of",
    "auth_state_of",
    "auth_types_for",
    "check_auth",
    "check_state_independent",
    "select_auth_events",
]

_NO_EVENTS: Final[frozenset[str]] = frozenset()


def auth_events_of(event: Event) -> tuple[str, ...]:
    """The ids of the events that authorise `event`: its `auth_events` and, where its room id implies the create event
    (room version 12), that too. Empty for the create event."""
    if event.room_version.create_event_in_auth_events or event.type == "m.room.create":
        return event.auth_events
    create_id = "$" + event.room_id[1:]
    return event.auth_events if create_id in event.auth_events else (*event.auth_events, create_id)


def auth_state_of(
    event: Event,
    events: Mapping[str, Event] | Callable[[str], Event | None],
    rejected: AbstractSet[str] = _NO_EVENTS,
) -> dict[StateKey, Event]:
    """The state that an event's own auth events make up, to hand to `check_auth` (server-server-api §Checks performed
    on receipt of a PDU, step 4).

    Auth events that are in `rejected` are left out. Raises `MissingEvents` for those that `events` does not have.
    """
    get = events if callable(events) else events.get
    state: dict[StateKey, Event] = {}
    missing: list[str] = []
    for event_id in auth_events_of(event):
        if event_id in rejected:
            continue
        auth_event = get(event_id)
        if auth_event is None:
            missing.append(event_id)
        elif auth_event.is_state:
            state[auth_event.key] = auth_event
    if missing:
        raise MissingEvents(missing)
    return state


def check_state_independent(
    event: Event, auth_events: Sequence[Event], *, rejected: AbstractSet[str] = _NO_EVENTS
) -> None:
    """The rules that need nothing but the event and the events it names in `auth_events`, in that order.

    They hold or fail once and for all, so they are checked when the event is received; `check_auth` may be asked
    again with another state. `rejected` holds the ids of those auth events that were themselves rejected. Raises
    `AuthError`.
    """
    numbers = numbers_of(event.room_version)
    if has_too_many_bytes(event.type) or has_too_many_bytes(event.state_key or "", event.room_version):
        # No rule, but what servers do in the room versions whose format lets such events through.
        reject("0", "the type or state key is too long")
    # Rule 1
    if event.type == "m.room.create":
        _check_create(event)
        return
    # Rule 3
    expected = auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)
    seen: set[StateKey] = set()
    for auth_event in auth_events:
        if not auth_event.is_state or auth_event.key not in expected:
            # Rule 3.2
            reject(f"{numbers.auth_events}.2", f"{auth_event.event_id} is none of the auth events that the event needs")
        if auth_event.key in seen:
            # Rule 3.1
            reject(f"{numbers.auth_events}.1", f"two auth events have the type and state key of {auth_event.event_id}")
        seen.add(auth_event.key)
        if auth_event.event_id in rejected:
            # Rule 3.3
            reject(f"{numbers.auth_events}.3", f"the auth event {auth_event.event_id} was rejected")
        if auth_event.room_id != event.room_id:
            # Rule 3.5
            reject(f"{numbers.auth_events}.5", f"the auth event {auth_event.event_id} is of another room")
    # Rule 2.4 of room versions 1 to 11
    if event.room_version.create_event_in_auth_events and CREATE_KEY not in seen:
        reject(f"{numbers.auth_events}.4", "the auth events lack the m.room.create event")


def check_auth(event: Event, state: Mapping[StateKey, Event]) -> None:
    """Raises `AuthError` unless `event` is allowed in a room whose state is `state`.

    `state` may be as little as what `auth_types_for` names, and always has the m.room.create event (in room version 12
    too; it must be an accepted one). The rules about the event's own `auth_events` (3) are `check_state_independent`;
    that the server of `join_authorised_via_users_server` has signed (5.2) is checked with the other signatures.
    """
    # Rule 1
    if event.type == "m.room.create":
        _check_create(event)
        return
    numbers = numbers_of(event.room_version)
    create = state.get(CREATE_KEY)
    if create is None:
        rule = f"{numbers.auth_events}.4" if event.room_version.create_event_in_auth_events else numbers.room
        reject(rule, "the room has no m.room.create event")
    # Rule 2
    if event.room_version.room_id_is_create_event_hash and create.event_id[1:] != event.room_id[1:]:
        reject(numbers.room, "the room id is not that of the m.room.create event")
    # Rule 4
    if create.content.get("m.federate") is False and domain_of(event.sender) != domain_of(create.sender):
        reject(numbers.federate, "the room is not federated and the sender is on another server")
    # Rule 4 of room versions 1 to 5
    if event.type == "m.room.aliases" and event.room_version.special_case_aliases_auth:
        _check_aliases(event, numbers.aliases)
        return
    context = AuthContext(event, state, create)
    # Rule 5
    if event.type == "m.room.member":
        check_member(context)
        return
    _check_sent_by_member(context)


def _check_sent_by_member(context: AuthContext) -> None:
    """Rules 6 to 11: everything that only a joined member may do."""
    event, numbers = context.event, context.numbers
    # Rule 6
    if context.membership(event.sender) != "join":
        reject(numbers.sender_joined, "the sender is not joined to the room")
    sender_level = context.sender_level()
    # Rule 7
    if event.type == "m.room.third_party_invite":
        if sender_level < context.power_levels.invite:
            reject(f"{numbers.third_party_invite}.1", "the sender's power level is too low to invite")
        return
    # Rule 8
    required = context.power_levels.event(event.type, event.is_state)
    if sender_level < required:
        reject(numbers.required_level, f"the sender's power level is {sender_level}, {event.type} needs {required}")
    # Rule 9
    if event.state_key is not None and event.state_key != event.sender:
        _check_state_key(context, event.state_key, numbers.state_key)
    # Rule 10
    if event.type == "m.room.power_levels":
        check_power_levels(context)
    # Rule 11 of room versions 1 and 2
    elif event.type == "m.room.redaction" and event.room_version.redaction_auth_rule:
        _check_redaction(context)
    # Rule 11


def _check_create(event: Event) -> None:
    version = event.room_version
    # Rule 1.1
    if event.prev_events:
        reject("1.1", "an m.room.create event has no prev_events")
    if version.room_id_is_create_event_hash:
        # Rule 1.2
        if "room_id" in event.pdu:
            reject("1.2", "an m.room.create event of this room version has no room_id")
    elif domain_of(event.room_id) != domain_of(event.sender):
        # Rule 1.2 of room versions 1 to 11
        reject("1.2", "the room id is of another server than the sender")
    # Rule 1.3
    claimed = event.content.get("room_version", version.identifier)
    if not isinstance(claimed, str) or claimed not in KNOWN_VERSIONS:
        reject("1.3", "the room version is not known")
    # Rule 1.4 of room versions 1 to 10
    if not version.implicit_room_creator and "creator" not in event.content:
        reject("1.4", "the m.room.create event has no creator")
    # Rule 1.4
    if version.additional_creators and "additional_creators" in event.content:
        creators = event.content["additional_creators"]
        if not isinstance(creators, list) or not all(isinstance(u, str) and is_valid_user_id(u) for u in creators):
            reject("1.4", "additional_creators is not an array of user ids")
    # Rule 1.5


def _check_aliases(event: Event, rule: str) -> None:
    # Rule 4.1 of room versions 1 to 5
    if event.state_key is None:
        reject(f"{rule}.1", "an m.room.aliases event is a state event")
    # Rule 4.2 of room versions 1 to 5
    if domain_of(event.sender) != event.state_key:
        reject(f"{rule}.2", "the state key is not the sender's server")
    # Rule 4.3 of room versions 1 to 5


def _check_state_key(context: AuthContext, key: str, number: str) -> None:
    """For a state key that is not the sender."""
    event = context.event
    if not key.startswith("@"):
        if event.room_version.owned_state and has_too_many_bytes(key):
            reject(f"{number}.2", "the state key is too long")
        return
    if not event.room_version.owned_state:
        reject(number, "the state key is another user")
    end = key.find("_", key.find(":") + 1)
    owner = key if end < 0 else key[:end]
    if not is_valid_user_id(owner):
        reject(f"{number}.1.1", "the state key begins with no user id that ends there or before a _")
    if len(key.encode()) - len(owner.encode()) > MAX_KEY_BYTES + 1:
        reject(f"{number}.1.2", "what follows the user id in the state key is too long")
    levels = context.power_levels
    if owner != event.sender and context.sender_level() <= levels.user(owner):
        reject(f"{number}.1.3", "the state is that of a user who is not less powerful")


def _check_redaction(context: AuthContext) -> None:
    event = context.event
    # Rule 11.1 of room versions 1 and 2
    if context.sender_level() >= context.power_levels.redact:
        return
    # Rule 11.2 of room versions 1 and 2
    if event.redacts is not None and domain_of(event.redacts) == domain_of(event.event_id):
        return
    # Rule 11.3 of room versions 1 and 2
    reject(f"{context.numbers.redaction}.3", "the sender's power level is too low to redact events of other servers")
