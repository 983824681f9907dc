"""The first state resolution algorithm, of room version 1 only.

https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1

from homeserver.core.auth_errors import AuthError
from homeserver.core.auth_rules import auth_types_for, check_auth
from homeserver.core.auth_selection import POWER_LEVELS_KEY
from homeserver.core.events import Event, StateKey, StateMap
from homeserver.core.state_resolution_events import Events, LoadedEvents


def resolve_v1(state_sets: Sequence[StateMap], events: Events) -> dict[StateKey, str]:
    """The resolution of the states. Needs no auth chains: only the conflicted events and the unconflicted ones that
    authorise them; raises `MissingEvents` for those that `events` lacks.

    Members are resolved each on its own, against a state in which the other conflicted members are absent, so that
    their order (which the specification leaves open) does not matter; so are join rules with different state keys.
    """
    resolved, conflicted_ids = separate_v1(state_sets)
    if not conflicted_ids:
        return resolved
    loaded = LoadedEvents(events)
    loaded.load(event_id for ids in conflicted_ids.values() for event_id in ids)
    conflicted = {key: [loaded[event_id] for event_id in ids] for key, ids in conflicted_ids.items()}
    authorising = {
        key for candidates in conflicted.values() for event in candidates for key in _auth_types(event)
    } & resolved.keys()
    loaded.load(resolved[key] for key in authorising)
    state = {key: loaded[resolved[key]] for key in authorising}
    # Later steps see what earlier ones resolved.
    steps: list[list[StateKey]] = [
        [key for key in conflicted if key == POWER_LEVELS_KEY],
        [key for key in conflicted if key[0] == "m.room.join_rules"],
        [key for key in conflicted if key[0] == "m.room.member"],
    ]
    for keys in steps:
        state.update({key: _resolve_authorising(conflicted.pop(key), state) for key in keys})
        resolved.update({key: state[key].event_id for key in keys})
    for key, candidates in conflicted.items():
        resolved[key] = _resolve_other(candidates, state).event_id
    return resolved


def separate_v1(state_sets: Iterable[StateMap]) -> tuple[dict[StateKey, str], dict[StateKey, set[str]]]:
    """The events on which the states agree and, by key, those on which they do not. A key that some states lack is no
    conflict in this algorithm."""
    all_ids: dict[StateKey, set[str]] = {}
    for state in state_sets:
        for key, event_id in state.items():
            all_ids.setdefault(key, set()).add(event_id)
    agreed = {key: next(iter(ids)) for key, ids in all_ids.items() if len(ids) == 1}
    return agreed, {key: ids for key, ids in all_ids.items() if len(ids) > 1}


def _auth_types(event: Event) -> list[StateKey]:
    return auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)


def _highest_first(event: Event) -> tuple[int, str]:
    return (-event.depth, sha1(event.event_id.encode(), usedforsecurity=False).hexdigest())


def _is_allowed(event: Event, state: Mapping[StateKey, Event]) -> bool:
    try:
        check_auth(event, state)
    except AuthError:
        return False
    return True


def _resolve_authorising(candidates: list[Event], state: Mapping[StateKey, Event]) -> Event:
    """From the event of the least depth upwards, as long as each is allowed where the one before is state."""
    candidates = sorted(candidates, key=_highest_first, reverse=True)
    winner = candidates[0]
    around = dict(state)
    for event in candidates[1:]:
        around[winner.key] = winner
        if not _is_allowed(event, around):
            break
        winner = event
    return winner


def _resolve_other(candidates: list[Event], state: Mapping[StateKey, Event]) -> Event:
    """The event of the greatest depth that is allowed; that of the least depth where none is."""
    candidates = sorted(candidates, key=_highest_first)
    return next((event for event in candidates if _is_allowed(event, state)), candidates[-1])
