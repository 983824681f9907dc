"""Room heads: cached with their version, drafted inside a batch, installed by its commit."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from homeserver.core.events import StateKey
from homeserver.core.room_versions import KNOWN_VERSIONS, RoomVersion
from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import StoredEvent
from homeserver.services.room_head import DraftState, HeadDraft, RoomHead, write_new_room
from homeserver.services.snapshots import EMPTY, Entry, Snapshot
from storage import memberships as storage_memberships
from storage import room_state as storage_state
from storage import rooms as storage_rooms
from storage.database import AnyRow, Database, Read, Write
from storage.streams import Stream

__all__ = ["DraftState", "HeadDraft", "RoomHead", "RoomHeads"]

_BATCH_KEY = "room_heads"
WHOLE = "whole:"
"""Prefix of a key of `Stream.CACHES`: all of the state of the room (its id follows) is known from now on."""
PARTIAL = "partial:"
"""Likewise: a room whose members are not known."""


@dataclass(frozen=True, slots=True)
class WholeRoom:
    """Payload of the hint that a room is whole, in the process that made it so."""

    room_nid: int


class _Slot:
    """A room's draft in a batch, the operation that works on it, and the news that the draft's head knows of."""

    __slots__ = ("draft", "heard", "owner")

    def __init__(self, draft: HeadDraft, owner: Write, heard: int | None) -> None:
        self.draft = draft
        self.owner = owner
        self.heard = heard


class RoomHeads:
    """The heads of the rooms that this server knows. Where other processes write too, a draft checks the version of the
    cached head under the lock of the room's row, and catches up first if another process has moved it."""

    def __init__(self, database: Database, *, cache_size: int = 2_000) -> None:
        self._database = database
        self._cache: BoundedCache[str, RoomHead] = BoundedCache(cache_size)
        # Room id → number of the news that outdated its head; whoever reads it clears away what was heard before.
        self._stale: dict[str, int] = {}
        self._loading: Counter[str] = Counter()
        self._times_heard = 0
        database.bus.subscribe(self._on_hints, self._forget_all)

    def cached(self, room_id: str) -> RoomHead | None:
        """The head if it is in memory and not known to be outdated; no I/O."""
        return None if room_id in self._stale else self._cache.get(room_id)

    async def get(self, room_id: str) -> RoomHead | None:
        """The head of a room, as new as this process knows; None for a room that this server never heard of."""
        head = self.cached(room_id)
        if head is None:
            async with self._database.read(snapshot=True) as tx:
                head = await self._load(tx, room_id)
        return head

    async def draft(self, tx: Write, room_id: str) -> HeadDraft | None:
        """The head as this batch will leave it, for this operation to change; None for an unknown room.

        Asking again within an operation gives the same draft.
        """
        slots: dict[str, _Slot] = tx.batch.setdefault(_BATCH_KEY, {})
        slot = slots.get(room_id)
        if slot is not None and slot.owner is tx:
            return slot.draft
        if slot is not None:
            draft, heard = slot.draft.copy(), slot.heard
        else:
            head = await self._current(tx, room_id)
            if head is None:
                return None
            draft, heard = HeadDraft(head), self._stale.get(room_id)
        self._occupy(tx, slots, draft, heard)
        return draft

    def create(self, tx: Write, room_id: str, room_version: RoomVersion, creator: str | None = None) -> HeadDraft:
        """A draft for a room that this server did not know: a new one, or one that it heard of by an invite or a
        join."""
        head = RoomHead(self._database.new_id("room"), room_id, room_version)
        write_new_room(tx, head, creator)
        draft = HeadDraft(head, is_new=True)
        self._occupy(tx, tx.batch.setdefault(_BATCH_KEY, {}), draft, self._stale.get(room_id))
        return draft

    def _occupy(self, tx: Write, slots: dict[str, _Slot], draft: HeadDraft, heard: int | None) -> None:
        room_id = draft.room_id
        previous = slots.get(room_id)
        slots[room_id] = _Slot(draft, tx, heard)

        def undo() -> None:
            if previous is None:
                slots.pop(room_id, None)
            else:
                slots[room_id] = previous

        def summarise(summary: Write) -> None:
            final, known = slots[room_id].draft, slots[room_id].heard
            if final.is_changed:
                final.write(summary)
                summary.after_commit(lambda: self._install(final, known))

        tx.on_undo(undo)
        tx.before_commit(f"head:{room_id}", summarise)

    def _install(self, draft: HeadDraft, heard: int | None) -> None:
        draft.install()
        self._knows(draft.room_id, heard)
        self._cache.put(draft.room_id, draft.head)

    async def _current(self, tx: Write, room_id: str) -> RoomHead | None:
        """The head as it is committed, its row being locked where other processes write too."""
        head = self._cache.get(room_id)
        if not self._database.is_shared:
            return head if head is not None else await self._load(tx, room_id)
        room_nid = head.room_nid if head is not None else await self._nid(tx, room_id)
        if room_nid is None:
            return None
        version = await tx.locked_version(room_nid)
        if head is None or version != head.version:
            head = await self._load(tx, room_id)
        return head

    async def _nid(self, tx: Read, room_id: str) -> int | None:
        row = await storage_rooms.by_id(tx, room_id)
        return None if row is None else int(row.room_nid)

    async def _load(self, tx: Read, room_id: str) -> RoomHead | None:
        """Read the head and keep it; where an outdated one is in memory, only what happened since is read."""
        self._loading[room_id] += 1
        try:
            return await self._load_as_of(tx, room_id, self._stale.get(room_id))
        finally:
            self._loading[room_id] -= 1
            if not self._loading[room_id]:
                del self._loading[room_id]

    async def _load_as_of(self, tx: Read, room_id: str, heard: int | None) -> RoomHead | None:
        while True:
            old = self._cache.get(room_id)
            row = await storage_rooms.by_id(tx, room_id)
            if row is None:
                return None
            if old is not None and old.version >= row.version:
                self._knows(room_id, heard)
                return old
            if old is not None and old.is_partial != row.partial_state:
                # What becomes known of earlier days is noted as of then: it is not among the changes since.
                self._cache.drop(room_id)
                continue
            news = await _read_news(tx, row, old)
            # Somebody else (a reader, the writer) may have kept a head meanwhile: then this one may be outdated, and
            # the collections of the old one, which it takes over, are in use.
            if self._cache.get(room_id) is old:
                head = news.applied_to(old)
                self._knows(room_id, heard)
                self._cache.put(room_id, head)
                return head

    def _on_hints(self, hints: list[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS and not isinstance(hint.payload, StoredEvent) and hint.keys:
                self._outdated(hint.keys[0])
            elif hint.stream == Stream.CACHES:
                for key in hint.keys:
                    if key.startswith(WHOLE):
                        self._outdated(key[len(WHOLE) :])

    def _outdated(self, room_id: str) -> None:
        """The room has changed since its head was read, or since that began."""
        if self._cache.get(room_id) is not None or room_id in self._loading:
            self._times_heard += 1
            self._stale[room_id] = self._times_heard

    def _knows(self, room_id: str, heard: int | None) -> None:
        """What is kept of the room is as new as the news; there may have been more since."""
        if self._stale.get(room_id) == heard:
            self._stale.pop(room_id, None)

    def _forget_all(self) -> None:
        self._cache.clear()
        self._stale.clear()
        for room_id in self._loading:
            self._outdated(room_id)


@dataclass(slots=True)
class _News:
    """A head without its collections, and what they are or how they changed."""

    head: RoomHead
    state: dict[StateKey, Entry | None]
    members: dict[str, str | None]

    def applied_to(self, old: RoomHead | None) -> RoomHead:
        """The head; it takes over the collections of the old one, which may be large, and brings them up to date."""
        head = self.head
        if old is not None:
            head.state, head.nids, head.joined, head.invited = old.state, old.nids, old.joined, old.invited
        head.set_state(self.state)
        for user_id, membership in self.members.items():
            head.set_member(user_id, membership if ("m.room.member", user_id) in head.state else None)
        return head


async def _read_news(tx: Read, row: AnyRow, old: RoomHead | None) -> _News:
    nid = row.room_nid
    head = RoomHead(nid, row.room_id, KNOWN_VERSIONS[row.room_version])
    head.version, head.notify_seq, head.is_partial = row.version, row.notify_seq, row.partial_state
    head.position = await storage_rooms.log_position(tx)
    state: dict[StateKey, Entry | None] = {}
    members: dict[str, str | None] = {}
    if old is None:
        state.update(await storage_state.load_current(tx, nid))
        members.update(await storage_memberships.user_ids_of_room(tx, nid, ("join", "invite")))
    else:
        state.update((c.key, c.entry) for c in await storage_state.changes_since(tx, nid, old.position))
        users = [state_key for event_type, state_key in state if event_type == "m.room.member"]
        now = await storage_memberships.of_users(tx, nid, users)
        members.update((user_id, now.get(user_id)) for user_id in users)
    head.extremities = await storage_rooms.extremities(tx, nid)
    head.missing = await storage_rooms.missing_events(tx, nid)
    head.hosts = await storage_rooms.hosts(tx, nid)
    head.thread_seqs = await storage_rooms.threads(tx, nid)
    if old is not None and old.snapshot_id == row.snapshot_id:
        head.snapshot = old.snapshot
    elif row.snapshot_id:
        head.snapshot = await load_snapshot(tx, row.snapshot_id)
    return _News(head, state, members)


async def load_snapshot(tx: Read, snapshot_id: int, known: Any = None) -> Snapshot:
    """A snapshot with its lineage from the database; `known` (id → Snapshot or None) gives nodes that are in memory.

    Raises `KeyError` where there is no such snapshot.
    """
    nodes: dict[int, Snapshot] = {EMPTY.snapshot_id: EMPTY}
    for row in await storage_state.load_snapshots(tx, snapshot_id):
        found = known(row.snapshot_id) if known is not None else None
        parent = nodes[row.parent_id] if row.parent_id is not None else EMPTY
        nodes[row.snapshot_id] = found or Snapshot(row.snapshot_id, row.ordinal, parent, row.delta)
    return nodes[snapshot_id]
