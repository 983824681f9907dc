"""What holds for state resolution on any room: the order of arrival does not matter, agreement is kept."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.state_resolution import (
    auth_chain_of,
    auth_difference_of,
    conflicted_subgraph_of,
    resolve,
    separate,
)
from homeserver.core.state_resolution_v1 import separate_v1
from tests.core.random_rooms import RandomRoom
from tests.core.room_dag import RoomDag, State

VERSIONS = st.sampled_from(list(ROOM_VERSIONS))
SEEDS = st.integers(min_value=0, max_value=2**32)
quick = settings(max_examples=40, deadline=None)


@st.composite
def rooms_with_states(draw: Any) -> tuple[RoomDag, list[State]]:
    """A random room and two to four states of it."""
    rng = Random(draw(SEEDS))
    room = RandomRoom(rng, draw(VERSIONS)).grow(35).room
    states = [dict(state) for state in room.state_after.values()]
    return room, rng.sample(states, min(len(states), rng.randint(2, 4)))


@quick
@given(rooms_with_states(), st.randoms(use_true_random=False))
def test_the_order_of_states_and_of_their_entries_does_not_matter(case: tuple[RoomDag, list[State]], rng: Any) -> None:
    room, states = case
    shuffled = []
    for state in states:
        entries = list(state.items())
        rng.shuffle(entries)
        shuffled.append(dict(entries))
    rng.shuffle(shuffled)
    events = list(room.events.items())
    rng.shuffle(events)
    assert resolve(room.version, shuffled, dict(events)) == room.resolve(states)


@quick
@given(rooms_with_states())
def test_repeating_a_state_changes_nothing(case: tuple[RoomDag, list[State]]) -> None:
    room, states = case
    assert room.resolve([*states, states[0]]) == room.resolve(states)


@quick
@given(rooms_with_states())
def test_what_all_states_agree_on_is_kept_and_nothing_is_invented(case: tuple[RoomDag, list[State]]) -> None:
    room, states = case
    resolved = room.resolve(states)
    agreed, _ = separate_v1(states) if room.version.identifier == "1" else separate(states)
    assert agreed.items() <= resolved.items()
    assert all(room.events[event_id].key == key for key, event_id in resolved.items())
    chain = auth_chain_of((event_id for state in states for event_id in state.values()), room.events)
    assert set(resolved.values()) <= chain


@quick
@given(rooms_with_states())
def test_resolving_a_state_with_itself_is_that_state(case: tuple[RoomDag, list[State]]) -> None:
    room, states = case
    assert room.resolve([states[0]]) == states[0] == room.resolve([states[0], dict(states[0])])


@quick
@given(rooms_with_states())
def test_events_may_come_from_a_function_and_chains_from_an_index(case: tuple[RoomDag, list[State]]) -> None:
    room, states = case
    difference = auth_difference_of(states, room.events)
    conflicted = set().union(*separate(states)[1].values())
    subgraph = conflicted_subgraph_of(conflicted, room.events)
    assert resolve(room.version, states, room.events.get, difference, subgraph) == room.resolve(states)
    assert conflicted <= subgraph


@quick
@given(rooms_with_states())
def test_the_auth_difference_is_union_minus_intersection_of_chains(case: tuple[RoomDag, list[State]]) -> None:
    room, states = case
    chains = [auth_chain_of(state.values(), room.events) for state in states]
    assert auth_difference_of(states, room.events) == set.union(*chains) - set.intersection(*chains)


@quick
@given(rooms_with_states())
def test_the_conflicted_subgraph_is_every_event_between_two_conflicted_ones(case: tuple[RoomDag, list[State]]) -> None:
    room, states = case
    conflicted = set().union(*separate(states)[1].values())
    between = {
        event_id
        for event_id in auth_chain_of(conflicted, room.events)
        if auth_chain_of([event_id], room.events) & conflicted
    }
    assert conflicted_subgraph_of(conflicted, room.events) == between
