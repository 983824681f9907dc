"""Events by id: what is known of each, kept in memory once read, since an event never changes.

One thing about a stored event can change: it may be redacted, or an outlier may take its place in the timeline. Then
it is replaced here by a new `StoredEvent`; other processes are told to forget theirs (`Stream.CACHES`, "event:$id").
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from homeserver.core.canonical_json import decode
from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import KNOWN_VERSIONS
from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from storage import event_graph
from storage import events as storage_events
from storage.database import Database, Read, Write
from storage.streams import Stream

_BATCH_KEY = "events"


@dataclass(slots=True, eq=False)
class StoredEvent:
    """An event and what this server knows of it. Not to be changed by anybody but `PersistEvent`.

    `position` is its place in the log (negative where it was backfilled), None for outliers. `snapshot_id` is the state
    before it (0: no state at all), None where that is not known. `follows_gap`: what it cites was not all there when it
    came, so what arrived before is not what came before it. `rejected` says why, where it is. `replaces` is the state
    event that it took the place of. `has_children`: whether clients are shown what relates to it along with it
    (`services.aggregations`), None where nobody has looked. `redacted_because` is the redaction that applies, and then
    `shown` is what may still be shown of the event. `device_id` and `transaction_id` are those of the request that
    sent it.
    """

    event: Event
    nid: int
    room_nid: int
    position: int | None
    outlier: bool = False
    rejected: str | None = None
    soft_failed: bool = False
    follows_gap: bool = False
    snapshot_id: int | None = None
    is_local: bool = False
    notify_seq: int = 0
    thread_notify_seq: int = 0
    thread_root: str | None = None
    replaces: Event | None = None
    redacted_because: Event | None = None
    device_id: str | None = None
    transaction_id: str | None = None
    has_children: bool | None = None
    # How it changed the current state: key → (event id now, event id before). Only in the process that stored it.
    changed: dict[StateKey, tuple[str | None, str | None]] = field(default_factory=dict)
    # Servers that are no longer in the room because of it, and hear of it from this server although it may not be its
    # own.
    told_too: tuple[str, ...] = ()
    client_json: dict[bool, tuple[bytes, bytes]] = field(default_factory=dict)  # filled by client_events.serialise

    @property
    def event_id(self) -> str:
        return self.event.event_id

    @property
    def is_accepted(self) -> bool:
        """Whether it is part of the room's timeline as clients see it: neither outlier, rejected nor soft-failed."""
        return not self.outlier and self.rejected is None and not self.soft_failed

    @property
    def shown(self) -> Event:
        """The event, redacted where it was redacted."""
        return self.event if self.redacted_because is None else self.event.redacted()


