"""State resolution of room versions 2 to 12: who wins where states conflict."""

from collections.abc import Callable, Sequence

import pytest

from homeserver.core.auth_rules import MissingEvents
from homeserver.core.events import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.state_resolution import (
    auth_chain_of,
    auth_difference_of,
    conflicted_subgraph_of,
    resolve,
    separate,
)
from homeserver.core.state_resolution_ordering import is_power_event, reverse_topological_power_order
from tests.core.large_forks import forked_room
from tests.core.room_dag import START_MS, RoomDag, State, started_room

ALICE, BOB, CAROL = "@alice:a.example", "@bob:b.example", "@carol:c.example"
FROM_2 = [version for version in ROOM_VERSIONS if version != "1"]
PER_VERSION = pytest.mark.parametrize("version", FROM_2)


def users(room: RoomDag, **levels: int) -> dict[str, int]:
    names = {"alice": ALICE, "bob": BOB, "carol": CAROL}
    return {
        names[name]: level
        for name, level in levels.items()
        if not (name == "alice" and room.version.privileged_creators)
    }


def merged(room: RoomDag, *tips: Event) -> State:
    states = [room.state_after[tip.event_id] for tip in tips]
    resolved = room.resolve(states)
    assert resolved == room.resolve(states[::-1])
    return resolved


@PER_VERSION
def test_a_ban_beats_what_the_banned_user_did_meanwhile(version: str) -> None:
    room = started_room(version, BOB)
    room.power_levels(ALICE, users(room, alice=100, bob=50))
    fork = room.last
    topic = room.send("m.room.topic", BOB, {"topic": "mine"}, "", prev=[fork])
    ban = room.member(ALICE, "ban", BOB, prev=[fork], ts=START_MS + 1000)
    state = merged(room, topic, ban)
    assert state["m.room.member", BOB] == ban.event_id
    assert ("m.room.topic", "") not in state


@PER_VERSION
def test_of_two_admins_who_demote_each_other_the_higher_one_wins(version: str) -> None:
    room = started_room(version, BOB)
    room.power_levels(ALICE, users(room, alice=100, bob=99), content={"events": {"m.room.power_levels": 50}})
    fork = room.last
    by_bob = room.power_levels(BOB, users(room, alice=100, bob=99, carol=99), prev=[fork], ts=START_MS + 1)
    by_alice = room.power_levels(ALICE, users(room, alice=100, bob=0), prev=[fork], ts=START_MS + 2)
    assert merged(room, by_bob, by_alice)["m.room.power_levels", ""] == by_alice.event_id


@PER_VERSION
def test_of_two_topics_the_later_wins_whatever_its_depth(version: str) -> None:
    room = started_room(version)
    fork = room.last
    late = room.send("m.room.topic", ALICE, {"topic": "late"}, "", prev=[fork], ts=START_MS + 500)
    early = fork
    for number in range(5):
        early = room.send("m.room.topic", ALICE, {"topic": f"early {number}"}, "", prev=[early])
    assert merged(room, late, early)["m.room.topic", ""] == late.event_id


@PER_VERSION
def test_a_topic_set_under_newer_power_levels_wins_over_a_later_one(version: str) -> None:
    room = started_room(version)
    fork = room.last
    under_old = room.send("m.room.topic", ALICE, {"topic": "old"}, "", prev=[fork], ts=START_MS + 500)
    levels = room.power_levels(ALICE, users(room, alice=100, carol=10), prev=[fork])
    under_new = room.send("m.room.topic", ALICE, {"topic": "new"}, "", prev=[levels])
    assert merged(room, under_old, under_new)["m.room.topic", ""] == under_new.event_id


@PER_VERSION
def test_joining_under_a_join_rule_that_was_closed_meanwhile_fails(version: str) -> None:
    room = started_room(version)
    fork = room.last
    closed = room.join_rule(ALICE, "invite", prev=[fork])
    join = room.member(BOB, "join", prev=[fork], ts=START_MS + 1)
    assert ("m.room.member", BOB) not in merged(room, closed, join)


