"""Judges events again that came into a room before its members were known, each as if it had come just then.

What this server did not have when an event came is left out again, so that the outcome is that of a server that had the
whole state from the join on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from homeserver.core.auth_errors import AuthError
from homeserver.core.auth_rules import auth_types_for, check_auth
from homeserver.core.auth_selection import CREATE_KEY
from homeserver.core.events import Event, StateKey
from homeserver.services.events import Events, StoredEvent
from homeserver.services.outliers import Outliers
from homeserver.services.room_heads import HeadDraft
from homeserver.services.room_state import RoomState
from homeserver.services.snapshots import Snapshot
from storage.database import Write


@dataclass(slots=True)
class Replayed:
    """What a room is after its events were judged again.

    `events`: (as it was, as it is, nid of what it replaced), in the order in which they came; `extremities`: event id →
    depth; `snapshot`: the current state.
    """

    snapshot: Snapshot
    extremities: dict[str, int] = field(default_factory=dict)
    events: list[tuple[StoredEvent, StoredEvent, int | None]] = field(default_factory=list)


class Replay:
    """One use: a room within one write."""

    def __init__(
        self, events: Events, state: RoomState, outliers: Outliers, tx: Write, draft: HeadDraft, told: Mapping[str, int]
    ) -> None:
        self._events = events
        self._state = state
        self._outliers = outliers
        self._tx = tx
        self._draft = draft
        self._told = told
        self._after: dict[str, Snapshot] = {}

    async def run(self, base: Snapshot, arrived: Sequence[StoredEvent]) -> Replayed:
        """`base` is the state before the first of the events, a join. Raises `AuthError` where it does not allow that,
        `MissingEvents`."""
        done = Replayed(base)
        for stored in arrived:
            is_first = not done.events
            before = base if is_first else await self._before(done, stored)
            if is_first:
                await self._check(stored.event, before)
            await self._judge(done, stored, before)
        return done

    async def _before(self, done: Replayed, stored: StoredEvent) -> Snapshot:
        if done.extremities.keys() == set(stored.event.prev_events):
            return done.snapshot
        found = await self._events.get_many(stored.event.prev_events, self._tx)
        snapshots: dict[int, Snapshot] = {}
        for event_id in stored.event.prev_events:
            snapshot = await self._after_of(event_id, found.get(event_id))
            if snapshot is not None:
                snapshots[snapshot.snapshot_id] = snapshot
        if not snapshots:
            return done.snapshot
        return await self._resolved(list(snapshots.values()))

    async def _after_of(self, event_id: str, stored: StoredEvent | None) -> Snapshot | None:
        """The state after an event that another cites: judged again, told by another server, or from before."""
        after = self._after.get(event_id)
        if after is None and event_id in self._told:
            after = await self._state.snapshot(self._told[event_id], self._tx)
        if after is None and stored is not None and stored.snapshot_id is not None:
            after = await self._state.snapshot_after(self._tx, stored)
        return after

    async def _resolved(self, snapshots: Sequence[Snapshot]) -> Snapshot:
        if len(snapshots) == 1:
            return snapshots[0]
        draft = self._draft
        states = [snapshot.state() for snapshot in snapshots]
        resolved = await self._state.resolve(self._tx, draft.room_version, draft.room_nid, states)
        return await self._state.store(self._tx, draft.room_nid, resolved, snapshots[0])

    async def _judge(self, done: Replayed, stored: StoredEvent, before: Snapshot) -> None:
        event = stored.event
        rejected = await self._rejection(event, before)
        soft_failed = stored.soft_failed or (rejected is None and await self._is_soft_failed(done, event, before))
        entry = None if event.state_key is None else before.get(event.key)
        replaces = None if entry is None else await self._events.get(entry[0], self._tx)
        now = replace(
            stored,
            snapshot_id=before.snapshot_id,
            rejected=rejected,
            soft_failed=soft_failed,
            replaces=None if replaces is None else replaces.shown,
            changed={},
            client_json={},
        )
        self._events.appended(self._tx, now)
        done.events.append((stored, now, None if replaces is None else replaces.nid))
        after = before
        if event.state_key is not None and rejected is None:
            own = {event.key: (event.event_id, stored.nid)}
            after = self._state.extend(self._tx, self._draft.room_nid, before, own)
            self._state.note_after(self._tx, event.event_id, before, after)
        self._after[event.event_id] = after
        if now.is_accepted:
            await self._extend(done, now, before, after)

    async def _rejection(self, event: Event, before: Snapshot) -> str | None:
        reason = await self._outliers.rejection(event, self._tx)
        if reason is not None:
            return reason
        try:
            await self._check(event, before)
        except AuthError as error:
            return f"step 5, rule {error.rule}: {error.reason}"
        return None

    async def _is_soft_failed(self, done: Replayed, event: Event, before: Snapshot) -> bool:
        if before is done.snapshot:
            return False
        try:
            await self._check(event, done.snapshot)
        except AuthError:
            return True
        return False

    async def _check(self, event: Event, snapshot: Snapshot) -> None:
        keys = auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)
        entries = {key: snapshot.get(key) for key in {*keys, CREATE_KEY}}
        state: dict[StateKey, str] = {key: entry[0] for key, entry in entries.items() if entry is not None}
        check_auth(event, await self._state.events_of(state, state, self._tx))

    async def _extend(self, done: Replayed, stored: StoredEvent, before: Snapshot, after: Snapshot) -> None:
        """As the event became an extremity when it came, see `PersistEvent`."""
        gone = await self._superseded(done, stored)
        others = done.extremities.keys() - gone
        if not others:
            done.snapshot = after
        elif after is not before or before is not done.snapshot:
            states = [after, *(self._after[other] for other in others)]
            done.snapshot = await self._merged(done.snapshot, states)
        for event_id in gone:
            del done.extremities[event_id]
        done.extremities[stored.event_id] = stored.event.depth

    async def _merged(self, current: Snapshot, snapshots: Sequence[Snapshot]) -> Snapshot:
        draft = self._draft
        states = [snapshot.state() for snapshot in {s.snapshot_id: s for s in snapshots}.values()]
        resolved = await self._state.resolve(self._tx, draft.room_version, draft.room_nid, states)
        return await self._state.store(self._tx, draft.room_nid, resolved, current)

    async def _superseded(self, done: Replayed, stored: StoredEvent) -> set[str]:
        gone: set[str] = set()
        pending, seen = list(stored.event.prev_events), set(stored.event.prev_events)
        while pending:
            event_id = pending.pop()
            if event_id in done.extremities:
                gone.add(event_id)
                continue
            behind = await self._events.get(event_id, self._tx)
            # What came only after the event was not there yet.
            if behind is None or event_id not in self._after or behind.is_accepted:
                continue
            pending += [i for i in behind.event.prev_events if i not in seen]
            seen.update(behind.event.prev_events)
        return gone