class Events:
    """Reads events. Inside a write pass its transaction, which sees what the batch has appended so far."""

    def __init__(self, database: Database, *, cache_size: int = 20_000) -> None:
        self._database = database
        self._cache: BoundedCache[str, StoredEvent] = BoundedCache(cache_size)
        self._times_forgotten = 0
        database.bus.subscribe(self._on_hints, self._forget_all)

    def cached(self, event_id: str, tx: Write | None = None) -> StoredEvent | None:
        """The event if it is in memory (or was appended in this batch); no I/O."""
        if tx is not None:
            appended = tx.batch.get(_BATCH_KEY)
            if appended is not None and (stored := appended.get(event_id)) is not None:
                return stored
        return self._cache.get(event_id)

    async def get(self, event_id: str, tx: Read | None = None) -> StoredEvent | None:
        """The event, whatever became of it (see `StoredEvent.is_accepted`); None where this server lacks it."""
        found = self.cached(event_id, tx if isinstance(tx, Write) else None)
        return found if found is not None else (await self.get_many((event_id,), tx)).get(event_id)

    async def get_many(self, event_ids: Iterable[str], tx: Read | None = None) -> dict[str, StoredEvent]:
        """Those of the events that this server has, by id; the missing ones are absent."""
        found: dict[str, StoredEvent] = {}
        missing: list[str] = []
        write = tx if isinstance(tx, Write) else None
        for event_id in event_ids:
            stored = self.cached(event_id, write)
            if stored is None:
                missing.append(event_id)
            else:
                found[event_id] = stored
        if missing:
            for stored in await self._load(missing, tx):
                found[stored.event_id] = stored
        return found

    async def which_are_stored(self, event_ids: Iterable[str]) -> set[str]:
        """Those of the ids whose events this server has, whatever became of them; none is read for that."""
        wanted = set(event_ids)
        found = {event_id for event_id in wanted if self.cached(event_id) is not None}
        if missing := wanted - found:
            async with self._database.read() as read:
                found |= (await storage_events.existing(read, missing)).keys()
        return found

    async def get_many_by_nid(self, nids: Iterable[int], tx: Read | None = None) -> dict[int, StoredEvent]:
        """As `get_many`, by the integer ids."""
        wanted = list(nids)
        if not wanted:
            return {}
        if tx is None:
            async with self._database.read() as read:
                ids = await storage_events.event_ids_of(read, wanted)
        else:
            ids = await storage_events.event_ids_of(tx, wanted)
        found = await self.get_many(ids.values(), tx)
        return {stored.nid: stored for stored in found.values()}

    def put(self, stored: StoredEvent) -> None:
        """Keep a committed event in memory."""
        self._cache.put(stored.event_id, stored)

    def put_all(self, several: Iterable[StoredEvent]) -> None:
        """As `put`."""
        for stored in several:
            self.put(stored)

    def appended(self, tx: Write, stored: StoredEvent) -> None:
        """Show an event to the rest of the batch, and to everybody once it is committed."""
        in_batch: dict[str, StoredEvent] = tx.batch.setdefault(_BATCH_KEY, {})
        event_id = stored.event.event_id
        previous = in_batch.get(event_id)
        in_batch[event_id] = stored

        def undo() -> None:
            if previous is None:
                in_batch.pop(event_id, None)
            else:
                in_batch[event_id] = previous

        tx.on_undo(undo)

    def are_appended(self, tx: Write, room_nid: int) -> bool:
        """Whether this batch has put off events of a room's timeline: no reads of the batch see them."""
        in_batch: dict[str, StoredEvent] = tx.batch.get(_BATCH_KEY, {})
        return any(stored.room_nid == room_nid and not stored.outlier for stored in in_batch.values())

    async def following(self, tx: Write, event_id: str) -> list[StoredEvent]:
        """The events that cite an event in prev_events, those of this batch too."""
        in_batch: dict[str, StoredEvent] = tx.batch.get(_BATCH_KEY, {})
        new = [one_id for one_id, stored in in_batch.items() if event_id in stored.event.prev_events]
        ids = dict.fromkeys([*new, *await event_graph.following(tx, event_id)])
        return list((await self.get_many(ids, tx)).values())

    def redact_in_successors(self, redacted: Event) -> None:
        """A state event is redacted, also where events in memory that took its place show it. Looks at all of them:
        not for every event."""
        for successor in self._replacing(redacted.event_id):
            self.put(replace(successor, replaces=redacted, client_json={}))
        # Those that are being read show it as it was.
        self._times_forgotten += 1

    def forget_elsewhere(self, tx: Write, event_id: str, *, with_successors: bool = False) -> None:
        """Have the other processes read the event again; with its successors also those that took its place."""
        if self._database.is_shared:
            keys = (f"event:{event_id}", f"replaced:{event_id}") if with_successors else (f"event:{event_id}",)
            tx.position(Stream.CACHES, *keys)

    async def _load(self, event_ids: list[str], tx: Read | None) -> list[StoredEvent]:
        forgotten = self._times_forgotten
        if tx is None:
            async with self._database.read() as read:
                rows = await storage_events.load(read, event_ids)
        else:
            rows = await storage_events.load(tx, event_ids)
        # What was put into memory while they were read, is newer; and what was forgotten meanwhile, they may be.
        loaded = [self._cache.get(row.event_id) or _stored(row) for row in rows]
        if forgotten == self._times_forgotten:
            self.put_all(loaded)
        return loaded

    def _on_hints(self, hints: list[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES:
                for key in hint.keys:
                    kind, _, event_id = key.partition(":")
                    if kind == "event":
                        self._forget(event_id)
                    elif kind == "replaced":
                        for stored in self._replacing(event_id):
                            self._forget(stored.event_id)

    def _replacing(self, event_id: str) -> list[StoredEvent]:
        return [one for one in self._cache.values() if one.replaces is not None and one.replaces.event_id == event_id]

    def _forget(self, event_id: str) -> None:
        self._cache.drop(event_id)
        self._times_forgotten += 1

    def _forget_all(self) -> None:
        self._cache.clear()
        self._times_forgotten += 1


def _stored(row: Any) -> StoredEvent:
    version = KNOWN_VERSIONS[row.room_version]

    def event_of(body: bytes | None, event_id: str | None) -> Event | None:
        return None if body is None or event_id is None else Event.from_pdu(decode(body), version, event_id)

    event = event_of(row.body, row.event_id)
    assert event is not None
    replaces = event_of(row.replaced_body, row.replaced_id)
    return StoredEvent(
        event=event,
        nid=row.event_nid,
        room_nid=row.room_nid,
        position=row.position,
        outlier=row.outlier,
        rejected=row.rejected,
        soft_failed=row.soft_failed,
        follows_gap=row.follows_gap,
        snapshot_id=row.snapshot_id,
        is_local=row.is_local,
        notify_seq=row.notify_seq,
        thread_notify_seq=row.thread_notify_seq,
        thread_root=row.thread_root,
        replaces=replaces.redacted() if replaces is not None and row.replaced_redacted_by else replaces,
        redacted_because=event_of(row.redaction_body, row.redacted_by),
        device_id=row.device_id,
        transaction_id=row.transaction_id,
        has_children=bool(row.has_children),
    )
