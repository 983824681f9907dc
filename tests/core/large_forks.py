"""A room that split in two long ago, made quickly: its events have invented ids and no hashes."""

from typing import Any

from homeserver.core.auth_rules import select_auth_events
from homeserver.core.events import Event, StateKey
from tests.core.room_dag import START_MS, RoomDag, started_room

Fork = dict[StateKey, str]


def forked_room(version: str, conflicted: int) -> tuple[RoomDag, list[Fork]]:
    """A room with two states that differ in `conflicted` events altogether (full conflicted set): of ten events nine
    are memberships, every fifth of them a ban by the creator, and one changes the power levels."""
    room = started_room(version)
    base = room.state_after[room.last.event_id]
    return room, [_grow(room, dict(base), name, conflicted // 2) for name in ("a", "b")]


def _grow(room: RoomDag, state: Fork, fork: str, count: int) -> Fork:
    for number in range(count):
        user = f"@user{number}:{fork if number % 3 else 'both'}.example"
        if number % 10 == 0:
            users = {} if room.version.privileged_creators else {room.creator: 100}
            event = _event(room, state, f"{fork}{number}", "m.room.power_levels", room.creator, {"users": users}, "")
        elif number % 5 == 0:
            event = _event(room, state, f"{fork}{number}", "m.room.member", room.creator, {"membership": "ban"}, user)
        else:
            event = _event(room, state, f"{fork}{number}", "m.room.member", user, {"membership": "join"}, user)
        room.events[event.event_id] = event
        state[event.key] = event.event_id
    return state


def _event(
    room: RoomDag, state: Fork, name: str, event_type: str, sender: str, content: dict[str, Any], state_key: str
) -> Event:
    pdu: dict[str, Any] = {
        "type": event_type,
        "room_id": room.room_id,
        "sender": sender,
        "content": content,
        "state_key": state_key,
        "depth": 10,
        "origin_server_ts": START_MS + hash_of(name) % 1000,
        "prev_events": [],
        "auth_events": [],
    }
    draft = Event(pdu, room.version, "$draft")
    auth_events = select_auth_events(draft, state)
    references = [[e, {}] for e in auth_events] if room.version.event_references_carry_hashes else auth_events
    return Event({**pdu, "auth_events": references}, room.version, f"${name}")


def hash_of(name: str) -> int:
    """A number that looks random and is the same in every run."""
    return sum(ord(character) * 31**position for position, character in enumerate(name))
