"""The newest events of rooms in memory, and how they changed the rooms' state: what incremental syncs read."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from storage import timeline
from storage.database import Database
from storage.streams import Stream
from storage.timeline import Place, StateChange

# How many events of a room are kept; when there are more, the older half goes.
_MAX_EVENTS = 200
_MAX_CHANGES = 1000


@dataclass(slots=True, eq=False, weakref_slot=True)
class RoomLog:
    """A room's newest events in the order of their positions.

    All shown events after `floor` are there, and all changes of the state after `changes_floor`. `generation`
    changes when an event that was there before looks different (it was redacted).
    """

    room_id: str
    floor: int
    changes_floor: int
    events: list[StoredEvent] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    changes: list[StateChange] = field(default_factory=list)
    generation: int = 0

    def between(self, after: int, upto: int) -> list[StoredEvent]:
        """The events at positions of (after, upto]."""
        positions = self.positions
        return self.events[bisect_right(positions, after) : bisect_right(positions, upto)]

    def last_position(self, upto: int) -> int:
        """The position of the newest event up to a position; `floor` where there is none."""
        index = bisect_right(self.positions, upto)
        return self.positions[index - 1] if index else self.floor

    def since_key(self, since: int) -> int:
        """The same number for all positions after which the same happened: where the log reaches back that far, that of
        the newest event up to there."""
        return since if self.floor > since else self.last_position(since)

    def changes_between(self, after: int, upto: int) -> list[StateChange]:
        """The state changes at positions of (after, upto]."""
        first = bisect_right(self.changes, after, key=_position)
        return self.changes[first : bisect_right(self.changes, upto, lo=first, key=_position)]

    def append(self, stored: StoredEvent, changes: Sequence[StateChange]) -> None:
        """Add the newest event, if it is shown, and what it changed."""
        assert stored.position is not None
        if self.positions and stored.position <= self.positions[-1]:
            return
        self.changes.extend(changes)
        if stored.is_accepted:
            self.events.append(stored)
            self.positions.append(stored.position)
            if stored.event.redacts is not None:
                self.generation += 1
        self._trim()

    def refresh(self, stored: StoredEvent) -> None:
        """Show an event as it is now, also where another shows that it took its place."""
        event_id = stored.event.event_id
        for index, one in enumerate(self.events):
            if one.event.event_id == event_id:
                self.events[index] = stored
                self.generation += 1
            elif one.replaces is not None and one.replaces.event_id == event_id:
                self.events[index] = replace(one, replaces=stored.shown, client_json={})
                self.generation += 1

    def prepend(self, older: Sequence[StoredEvent], floor: int) -> None:
        """Add what was read from the database: all events of (floor, what is there)."""
        first = self.positions[0] if self.positions else self.floor + 1
        known = [stored for stored in older if stored.position is not None and stored.position < first]
        self.events[:0] = known
        self.positions[:0] = [stored.position for stored in known if stored.position is not None]
        self.floor = floor

    def prepend_changes(self, older: Sequence[StateChange], floor: int) -> None:
        """The same, of the changes of the state."""
        self.changes[:0] = [change for change in older if change.position <= self.changes_floor]
        self.changes_floor = floor

    def _trim(self) -> None:
        if len(self.events) > _MAX_EVENTS:
            half = len(self.events) // 2
            self.floor = self.positions[half - 1]
            del self.events[:half], self.positions[:half]
        if len(self.changes) > _MAX_CHANGES:
            half = len(self.changes) // 2
            self.changes_floor = self.changes[half - 1].position
            del self.changes[:half]


class RoomLogs:
    """The logs of the rooms that something happened in lately."""

    def __init__(self, db: Database, notifier: Notifier, events: Events, *, size: int = 2_000) -> None:
        self._db = db
        self._notifier = notifier
        self._events = events
        self._size = size
        # Whoever holds a log has it kept up to date; those that were used last are held here.
        self._logs: WeakValueDictionary[str, RoomLog] = WeakValueDictionary()
        self._kept: BoundedCache[str, RoomLog] = BoundedCache(size)
        # The newest position of each room with news since `floor`, the newest room last.
        self._latest: OrderedDict[str, int] = OrderedDict()
        # Rooms whose earlier events may look different since a position.
        self._rewritten: BoundedCache[str, int] = BoundedCache(size)
        self.floor = notifier.position
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._reset)

    def get(self, room_id: str) -> RoomLog | None:
        """The room's log if there is one."""
        log = self._logs.get(room_id)
        if log is not None:
            self._kept.put(room_id, log)
        return log

    def changed_since(self, after: int, room_ids: Mapping[str, object]) -> list[str]:
        """Those of the rooms with events or receipts after a position, which is not below `floor`."""
        found: list[str] = []
        for room_id in reversed(self._latest):
            if self._latest[room_id] <= after:
                break
            if room_id in room_ids:
                found.append(room_id)
        return found

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        """Hear what was committed."""
        for hint in hints:
            if hint.stream == Stream.EVENTS and hint.keys:
                self._touch(hint.keys[0], hint.position)
                if isinstance(hint.payload, StoredEvent):
                    self._append(hint.keys[0], hint.payload, hint.position)
            elif hint.stream == Stream.RECEIPTS and hint.keys:
                self._touch(hint.keys[0], hint.position)
            elif hint.stream == Stream.MEMBERSHIPS:
                # A room that came from another server, whole: its log is read anew.
                for key in hint.keys:
                    if key.startswith("!"):
                        self._logs.pop(key, None)
                        self._kept.drop(key)
                        self._rewritten.put(key, hint.position)

    def _reset(self) -> None:
        self._logs.clear()
        self._kept.clear()
        self._latest.clear()
        self.floor = self._notifier.position

    async def prepare(
        self, room_nids: Mapping[str, int], limit: int, since: int | None, upto: int
    ) -> dict[str, RoomLog]:
        """The logs of these rooms (room id → nid): they reach back to `since`, or over `limit` events."""
        while True:
            logs = {room_id: self.get(room_id) or self._new(room_id, self._notifier.position) for room_id in room_nids}
            lacking = {
                room_nids[room_id]: log for room_id, log in logs.items() if not _suffices(log, limit, since, upto)
            }
            if not lacking or await self._load(lacking, limit + 1, since, upto):
                return logs

    async def up_to(self, room_id: str, room_nid: int, limit: int, since: int | None, upto: int) -> RoomLog:
        """A log that ends at `upto`, for somebody who left there; the shared one where it reaches back far enough."""
        log = self._logs.get(room_id)
        if log is not None and _suffices(log, limit, since, upto):
            return log
        async with self._db.read() as tx:
            places = (await timeline.newest_events(tx, [room_nid], limit + 1, upto))[room_nid]
            floor = places[0].position - 1 if len(places) > limit else 0
            after = floor if since is None else min(floor, since)
            changes = (await timeline.changes_of_state(tx, {room_nid: after}, 2**62))[room_nid]
        stored = await self._events.get_many([place.event_id for place in places])
        log = RoomLog(room_id, upto, after, changes=changes)
        log.prepend(self._as_now(places, stored), floor)
        return log

    async def _load(self, logs: Mapping[int, RoomLog], count: int, since: int | None, upto: int) -> bool:
        """Read what comes before the logs; False where one was dropped meanwhile, or gave up what follows that."""
        end = self._notifier.position
        async with self._db.read() as tx:
            places = await timeline.newest_events(tx, logs, count, upto, end)
            floors = {nid: _floor(found, count, upto) for nid, found in places.items()}
            after = {nid: min(floors[nid], log.floor, end if since is None else since) for nid, log in logs.items()}
            changes = await timeline.changes_of_state(tx, after, end)
        stored = await self._events.get_many([place.event_id for found in places.values() for place in found])
        if not all(self._follows(log, end) for log in logs.values()):
            return False
        for nid, log in logs.items():
            if floors[nid] < log.floor:
                log.prepend(self._as_now(places[nid], stored), floors[nid])
            if after[nid] < log.changes_floor:
                log.prepend_changes(changes[nid], after[nid])
        return True

    def _follows(self, log: RoomLog, position: int) -> bool:
        """Whether the log has all that happens after a position, now and from now on."""
        return self._logs.get(log.room_id) is log and max(log.floor, log.changes_floor) <= position

    def _as_now(self, places: Iterable[Place], stored: Mapping[str, StoredEvent]) -> list[StoredEvent]:
        """The events that were read; some may have been redacted since."""
        return [self._events.cached(p.event_id) or stored[p.event_id] for p in places if p.event_id in stored]

    def _touch(self, room_id: str, position: int) -> None:
        self._latest[room_id] = position
        self._latest.move_to_end(room_id)
        if len(self._latest) > 4 * self._size:
            _, self.floor = self._latest.popitem(last=False)

    def _new(self, room_id: str, floor: int) -> RoomLog:
        generation = self._rewritten.get(room_id) or 0
        log = self._logs[room_id] = RoomLog(room_id, floor, floor, generation=generation)
        self._kept.put(room_id, log)
        return log

    def _append(self, room_id: str, stored: StoredEvent, position: int) -> None:
        log = self._logs.get(room_id)
        if log is None:
            log = self._new(room_id, position - 1)
        log.append(stored, changes_by(stored))
        if stored.event.redacts is not None and (redacted := self._events.cached(stored.event.redacts)) is not None:
            log.refresh(redacted)


def _floor(places: Sequence[Place], count: int, upto: int) -> int:
    """After which position all events are among these, of which `count` at positions up to `upto` were asked for."""
    return places[0].position - 1 if bisect_right(places, upto, key=lambda place: place.position) >= count else 0


def _position(change: StateChange) -> int:
    return change.position


def changes_by(stored: StoredEvent) -> Sequence[StateChange]:
    """How an event that was just committed changed the room's current state."""
    position = stored.position
    if position is None or not stored.changed:
        return ()
    return [
        StateChange(position, event_type, state_key, now, before)
        for (event_type, state_key), (now, before) in stored.changed.items()
    ]


def _suffices(log: RoomLog, limit: int, since: int | None, upto: int) -> bool:
    """Whether a timeline and the state at its start can be made of the log."""
    if since is not None and log.changes_floor > since:
        return False
    if since is not None and log.floor <= since:
        return True
    enough = log.floor == 0 or bisect_right(log.positions, upto) > limit
    return enough and log.changes_floor <= log.floor
