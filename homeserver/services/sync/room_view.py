"""What a room's timeline and state are for one /sync: decided from memory, as event ids; no I/O and no bytes."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from homeserver.core.events import MEMBER, StateKey
from homeserver.core.filters import EventFilter
from homeserver.core.tokens import PaginationToken, SyncToken
from homeserver.services.events import StoredEvent
from homeserver.services.sync.room_log import RoomLog
from storage.timeline import StateChange


class RoomNow(Protocol):
    """The current state and members of a room: its head, or what was read of many rooms at once."""

    @property
    def state(self) -> Mapping[StateKey, str]: ...
    @property
    def joined(self) -> Set[str]: ...
    @property
    def invited(self) -> Set[str]: ...


@dataclass(frozen=True, slots=True)
class RoomRead:
    """A room as it was just read from the database."""

    state: Mapping[StateKey, str]
    joined: Set[str]
    invited: Set[str]


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a room's history is asked for: positions of (since, upto]. `is_full`: with the whole state, as
    for a
    room that the client does not have; then `since` does not bound the timeline unless `since_bounds` says so."""

    since: int
    upto: int
    is_full: bool
    is_new: bool  # the client does not have the room: its timeline may reach back before `since`


@dataclass(frozen=True, slots=True)
class TimelineView:
    """The events to show, oldest first."""

    events: tuple[StoredEvent, ...]
    limited: bool
    prev_batch: str
    start: int  # the first of their positions; `upto` + 1 where there are none


def view_timeline(
    log: RoomLog, span: Span, wanted: EventFilter, hidden: frozenset[str], ignored: frozenset[str]
) -> TimelineView:
    """The newest events of the span. `hidden` are events that the user may not see.

    A room that is new to the client is shown as its history is paged, by depth: what came late from another branch of
    the graph is where it belongs. Else everything comes in the order in which it was received, so as to be seen at all.
    """
    after = 0 if span.is_new else span.since
    events = log.between(after, span.upto)
    # What the log does not hold is history for a new room, and a gap for another.
    has_more = log.floor > after
    gap = next((index for index in range(len(events) - 1, -1, -1) if events[index].follows_gap), None)
    if gap is not None:
        # Only what came without a break: the rest is history, for which the server asks others when a client does.
        events, has_more = events[gap:], True
    if hidden or ignored or not wanted.is_unrestricted:
        events = [e for e in events if _is_shown(e, wanted, hidden, ignored, log.room_id)]
    if span.is_new:
        events = sorted(events, key=lambda stored: (stored.event.depth, stored.position or 0))
    limit = 10 if wanted.limit is None else wanted.limit
    if len(events) > limit:
        events = events[len(events) - limit :]
        has_more = True
    if events:
        first = events[0]
        # What has no place in the timeline is shown alone, where it came to be known.
        positions = [span.upto if stored.position is None else stored.position for stored in events]
        if span.is_new or gap is not None:
            prev_batch = str(PaginationToken.before(first.event.depth, positions[0]))
        else:
            prev_batch = str(SyncToken(positions[0] - 1))
        return TimelineView(tuple(events), has_more, prev_batch, min(positions))
    return TimelineView((), has_more, _token_after(log, span.upto), span.upto + 1)


def _is_shown(
    stored: StoredEvent, wanted: EventFilter, hidden: frozenset[str], ignored: frozenset[str], room_id: str
) -> bool:
    event = stored.event
    if event.event_id in hidden:
        return False
    if event.sender in ignored and event.state_key is None:
        return False
    return wanted.allows_event(event.type, event.sender, stored.shown.content, room_id)


def _token_after(log: RoomLog, upto: int) -> str:
    events = log.between(0, upto)
    if not events:
        return str(SyncToken(upto))
    position = events[-1].position
    assert position is not None
    return str(PaginationToken.after(events[-1].event.depth, position))


class StateView:
    """A room's state at a position, as its current state with later changes undone."""

    __slots__ = ("_state", "_undone")

    def __init__(self, state: Mapping[StateKey, str], later: Iterable[StateChange]) -> None:
        self._state = state
        self._undone: dict[StateKey, str | None] = {}
        # The first change after the position says what was there before it.
        for change in later:
            self._undone.setdefault((change.type, change.state_key), change.previous_id)

    def get(self, key: StateKey) -> str | None:
        """The event id at a key."""
        return self._undone[key] if key in self._undone else self._state.get(key)

    def whole(self) -> dict[StateKey, str]:
        """All of it."""
        if not self._undone:
            return dict(self._state)
        state = dict(self._state)
        for key, event_id in self._undone.items():
            if event_id is None:
                state.pop(key, None)
            else:
                state[key] = event_id
        return state

    def without_members(self) -> dict[StateKey, str]:
        """All of it but the members."""
        return {key: event_id for key, event_id in self.whole().items() if key[0] != MEMBER}


def view_state(
    log: RoomLog,
    state: Mapping[StateKey, str],
    span: Span,
    timeline: TimelineView,
    *,
    after_timeline: bool,
    without_members: bool,
) -> dict[StateKey, str]:
    """The state events that a client needs beside the timeline: up to its start, or (`after_timeline`) to its end.

    With `without_members` the members of a whole state are left out, as they are loaded lazily; changes of members
    in a gap are still there.
    """
    end = span.upto if after_timeline else timeline.start - 1
    shown = {stored.event_id for stored in timeline.events}
    if span.is_full:
        view = StateView(state, [change for change in log.changes if change.position > end])
        found = view.without_members() if without_members else view.whole()
    else:
        found = {}
        for change in log.changes_between(span.since, end):
            _set(found, change)
    if not after_timeline:
        _add_unshown(found, log.changes_between(end, span.upto), shown)
    return found


def _set(found: dict[StateKey, str], change: StateChange) -> None:
    key = (change.type, change.state_key)
    if change.event_id is None:
        found.pop(key, None)
    else:
        found[key] = change.event_id


def _add_unshown(found: dict[StateKey, str], changes: Sequence[StateChange], shown: set[str]) -> None:
    """Changes within the timeline that clients cannot see in it: by events that it does not show."""
    last: dict[StateKey, str | None] = {(c.type, c.state_key): c.event_id for c in changes}
    found.update((key, now) for key, now in last.items() if now is not None and now not in shown)
