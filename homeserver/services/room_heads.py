"""Room heads: cached with their version, drafted inside a batch, installed by its commit."""

from typing import Any

from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import StoredEvent
from homeserver.services.room_head import DraftState, HeadDraft, RoomHead, write_new_room
from homeserver.services.snapshots import EMPTY, Snapshot
from storage import memberships as storage_memberships
from storage import room_state as storage_state
from storage import rooms as storage_rooms
from storage.database import Database, Read, Write
from storage.streams import Stream

__all__ = ["DraftState", "HeadDraft", "RoomHead", "RoomHeads"]

_BATCH_KEY = "room_heads"


class _Slot:
    """A room's draft in a batch, and the operation that works on it."""

    __slots__ = ("draft", "owner")

    def __init__(self, draft: HeadDraft, owner: Write) -> None:
        self.draft = draft
        self.owner = owner


class RoomHeads:
    """The heads of the rooms that this server knows. Where other processes write too, a draft checks the version of the
    cached head under the lock of the room's row, and catches up first if another process has moved it."""

    def __init__(self, database: Database, *, cache_size: int = 2_000) -> None:
        self._database = database
        self._cache: BoundedCache[str, RoomHead] = BoundedCache(cache_size)
        self._stale: set[str] = set()
        self._loading: dict[str, list[bool]] = {}
        database.bus.subscribe(self._on_hints, self._forget_all)

    def cached(self, room_id: str) -> RoomHead | None:
        """The head if it is in memory and not known to be outdated; no I/O."""
        return None if room_id in self._stale else self._cache.get(room_id)

    async def get(self, room_id: str) -> RoomHead | None:
        """The head of a room, as new as this process knows; None for a room that this server never heard of."""
        head = self.cached(room_id)
        while head is None:
            moved = self._loading.setdefault(room_id, [])
            moved.append(False)
            mark = len(moved) - 1
            try:
                async with self._database.read(snapshot=True) as tx:
                    head = await self._load(tx, room_id)
                if moved[mark]:
                    # A batch has installed a newer head meanwhile.
                    head = self.cached(room_id)
                    continue
            finally:
                if len(moved) == mark + 1:
                    self._loading.pop(room_id, None)
            if head is None:
                return None
            self._stale.discard(room_id)
            self._cache.put(room_id, head)
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
            draft = slot.draft.copy()
        else:
            head = await self._current(tx, room_id)
            if head is None:
                return None
            draft = HeadDraft(head)
        self._occupy(tx, slots, draft)
        return draft

    def create(
        self, tx: Write, room_id: str, room_version: RoomVersion, creator: str | None = None
    ) -> HeadDraft:
        """A draft for a room that this server did not know: a new one, or one that it heard of by an invite or a join."""
        head = RoomHead(self._database.new_id("room"), room_id, room_version)
        write_new_room(tx, head, creator)
        draft = HeadDraft(head, is_new=True)
        self._occupy(tx, tx.batch.setdefault(_BATCH_KEY, {}), draft)
        return draft

    def _occupy(self, tx: Write, slots: dict[str, _Slot], draft: HeadDraft) -> None:
        room_id = draft.room_id
        previous = slots.get(room_id)
        slots[room_id] = _Slot(draft, tx)

        def undo() -> None:
            if previous is None:
                slots.pop(room_id, None)
            else:
                slots[room_id] = previous

        def summarise(summary: Write) -> None:
            final = slots[room_id].draft
            if final.is_changed:
                final.write(summary)
                summary.after_commit(lambda: self._install(final))

        tx.on_undo(undo)
        tx.before_commit(f"head:{room_id}", summarise)

    def _install(self, draft: HeadDraft) -> None:
        draft.install()
        room_id = draft.room_id
        for number in range(len(moved := self._loading.get(room_id, []))):
            moved[number] = True
        self._stale.discard(room_id)
        self._cache.put(room_id, draft.head)

    async def _current(self, tx: Write, room_id: str) -> RoomHead | None:
        """The head as it is committed, its row being locked where other processes write too."""
        head = self._cache.get(room_id)
        if not self._database.is_shared:
            if head is None:
                head = await self._load(tx, room_id)
                if head is not None:
                    self._cache.put(room_id, head)
            return head
        room_nid = head.room_nid if head is not None else await self._nid(tx, room_id)
        if room_nid is None:
            return None
        version = await tx.locked_version(room_nid)
        if head is None or version != head.version:
            head = await self._load(tx, room_id)
            if head is not None:
                self._stale.discard(room_id)
                self._cache.put(room_id, head)
        return head

    async def _nid(self, tx: Read, room_id: str) -> int | None:
        row = await storage_rooms.by_id(tx, room_id)
        return None if row is None else int(row.room_nid)

    async def _load(self, tx: Read, room_id: str) -> RoomHead | None:
        """The head from the database; where an outdated one is in memory, that one with what happened since."""
        row = await storage_rooms.by_id(tx, room_id)
        if row is None:
            return None
        old = self._cache.get(room_id)
        if old is not None and old.version == row.version:
            return old
        head = RoomHead(row.room_nid, room_id, ROOM_VERSIONS[row.room_version])
        position = await storage_rooms.log_position(tx)
        if old is not None and old.snapshot is not EMPTY:
            await self._catch_up(tx, head, old)
        else:
            await self._load_whole(tx, head)
        head.version, head.position, head.notify_seq = row.version, position, row.notify_seq
        head.extremities = await storage_rooms.extremities(tx, head.room_nid)
        head.missing = await storage_rooms.missing_events(tx, head.room_nid)
        head.hosts = await storage_rooms.hosts(tx, head.room_nid)
        head.thread_seqs = await storage_rooms.threads(tx, head.room_nid)
        if row.snapshot_id and row.snapshot_id != head.snapshot.snapshot_id:
            head.snapshot = await load_snapshot(tx, row.snapshot_id)
        return head

    async def _load_whole(self, tx: Read, head: RoomHead) -> None:
        for key, entry in (await storage_state.load_current(tx, head.room_nid)).items():
            head.state[key], head.nids[entry[0]] = entry
        members = await storage_memberships.user_ids_of_room(tx, head.room_nid, ("join", "invite"))
        for user_id, membership in members.items():
            if ("m.room.member", user_id) in head.state:
                head.set_member(user_id, membership)

    async def _catch_up(self, tx: Read, head: RoomHead, old: RoomHead) -> None:
        """Take over the collections of an outdated head and bring them up to date in place: they may be large."""
        changes = await storage_state.changes_since(tx, head.room_nid, old.position)
        users = [change.key[1] for change in changes if change.key[0] == "m.room.member"]
        members = await storage_memberships.of_users(tx, head.room_nid, users)
        head.state, head.nids, head.joined, head.invited = old.state, old.nids, old.joined, old.invited
        head.snapshot = old.snapshot
        for change in changes:
            head.set_state({change.key: change.entry})
        for user_id in users:
            in_state = ("m.room.member", user_id) in head.state
            head.set_member(user_id, members.get(user_id) if in_state else None)

    def _on_hints(self, hints: list[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS and not isinstance(hint.payload, StoredEvent) and hint.keys:
                room_id = hint.keys[0]
                if self._cache.get(room_id) is not None:
                    self._stale.add(room_id)

    def _forget_all(self) -> None:
        self._stale.clear()
        self._cache.clear()


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