@PER_VERSION
def test_state_on_which_all_agree_stays(version: str) -> None:
    room = started_room(version, BOB)
    fork = room.last
    tips = [room.send("m.room.topic", ALICE, {"topic": str(number)}, "", prev=[fork]) for number in range(3)]
    state = merged(room, *tips)
    assert {key: value for key, value in state.items() if key[0] != "m.room.topic"} == room.state_after[fork.event_id]


def test_states_without_conflict_are_returned_without_looking_at_events() -> None:
    room = started_room("12")
    state = room.state_after[room.last.event_id]
    assert resolve(room.version, [state, dict(state)], {}) == state
    assert resolve(room.version, [], {}) == {}


def test_a_key_that_some_states_lack_is_conflicted() -> None:
    first, second = {("a", ""): "$1", ("b", ""): "$2"}, {("a", ""): "$1", ("c", ""): "$3"}
    unconflicted, conflicted = separate([first, second])
    assert unconflicted == {("a", ""): "$1"}
    assert conflicted == {("b", ""): {"$2"}, ("c", ""): {"$3"}}


def test_rejected_auth_events_do_not_stand_in_for_missing_state() -> None:
    room = started_room("12", BOB)
    room.power_levels(ALICE, {}, content={"events": {"org.example": 0}})
    fork = room.last
    topics = [room.send("org.example", BOB, {}, BOB, prev=[fork], ts=START_MS + number) for number in (1, 2)]
    room_states = [room.state_after[topic.event_id] for topic in topics]
    states = [{key: value for key, value in state.items() if key != ("m.room.member", BOB)} for state in room_states]
    joined = room_states[0]["m.room.member", BOB]
    assert ("org.example", BOB) in resolve(room.version, states, room.events)
    assert ("org.example", BOB) not in resolve(room.version, states, room.events, rejected={joined})


@PER_VERSION
def test_missing_events_are_asked_for_until_the_resolution_succeeds(version: str) -> None:
    room, forks = forked_room(version, 60)
    expected = resolve(room.version, forks, room.events)
    difference = auth_difference_of(forks, room.events)
    _, conflicted = separate(forks)
    subgraph = conflicted_subgraph_of(set().union(*conflicted.values()), room.events)
    known: dict[str, Event] = {}
    for _ in range(80):
        missing = missing_for(lambda: resolve(room.version, forks, known, difference, subgraph))
        if not missing:
            break
        assert not missing & known.keys()
        known.update((event_id, room.events[event_id]) for event_id in missing)
    assert resolve(room.version, forks, known, difference, subgraph) == expected


def missing_for(resolution: Callable[[], object]) -> frozenset[str]:
    try:
        resolution()
    except MissingEvents as missing:
        return missing.event_ids
    return frozenset()


def test_missing_events_of_a_chain_are_named() -> None:
    room = started_room("12", BOB)
    known = {event_id: event for event_id, event in room.events.items() if event is not room.create}
    with pytest.raises(MissingEvents) as raised:
        auth_chain_of([room.last.event_id], known)
    assert raised.value.event_ids == {room.create.event_id}


def test_the_auth_difference_is_what_some_states_rest_on_but_not_all() -> None:
    room = started_room("11", BOB)
    fork = room.last
    levels = room.power_levels(ALICE, users(room, alice=100, bob=50), prev=[fork])
    newer = room.power_levels(ALICE, users(room, alice=100, bob=60), prev=[levels])
    topic = room.send("m.room.topic", ALICE, {}, "", prev=[fork])
    states = [room.state_after[tip.event_id] for tip in (newer, topic)]
    assert auth_difference_of(states, room.events) == {levels.event_id, newer.event_id, topic.event_id}
    assert auth_difference_of(states[:1], room.events) == set()


def test_the_conflicted_subgraph_has_what_lies_between_conflicted_events() -> None:
    room = started_room("12", BOB)
    first, middle, last = (room.power_levels(ALICE, {BOB: level}) for level in (10, 20, 30))
    aside = room.send("m.room.topic", ALICE, {}, "")
    assert conflicted_subgraph_of({first.event_id, last.event_id}, room.events) == {
        first.event_id,
        middle.event_id,
        last.event_id,
    }
    assert conflicted_subgraph_of({aside.event_id}, room.events) == {aside.event_id}


