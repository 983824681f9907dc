"""The first state resolution algorithm (room version 1)."""

import pytest

from homeserver.core.auth_rules import MissingEvents
from homeserver.core.events import Event
from homeserver.core.state_resolution import resolve
from homeserver.core.state_resolution_v1 import separate_v1
from tests.core.room_dag import RoomDag, State, started_room

ALICE, BOB, CAROL = "@alice:a.example", "@bob:b.example", "@carol:c.example"


def merged(room: RoomDag, *tips: Event) -> State:
    states = [room.state_after[tip.event_id] for tip in tips]
    resolved = room.resolve(states)
    assert resolved == room.resolve(states[::-1])
    return resolved


def test_the_deepest_topic_wins() -> None:
    room = started_room("1")
    fork = room.last
    shallow = room.send("m.room.topic", ALICE, {"topic": "shallow"}, "", prev=[fork])
    message = room.send("m.room.message", ALICE, {}, prev=[fork])
    deep = room.send("m.room.topic", ALICE, {"topic": "deep"}, "", prev=[message])
    assert merged(room, shallow, deep)["m.room.topic", ""] == deep.event_id


def test_a_deeper_topic_that_is_not_allowed_any_longer_loses() -> None:
    room = started_room("1", BOB)
    room.power_levels(ALICE, {ALICE: 100, BOB: 50})
    fork = room.last
    demoted = room.power_levels(ALICE, {ALICE: 100, BOB: 0}, prev=[fork])
    by_alice = room.send("m.room.topic", ALICE, {"topic": "a"}, "", prev=[demoted])
    message = room.send("m.room.message", BOB, {}, prev=[fork])
    deeper = room.send("m.room.topic", BOB, {"topic": "b"}, "", prev=[message])
    deepest = room.send("m.room.topic", BOB, {"topic": "c"}, "", prev=[deeper])
    assert merged(room, by_alice, deepest)["m.room.topic", ""] == by_alice.event_id


def test_power_levels_are_followed_while_each_allows_the_next() -> None:
    room = started_room("1", BOB)
    base = room.power_levels(ALICE, {ALICE: 100, BOB: 100})
    first = room.power_levels(ALICE, {ALICE: 100, BOB: 100}, content={"ban": 60})
    second = room.power_levels(BOB, {ALICE: 100, BOB: 100}, content={"ban": 70})
    assert merged(room, base, first, second)["m.room.power_levels", ""] == second.event_id


def test_bans_hold_against_power_events_of_the_other_side() -> None:
    room = started_room("1", BOB)
    fork = room.last
    ban = room.member(ALICE, "ban", BOB, prev=[fork])
    message = room.send("m.room.message", BOB, {}, prev=[fork])
    rejoin = room.member(BOB, "join", prev=[message])
    assert merged(room, ban, rejoin)["m.room.member", BOB] == ban.event_id


def test_a_key_that_some_states_lack_is_no_conflict() -> None:
    agreed, conflicted = separate_v1([{("a", ""): "$1", ("b", ""): "$2"}, {("a", ""): "$3", ("c", ""): "$4"}])
    assert agreed == {("b", ""): "$2", ("c", ""): "$4"}
    assert conflicted == {("a", ""): {"$1", "$3"}}


def test_missing_events_are_asked_for() -> None:
    room = started_room("1")
    fork = room.last
    tips = [room.send("m.room.topic", ALICE, {"topic": str(number)}, "", prev=[fork]) for number in range(2)]
    states = [room.state_after[tip.event_id] for tip in tips]
    known: dict[str, Event] = {}
    with pytest.raises(MissingEvents) as raised:
        resolve(room.version, states, known)
    assert raised.value.event_ids == {tip.event_id for tip in tips}
    known.update((tip.event_id, tip) for tip in tips)
    with pytest.raises(MissingEvents) as raised:
        resolve(room.version, states, known)
    needed = {("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", ALICE)}
    assert raised.value.event_ids == {states[0][key] for key in needed}


def test_an_event_that_nothing_allows_still_leaves_one_standing() -> None:
    room = started_room("1", BOB, CAROL)
    fork = room.last
    topics = [room.add(room.event("m.room.topic", CAROL, {"topic": str(n)}, "", prev=[fork])) for n in range(2)]
    assert merged(room, *topics)["m.room.topic", ""] in {topic.event_id for topic in topics}
