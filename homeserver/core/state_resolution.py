"""State resolution: the one state of a room that follows from several conflicting ones.

This is the second algorithm, of room versions 2 to 11, and its revision of room version 12 ("v2.1"); the first is in
`state_resolution_v1`. https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from homeserver.core.auth_errors import AuthError, MissingEvents
from homeserver.core.auth_rules import auth_events_of, auth_types_for, check_auth
from homeserver.core.auth_selection import POWER_LEVELS_KEY
from homeserver.core.events import Event, StateKey, StateMap
from homeserver.core.room_versions import RoomVersion
from homeserver.core.state_resolution_chains import auth_chain_of, auth_difference_of, conflicted_subgraph_of
from homeserver.core.state_resolution_events import Events, LoadedEvents
from homeserver.core.state_resolution_ordering import (
    MainlineOrder,
    power_events_with_chains,
    reverse_topological_power_order,
)
from homeserver.core.state_resolution_v1 import resolve_v1

__all__ = [
    "Events",
    "MissingEvents",
    "auth_chain_of",
    "auth_difference_of",
    "conflicted_subgraph_of",
    "resolve",
    "separate",
]

_NO_EVENTS: Final[frozenset[str]] = frozenset()


def resolve(
    version: RoomVersion,
    state_sets: Sequence[StateMap],
    events: Events,
    auth_difference: AbstractSet[str] | None = None,
    conflicted_subgraph: AbstractSet[str] | None = None,
    rejected: AbstractSet[str] = _NO_EVENTS,
) -> dict[StateKey, str]:
    """The state of a room before an event whose previous events have the states `state_sets` after them.

    `events` finds events by id. Needed are: the conflicted events (`separate` tells them), the auth difference and the
    conflicted subgraph, what all of those cite in `auth_events`, the unconflicted state that authorises them, and the
    chain of m.room.power_levels events behind the current one, which is asked for link by link: hand in all of the
    room's at once. Raises `MissingEvents` for what is not there; call again with it added.

    `auth_difference` and `conflicted_subgraph` (used in room version 12 only) come from the caller's index of auth
    chains; where None they are worked out from `events`, which then needs whole auth chains. Whether the auth
    difference counts events that all states share does not matter much, but must be the same on all servers: see
    `auth_difference_of`. `rejected` has the ids of rejected events: they authorise nothing.

    Pure and deterministic: neither the order of `state_sets` nor of anything in them matters, nor does repetition.
    """
    if not state_sets:
        return {}
    if version.state_resolution == "v1":
        return resolve_v1(state_sets, events)
    unconflicted, conflicted = separate(state_sets)
    if not conflicted:
        return unconflicted
    conflicted_ids = set().union(*conflicted.values())
    if auth_difference is None:
        auth_difference = auth_difference_of(state_sets, events)
    full_conflicted_set = conflicted_ids | auth_difference
    base: StateMap = unconflicted
    if version.state_resolution == "v2.1":
        if conflicted_subgraph is None:
            conflicted_subgraph = conflicted_subgraph_of(conflicted_ids, events)
        full_conflicted_set |= conflicted_subgraph
        base = {}
    resolution = _Resolution(full_conflicted_set, base, events, rejected)
    # Step 5: unconflicted state wins.
    return resolution.run() | unconflicted


def separate(state_sets: Sequence[StateMap]) -> tuple[dict[StateKey, str], dict[StateKey, set[str]]]:
    """The unconflicted state map and, by key, the conflicted state set. A key that one of the states lacks is
    conflicted."""
    unconflicted: dict[StateKey, str] = {}
    conflicted: dict[StateKey, set[str]] = {}
    first, others = state_sets[0], state_sets[1:]
    for key, event_id in first.items():
        for other in others:
            if other.get(key) != event_id:
                conflicted[key] = {state[key] for state in state_sets if key in state}
                break
        else:
            unconflicted[key] = event_id
    for other in others:
        for key in other:
            if key not in first and key not in conflicted:
                conflicted[key] = {state[key] for state in state_sets if key in state}
    return unconflicted, conflicted


class _Resolution:
    """One run of steps 1 to 4 over a full conflicted set."""

    def __init__(
        self, full_conflicted_set: AbstractSet[str], base: StateMap, events: Events, rejected: AbstractSet[str]
    ) -> None:
        self._conflicted = full_conflicted_set
        self._base = base
        self._rejected = rejected
        self._partial: dict[StateKey, str] = {}
        self._events = LoadedEvents(events)
        self._auth_types: dict[str, list[StateKey]] = {}

    def run(self) -> dict[StateKey, str]:
        """The partially resolved state after step 4, without what it only has from the base."""
        self._load_conflicted()
        # Step 1
        graph = power_events_with_chains(self._conflicted, self._events)
        # Step 2
        for event_id in reverse_topological_power_order(graph, self._events):
            self._apply(self._events[event_id])
        # Step 3
        remaining = [self._events[event_id] for event_id in self._conflicted if event_id not in graph]
        if remaining:
            power_levels = self._partial.get(POWER_LEVELS_KEY) or self._base.get(POWER_LEVELS_KEY)
            remaining.sort(key=MainlineOrder(power_levels, self._events).key)
        # Step 4
        for event in remaining:
            self._apply(event)
        return self._partial

    def _load_conflicted(self) -> None:
        """Fetches the full conflicted set, then all that its auth checks may look at."""
        self._events.load(self._conflicted)
        needed: set[str] = set()
        for event_id in self._conflicted:
            event = self._events[event_id]
            needed.update(auth_events_of(event))
            keys = auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)
            self._auth_types[event_id] = keys
            if self._base:
                needed.update(self._base[key] for key in keys if key in self._base)
        self._events.load(needed)

    def _apply(self, event: Event) -> None:
        """One iterative auth check: the event becomes state if the partially resolved state allows it, completed by
        the event's own auth events."""
        if event.state_key is None:
            return
        events, partial, base = self._events, self._partial, self._base
        state: dict[StateKey, Event] = {}
        for auth_id in auth_events_of(event):
            if auth_id not in self._rejected:
                auth_event = events[auth_id]
                if auth_event.state_key is not None:
                    state[auth_event.type, auth_event.state_key] = auth_event
        for key in self._auth_types[event.event_id]:
            event_id = partial.get(key) or base.get(key)
            if event_id is not None:
                state[key] = events[event_id]
        try:
            check_auth(event, state)
        except AuthError:
            return
        partial[event.type, event.state_key] = event.event_id
