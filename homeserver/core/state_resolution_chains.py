"""Auth chains: what state resolution version 2 adds to the conflicted events, worked out by walking `auth_events`.

A caller that has the auth chains indexed works the same sets out itself and hands them to `resolve`.
https://spec.matrix.org/v1.19/rooms/v12/#definitions
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from homeserver.core.auth_errors import MissingEvents
from homeserver.core.auth_rules import auth_events_of
from homeserver.core.events import StateMap
from homeserver.core.state_resolution_events import Events


def auth_difference_of(state_sets: Sequence[StateMap], events: Events) -> set[str]:
    """The auth difference: the events in the auth chain of some, but not of every, state.

    The chain of a state includes the state's own events. (By the letter it would not, which would add events that all
    states agree on; servers have always counted them in, and must agree with each other.) Walks every chain to its
    end, so all of their events must be at hand. Raises `MissingEvents`.
    """
    if len(state_sets) < 2:
        return set()
    shared = set(state_sets[0].values()).intersection(*(state.values() for state in state_sets[1:]))
    chains = _Chains(events)
    shared_chain = chains.of(shared)
    reached = [chains.of(set(state.values()) - shared, stop=shared_chain) for state in state_sets]
    union = set().union(*reached)
    return union - set(reached[0]).intersection(*reached[1:])


def conflicted_subgraph_of(conflicted: AbstractSet[str], events: Events) -> set[str]:
    """The conflicted state subgraph (room version 12): the events on any path along `auth_events` from one event of
    the conflicted state set to another, ends included. Raises `MissingEvents`."""
    cited_by: dict[str, list[str]] = {}
    chains = _Chains(events)
    below = chains.of(conflicted, cited_by=cited_by)
    return _reach(conflicted, lambda event_id: cited_by.get(event_id, ())) & below


def auth_chain_of(event_ids: Iterable[str], events: Events) -> set[str]:
    """`event_ids` and everything that they cite in `auth_events`, directly or not. Raises `MissingEvents`."""
    return _Chains(events).of(event_ids)


class _Chains:
    """Walks auth chains; asks for all the events that it lacks at once."""

    def __init__(self, events: Events) -> None:
        self._get = events if callable(events) else events.get

    def of(
        self,
        starts: Iterable[str],
        *,
        stop: AbstractSet[str] = frozenset(),
        cited_by: dict[str, list[str]] | None = None,
    ) -> set[str]:
        """The chain of `starts`, themselves included, without going into what is in `stop`."""
        missing: list[str] = []
        chain = {event_id for event_id in starts if event_id not in stop}
        pending = list(chain)
        while pending:
            event_id = pending.pop()
            event = self._get(event_id)
            if event is None:
                missing.append(event_id)
                continue
            for auth_id in auth_events_of(event):
                if cited_by is not None:
                    cited_by.setdefault(auth_id, []).append(event_id)
                if auth_id not in chain and auth_id not in stop:
                    chain.add(auth_id)
                    pending.append(auth_id)
        if missing:
            raise MissingEvents(missing)
        return chain


def _reach(starts: AbstractSet[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    reached = set(starts)
    pending = list(starts)
    while pending:
        for event_id in following(pending.pop()):
            if event_id not in reached:
                reached.add(event_id)
                pending.append(event_id)
    return reached