def test_version_12_replays_what_lies_between_conflicted_events() -> None:
    """A state that forgot the newer power levels on one side does not bring the old ones back for good."""
    room = started_room("12", BOB)
    first = room.power_levels(ALICE, {BOB: 50})
    state_with_first = dict(room.state_after[first.event_id])
    room.power_levels(ALICE, {BOB: 0})
    last = room.power_levels(ALICE, {CAROL: 5})
    states = [state_with_first, room.state_after[last.event_id]]
    assert room.resolve(states)["m.room.power_levels", ""] == last.event_id


@pytest.mark.parametrize(
    ("event_type", "sender", "state_key", "membership", "expected"),
    [
        ("m.room.power_levels", ALICE, "", None, True),
        ("m.room.power_levels", ALICE, "x", None, False),
        ("m.room.join_rules", ALICE, "", None, True),
        ("m.room.topic", ALICE, "", None, False),
        ("m.room.member", ALICE, BOB, "ban", True),
        ("m.room.member", ALICE, BOB, "leave", True),
        ("m.room.member", BOB, BOB, "leave", False),
        ("m.room.member", ALICE, BOB, "invite", False),
    ],
)
def test_power_events_may_take_abilities_away(
    event_type: str, sender: str, state_key: str, membership: str | None, expected: bool
) -> None:
    room = started_room("11")
    assert is_power_event(room.event(event_type, sender, {"membership": membership}, state_key)) == expected


def test_power_order_puts_causes_first_then_power_then_time_then_id() -> None:
    room = started_room("11", BOB, CAROL)
    room.power_levels(ALICE, users(room, alice=100, bob=50))
    fork = room.last

    def event(sender: str, ts: int) -> Event:
        content = {"join_rule": "public", "number": len(room.events)}
        return room.add(room.event("m.room.join_rules", sender, content, "", prev=[fork], ts=ts))

    by_alice, late, early, twin = event(ALICE, 9), event(BOB, 5), event(BOB, 1), event(BOB, 5)
    events = [by_alice, late, early, twin]
    expected = [by_alice, early, *sorted((late, twin), key=lambda e: e.event_id)]
    assert order(room, events, {}) == expected
    assert order(room, events, {by_alice: [late]}) == [early, *sorted_after(expected[2:], late, by_alice)]


def sorted_after(twins: list[Event], cause: Event, effect: Event) -> list[Event]:
    """`effect` becomes the candidate of the highest power as soon as its cause is out."""
    return [e for twin in twins for e in ((twin, effect) if twin is cause else (twin,))]


def order(room: RoomDag, events: Sequence[Event], cites: dict[Event, list[Event]]) -> list[Event]:
    graph = {event.event_id: [cited.event_id for cited in cites.get(event, [])] for event in events}
    return [room.events[event_id] for event_id in reverse_topological_power_order(graph, room.events)]


@pytest.mark.parametrize("version", ["1", "2", "11", "12"])
def test_ten_thousand_conflicted_events_resolve(version: str) -> None:
    room, forks = forked_room(version, 10_000)
    state = resolve(room.version, forks, room.events)
    assert len(state) > 7_000
    assert resolve(room.version, forks[::-1], room.events) == state


def test_auth_chains_thousands_of_events_long_resolve() -> None:
    room, forks = forked_room("12", 0)
    state = forks[0]
    long_fork = dict(state)
    for number in range(5_000):
        event = room.event(
            "m.room.power_levels", ALICE, {"users": {BOB: number}}, "", prev=[room.create], state=long_fork
        )
        room.events[event.event_id] = event
        long_fork[event.key] = event.event_id
    topic = room.event("m.room.topic", ALICE, {}, "", prev=[room.create], state=state)
    room.events[topic.event_id] = topic
    resolved = room.resolve([long_fork, state | {topic.key: topic.event_id}])
    assert resolved == long_fork | {topic.key: topic.event_id}
