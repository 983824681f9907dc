"""Hearth and Synapse judge an event's own auth events alike, and write the same canonical JSON."""

from random import Random
from typing import Any

import pytest

from homeserver.core.auth_rules import AuthError, check_state_independent
from homeserver.core.canonical_json import CanonicalJSONError, encode
from homeserver.core.events import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.random_rooms import RandomRoom
from tests.core.room_dag import RoomDag
from tests.differential.reference import Synapse

ROOMS = 6


def _with_other_auth_events(rng: Random, room: RoomDag) -> Event:
    """An event like one of the room's, with auth events taken away, doubled or added."""
    like = rng.choice([event for event in room.events.values() if event.type != "m.room.create"])
    auth_events = [event_id for event_id in like.auth_events if rng.random() < 0.9]
    if rng.random() < 0.6:
        auth_events.append(rng.choice([event.event_id for event in room.events.values() if event.is_state]))
    extra = {} if like.redacts is None or room.version.redacts_in_content else {"redacts": like.redacts}
    return room.event(
        like.type, like.sender, like.content, like.state_key, state={}, auth_events=auth_events, ts=1, **extra
    )


def _refusal(room: RoomDag, event: Event) -> str | None:
    try:
        check_state_independent(event, [room.events[event_id] for event_id in event.auth_events])
    except AuthError as error:
        return error.rule
    return None


@pytest.mark.parametrize("version", ROOM_VERSIONS)
@pytest.mark.parametrize("seed", range(ROOMS))
def test_wrong_auth_events_are_refused_alike(synapse: Synapse, version: str, seed: int) -> None:
    rng = Random(f"{seed} {version}")
    room = RandomRoom(rng, version).grow(30).room
    events = [_with_other_auth_events(rng, room) for _ in range(40)]
    if not room.version.create_event_in_auth_events:
        # Synapse counts the create event among the auth events itself, and so takes it as cited or not.
        events = [event for event in events if room.create.event_id not in event.auth_events]
    answer = synapse.ask(
        {
            "version": version,
            "pdus": {event_id: event.pdu for event_id, event in room.events.items()}
            | {event.event_id: event.pdu for event in events},
            "checks": [],
            "independent": [event.event_id for event in events],
            "resolutions": [],
            "redactions": [],
        }
    )
    refusals = [_refusal(room, event) for event in events]
    for event, ours, theirs in zip(events, refusals, answer["independent"], strict=True):
        assert (ours is None) == (theirs is None), f"{event!r}: rule {ours}, Synapse: {theirs}"
    assert len({refusal is None for refusal in refusals}) == 2


def _random_json(rng: Random, depth: int = 3) -> Any:
    kinds = (
        ("text", "integer", "constant", "float") if depth == 0 else ("text", "integer", "constant", "list", "object")
    )
    match rng.choice(kinds):
        case "text":
            return _random_text(rng)
        case "integer":
            return rng.choice((0, 1, -1, 2**53 - 1, -(2**53) + 1, 2**53, -(2**53), rng.randrange(-1000, 1000)))
        case "constant":
            return rng.choice((None, True, False))
        case "float":
            return rng.choice((0.5, 1.0, -0.0, 1e300)) if rng.random() < 0.1 else 7
        case "list":
            return [_random_json(rng, depth - 1) for _ in range(rng.randrange(4))]
        case _:
            return {_random_text(rng): _random_json(rng, depth - 1) for _ in range(rng.randrange(5))}


def _random_text(rng: Random) -> str:
    alphabet = 'ab"\\/\b\t\n\x00\x1f\x7f\u0080é\u2028\ufeff\uffff😀𐀀'
    text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(5)))
    return text + "\ud83d" if rng.random() < 0.005 else text


def test_canonical_json_is_the_same(synapse: Synapse) -> None:
    values = [_random_json(Random(f"json {seed}")) for seed in range(3_000)]
    for value, theirs in zip(values, synapse.ask({"canonical": values})["canonical"], strict=True):
        try:
            ours = encode(value).decode()
        except CanonicalJSONError:
            ours = None
        assert ours == theirs, repr(value)
