"""How much a user has not read: counted from memory as events arrive, from the database at first sight.

No row is written for a member who only has the predefined push rules: events say whether they notify by default
(`thread_notify_seq` is not zero), read marks say where a user's counting begins, exceptions say where it differs.

https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.sync.room_log import RoomLogs
from storage import read_marks as storage
from storage.database import Database, Position, Read, Write
from storage.read_marks import MAIN, UNTHREADED, PushException
from storage.streams import Stream


@dataclass(slots=True)
class Counts:
    """Unread notifications of a room: by thread (`main` or a root) [notifications, highlights]."""

    threads: dict[str, list[int]] = field(default_factory=dict)

    def total(self) -> tuple[int, int]:
        """(notifications, highlights) of all threads."""
        notify = highlight = 0
        for counts in self.threads.values():
            notify += max(counts[0], 0)
            highlight += counts[1]
        return notify, highlight

    def of(self, thread_id: str) -> tuple[int, int]:
        """(notifications, highlights) of one thread."""
        notify, highlight = self.threads.get(thread_id, _ZERO)
        return max(notify, 0), highlight

    def add(self, thread_id: str, notify: int, highlight: int) -> None:
        """Count one more event."""
        counts = self.threads.get(thread_id)
        if counts is None:
            self.threads[thread_id] = [notify, highlight]
        else:
            counts[0] += notify
            counts[1] += highlight


_ZERO = (0, 0)


@dataclass(slots=True)
class _Room:
    counts: Counts
    upto: int  # events up to this position are counted


@dataclass(slots=True)
class _User:
    """What is known of a user: read marks by room, exceptions that are not read yet, counts by room."""

    marks: dict[int, dict[str, int]] = field(default_factory=dict)
    exceptions: dict[int, list[PushException]] = field(default_factory=dict)
    rooms: dict[int, _Room] = field(default_factory=dict)

    def marked(self, room_nid: int, thread_id: str) -> int:
        """Up to which position the thread is read."""
        marks = self.marks.get(room_nid)
        if marks is None:
            return 0
        return max(marks.get(UNTHREADED, 0), marks.get(thread_id, 0))


@dataclass(slots=True, eq=False)
class _Reading:
    """A reading of what the database has of a user: outdated when this process hears of more meanwhile."""

    user_id: str
    is_outdated: bool = False


class UnreadCounts:
    """Read marks and counts of the users that sync here."""

    def __init__(
        self, db: Database, notifier: Notifier, logs: RoomLogs, *, server_name: str, size: int = 20_000
    ) -> None:
        self._db = db
        self._logs = logs
        self._suffix = ":" + server_name
        self._users: BoundedCache[str, _User] = BoundedCache(size)
        self._readings: set[_Reading] = set()
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._reset)

    def is_local(self, user_id: str) -> bool:
        """Whether counts are kept for the user."""
        return user_id.endswith(self._suffix)

    async def mark(
        self, tx: Write, user_id: str, room_id: str, stored: StoredEvent, thread_id: str = UNTHREADED
    ) -> None:
        """As part of a write: the user has read up to the event."""
        if not self.is_local(user_id) or stored.position is None:
            return
        position = stored.position
        user = await self._user(user_id)
        if user.marked(stored.room_nid, thread_id) >= position:
            return
        storage.put_mark(tx, user_id, stored.room_nid, thread_id, position, stored.notify_seq)
        passed = [
            e
            for e in user.exceptions.get(stored.room_nid, ())
            if e.position <= position and thread_id in (UNTHREADED, e.thread_id)
        ]
        if passed:
            await storage.drop_exceptions(tx, user_id, stored.room_nid, thread_id, position)
        tx.after_commit(lambda: self._set_mark(user_id, stored.room_nid, thread_id, position))

    def mark_own(
        self, tx: Write, user_id: str, room_nid: int, position: Position, thread_id: str | None, notify_seq: int
    ) -> None:
        """As part of a write: the user sends an event, and so has read what is before it."""
        key = UNTHREADED if thread_id is None else thread_id
        storage.put_mark(tx, user_id, room_nid, key, position, notify_seq)
        tx.after_commit(lambda: self._set_mark(user_id, room_nid, key, int(position)))

    def add_exception(self, user_id: str, exception: PushException) -> None:
        """An exception was committed."""
        self._outdate(user_id)
        user = self._users.get(user_id)
        if user is None:
            return
        known = user.exceptions.setdefault(exception.room_nid, [])
        # They come in order. A reading may have found it before this process was told that it is committed.
        if not known or known[-1].position < exception.position:
            known.append(exception)

    async def counts(self, user_id: str, rooms: Mapping[str, int], upto: int) -> Mapping[str, Counts]:
        """What the user has not read in these rooms (room id → nid): at most three statements, unless the user reads
        something meanwhile."""
        if not rooms:
            return {}
        while True:
            user = await self._user(user_id)
            lacking = [nid for room_id, nid in rooms.items() if not self._is_counted(user, user_id, room_id, nid, upto)]
            if not lacking or await self._load(user, user_id, lacking, upto):
                return {room_id: user.rooms[nid].counts for room_id, nid in rooms.items()}

    async def _load(self, user: _User, user_id: str, room_nids: Sequence[int], upto: int) -> bool:
        """Count in the database; whether nothing was read or mentioned meanwhile."""
        async with self._reading(user_id) as (tx, reading):
            found = await storage.unread_by_thread(tx, user_id, room_nids, upto)
        if reading.is_outdated:
            return False
        for nid in room_nids:
            counts = Counts({thread: [count, 0] for thread, count in found.get(nid, {}).items()})
            for exception in user.exceptions.get(nid, ()):
                if user.marked(nid, exception.thread_id) < exception.position <= upto:
                    counts.add(exception.thread_id, exception.notify_delta, int(exception.highlight))
            user.rooms[nid] = _Room(counts, upto)
        return True

    def _is_counted(self, user: _User, user_id: str, room_id: str, room_nid: int, upto: int) -> bool:
        """Count what is in the room's log; False where that does not have all that is not counted yet."""
        log = self._logs.get(room_id)
        if log is None:
            return False
        room = user.rooms.get(room_nid)
        if room is None or log.floor > room.upto:
            read = user.marked(room_nid, UNTHREADED)
            if log.floor > read:
                return False
            room = user.rooms[room_nid] = _Room(Counts(), read)
        if room.upto < upto:
            for stored in log.between(room.upto, upto):
                self._count(user, user_id, room, stored)
            for exception in reversed(user.exceptions.get(room_nid, ())):
                if exception.position <= room.upto:
                    break
                if exception.position <= upto and exception.position > user.marked(room_nid, exception.thread_id):
                    room.counts.add(exception.thread_id, exception.notify_delta, int(exception.highlight))
            room.upto = upto
        return True

    def _count(self, user: _User, user_id: str, room: _Room, stored: StoredEvent) -> None:
        if not stored.thread_notify_seq or stored.event.sender == user_id:
            return
        thread = stored.thread_root or MAIN
        if stored.position is not None and stored.position > user.marked(stored.room_nid, thread):
            room.counts.add(thread, 1, 0)

    async def _user(self, user_id: str) -> _User:
        user = self._users.get(user_id)
        while user is None:
            async with self._reading(user_id) as (tx, reading):
                marks = await storage.marks_of(tx, user_id)
                exceptions = await storage.exceptions_of(tx, user_id)
            user = self._users.get(user_id)
            if user is None and not reading.is_outdated:
                user = _User()
                for mark in marks:
                    user.marks.setdefault(mark.room_nid, {})[mark.thread_id] = mark.position
                for exception in exceptions:
                    user.exceptions.setdefault(exception.room_nid, []).append(exception)
                self._users.put(user_id, user)
        return user

    @asynccontextmanager
    async def _reading(self, user_id: str) -> AsyncIterator[tuple[Read, _Reading]]:
        reading = _Reading(user_id)
        self._readings.add(reading)
        try:
            async with self._db.read() as tx:
                yield tx, reading
        finally:
            self._readings.discard(reading)

    def _outdate(self, user_id: str) -> None:
        for reading in self._readings:
            if reading.user_id == user_id:
                reading.is_outdated = True

    def _reset(self) -> None:
        self._users.clear()
        for reading in self._readings:
            reading.is_outdated = True

    def _set_mark(self, user_id: str, room_nid: int, thread_id: str, position: int) -> None:
        self._outdate(user_id)
        user = self._users.get(user_id)
        if user is None:
            return
        marks = user.marks.setdefault(room_nid, {})
        if marks.get(thread_id, 0) >= position:
            return
        marks[thread_id] = position
        user.rooms.pop(room_nid, None)
        left = [e for e in user.exceptions.get(room_nid, ()) if e.position > user.marked(room_nid, e.thread_id)]
        if left:
            user.exceptions[room_nid] = left
        else:
            user.exceptions.pop(room_nid, None)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            # What another process wrote about a local user (a receipt, an exception) is read anew.
            if hint.stream == Stream.RECEIPTS and hint.payload is None:
                self._drop(hint.keys[1:])
            elif hint.stream == Stream.EVENTS:
                if isinstance(hint.payload, StoredEvent):
                    self._on_event(hint.payload, hint.position)
            elif hint.stream == Stream.CACHES:
                self._drop(key.removeprefix("unread:") for key in hint.keys if key.startswith("unread:"))

    def _on_event(self, stored: StoredEvent, position: int) -> None:
        # Another process tells of its events, not of what their senders have read by sending them (`mark_own`).
        if self._db.is_shared and stored.is_accepted and self.is_local(stored.event.sender):
            self._set_mark(stored.event.sender, stored.room_nid, stored.thread_root or UNTHREADED, position)

    def _drop(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            self._outdate(user_id)
            self._users.drop(user_id)
