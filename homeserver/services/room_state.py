"""The state of rooms: now, before and after any event, and resolved where the event graph forks."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from homeserver.core.auth_errors import MissingEvents
from homeserver.core.events import Event, StateKey, StateMap
from homeserver.core.room_versions import RoomVersion
from homeserver.core.state_resolution import resolve, separate
from homeserver.services.auth_chains import AuthChains
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events, StoredEvent
from homeserver.services.room_heads import HeadDraft, RoomHeads, load_snapshot
from homeserver.services.snapshots import EMPTY, Delta, Entry, Snapshot
from storage import events as storage_events
from storage import room_state as storage_state
from storage.database import Database, Read, Write

_BATCH_KEY = "snapshots"
# Whole states kept in memory: those of big rooms are big.
_WHOLE_STATES = 100


class RoomState:
    """States by snapshot, and their resolution. States that are returned must not be changed."""

    def __init__(
        self, database: Database, events: Events, heads: RoomHeads, chains: AuthChains, *, cache_size: int = 10_000
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._chains = chains
        self._nodes: BoundedCache[int, Snapshot] = BoundedCache(cache_size)
        self._states: BoundedCache[int, dict[StateKey, str]] = BoundedCache(_WHOLE_STATES)
        # event id → (the snapshot before it, the one after it): the former may become another one.
        self._after: BoundedCache[str, tuple[int, int]] = BoundedCache(cache_size)

    # --- now

    async def current(self, room_id: str) -> Mapping[StateKey, str]:
        """The current state of a room, by event ids; empty for a room that is not known."""
        head = await self._heads.get(room_id)
        return {} if head is None else head.state

    async def event(self, room_id: str, event_type: str, state_key: str = "") -> StoredEvent | None:
        """The current state event at a key."""
        event_id = (await self.current(room_id)).get((event_type, state_key))
        return None if event_id is None else await self._events.get(event_id)

    async def events_of(
        self, state: StateMap, keys: Iterable[StateKey], tx: Read | None = None
    ) -> dict[StateKey, Event]:
        """The events that `state` has at these keys."""
        ids = {key: state[key] for key in keys if key in state}
        found = await self._events.get_many(ids.values(), tx)
        return {key: found[event_id].event for key, event_id in ids.items() if event_id in found}

    # --- at snapshots

    async def snapshot(self, snapshot_id: int, tx: Read | None = None) -> Snapshot:
        """A snapshot, for single entries of it. Raises `KeyError` where there is none of that id."""
        if isinstance(tx, Write):
            unwritten = tx.batch.get(_BATCH_KEY)
            if unwritten is not None and snapshot_id in unwritten:
                return unwritten[snapshot_id]
        node = EMPTY if snapshot_id == EMPTY.snapshot_id else self._nodes.get(snapshot_id)
        if node is None:
            async with self._reading(tx) as read:
                node = await load_snapshot(read, snapshot_id, self._nodes.get)
            for loaded in node.lineage():
                self._nodes.put(loaded.snapshot_id, loaded)
        return node

    async def at(self, snapshot_id: int, tx: Read | None = None) -> dict[StateKey, str]:
        """The whole state at a snapshot, by event ids. Raises `KeyError` where there is none of that id."""
        state = self._states.get(snapshot_id)
        if state is None:
            state = (await self.snapshot(snapshot_id, tx)).state()
            self._states.put(snapshot_id, state)
        return state

    async def before(self, stored: StoredEvent, tx: Read | None = None) -> dict[StateKey, str] | None:
        """The state before an event; None where it is not known (outliers, most of what was backfilled)."""
        return None if stored.snapshot_id is None else await self.at(stored.snapshot_id, tx)

    async def after(self, stored: StoredEvent, tx: Read | None = None) -> dict[StateKey, str] | None:
        """The state after an event; rejected events do not change it. None where it is not known."""
        state = await self.before(stored, tx)
        if state is None or stored.event.state_key is None or stored.rejected is not None:
            return state
        return {**state, stored.event.key: stored.event.event_id}

    async def entry_before(self, stored: StoredEvent, key: StateKey, tx: Read | None = None) -> str | None:
        """The event id at one key of the state before an event, without making the whole state."""
        if stored.snapshot_id is None:
            return None
        entry = (await self.snapshot(stored.snapshot_id, tx)).get(key)
        return None if entry is None else entry[0]

    # --- new snapshots

    def extend(self, tx: Write, room_nid: int, base: Snapshot, delta: Delta) -> Snapshot:
        """Put off: a new snapshot, which is `base` with `delta`."""
        node = base.child(self._database.new_id("snapshot"), delta)
        parent = node.parent
        parent_id = None if parent is None or parent is EMPTY else parent.snapshot_id
        storage_state.add_snapshot(tx, room_nid, node.snapshot_id, parent_id, node.ordinal, node.delta)
        unwritten: dict[int, Snapshot] = tx.batch.setdefault(_BATCH_KEY, {})
        unwritten[node.snapshot_id] = node
        tx.after_commit(lambda: self._nodes.put(node.snapshot_id, node))
        return node

    async def store(self, tx: Write, room_nid: int, state: StateMap, near: Snapshot) -> Snapshot:
        """A snapshot of a whole state, kept as its difference from one that is similar; that one where they are
        equal."""
        delta = await self.difference(tx, near.state(), state)
        return self.extend(tx, room_nid, near, delta) if delta else near

    async def difference(self, tx: Read, old: StateMap, new: StateMap) -> dict[StateKey, Entry | None]:
        """What has to change in `old` to make it `new`. All events must be stored: raises `MissingEvents`."""
        changed = {key: event_id for key, event_id in new.items() if old.get(key) != event_id}
        found = await self._events.get_many(changed.values(), tx)
        if missing := set(changed.values()) - found.keys():
            raise MissingEvents(missing)
        delta: dict[StateKey, Entry | None] = {
            key: (event_id, found[event_id].nid) for key, event_id in changed.items()
        }
        delta.update((key, None) for key in old if key not in new)
        return delta

    async def snapshot_after(self, tx: Write, stored: StoredEvent) -> Snapshot:
        """The state after a stored event, as a snapshot. Raises `MissingEvents` where the state is not known."""
        if stored.snapshot_id is None:
            raise MissingEvents((stored.event_id,))
        before = await self.snapshot(stored.snapshot_id, tx)
        if stored.event.state_key is None or stored.rejected is not None:
            return before
        known = self._after.get(stored.event_id)
        if known is not None and known[0] == before.snapshot_id:
            return await self.snapshot(known[1], tx)
        after = self.extend(tx, stored.room_nid, before, {stored.event.key: (stored.event_id, stored.nid)})
        self.note_after(tx, stored.event_id, before, after)
        return after

    def note_after(self, tx: Write, event_id: str, before: Snapshot, after: Snapshot) -> None:
        """Remember which snapshot is the state after an event, once it is committed."""
        tx.after_commit(lambda: self._after.put(event_id, (before.snapshot_id, after.snapshot_id)))

    async def snapshot_before(self, tx: Write, draft: HeadDraft, prev_event_ids: Sequence[str]) -> Snapshot:
        """The state before an event that cites these, as a snapshot: resolved where they are several.

        Raises `MissingEvents` for those that are not stored, or whose state is not known.
        """
        if draft.extremities and draft.extremities.keys() == set(prev_event_ids):
            return draft.snapshot
        found = await self._events.get_many(prev_event_ids, tx)
        if missing := [i for i in prev_event_ids if i not in found or found[i].snapshot_id is None]:
            raise MissingEvents(missing)
        snapshots = {s.snapshot_id: s for s in [await self.snapshot_after(tx, found[i]) for i in prev_event_ids]}
        if not snapshots:
            return EMPTY
        if len(snapshots) == 1:
            return next(iter(snapshots.values()))
        states = [snapshot.state() for snapshot in snapshots.values()]
        resolved = await self.resolve(tx, draft.room_version, draft.room_nid, states)
        return await self.store(tx, draft.room_nid, resolved, next(iter(snapshots.values())))

    # --- resolution

    async def resolve(
        self, tx: Read, version: RoomVersion, room_nid: int, states: Sequence[StateMap]
    ) -> dict[StateKey, str]:
        """The one state that follows from several. All their events and auth chains must be stored."""
        unconflicted, conflicted = separate(states) if states else ({}, {})
        if not conflicted:
            return unconflicted
        conflicted_ids = set().union(*conflicted.values())
        difference: set[str] | None = None
        subgraph: set[str] | None = None
        if version.state_resolution != "v1":
            difference = await self._chains.difference(tx, states)
        if version.state_resolution == "v2.1":
            subgraph = await self._chains.conflicted_subgraph(tx, conflicted_ids)
        power_levels = await storage_events.ids_of_type(tx, room_nid, "m.room.power_levels")
        known: dict[str, Event] = {}
        rejected: set[str] = set()
        wanted: set[str] = conflicted_ids.union(power_levels, difference or (), subgraph or ())
        while True:
            for event_id, stored in (await self._events.get_many(wanted, tx)).items():
                known[event_id] = stored.event
                if stored.rejected is not None:
                    rejected.add(event_id)
            try:
                return resolve(version, states, known, difference, subgraph, rejected)
            except MissingEvents as missing:
                wanted = set(missing.event_ids - known.keys())
                if not wanted or not await self._events.get_many(wanted, tx):
                    raise

    @asynccontextmanager
    async def _reading(self, tx: Read | None) -> AsyncIterator[Read]:
        if tx is not None:
            yield tx
            return
        async with self._database.read() as read:
            yield read
