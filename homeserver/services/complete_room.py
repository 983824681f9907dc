"""The write that makes a partial room whole: its state is known, what came meanwhile is judged again.

Where that changes nothing, history says afterwards what it would say had all members been known at the join.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from homeserver.core.events import MEMBER, StateKey, StateMap
from homeserver.services.device_lists import DeviceLists
from homeserver.services.event_rows import write_relation
from homeserver.services.events import Events, StoredEvent
from homeserver.services.member_rows import MemberRows
from homeserver.services.outliers import Outliers
from homeserver.services.redactions import Redactions
from homeserver.services.replay import Replay, Replayed
from homeserver.services.room_heads import WHOLE, HeadDraft, RoomHeads, WholeRoom
from homeserver.services.room_state import RoomState
from homeserver.services.snapshots import EMPTY, Delta, Snapshot
from storage import device_lists, partial_rooms, room_state
from storage.database import Position, Write
from storage.partial_rooms import PartialRoom
from storage.streams import Stream
from storage.tables import event_relations
from storage.tables import events as events_table

log = logging.getLogger(__name__)

_ENCRYPTION: StateKey = ("m.room.encryption", "")
_NO_END = 2**62


class NotNow(Exception):
    """The batch has written to the room already; in another one it can be made whole."""


class CompleteRoom:
    """Takes over the state of a partial room."""

    def __init__(
        self,
        heads: RoomHeads,
        events: Events,
        state: RoomState,
        outliers: Outliers,
        members: MemberRows,
        redactions: Redactions,
        *,
        server_name: str,
    ) -> None:
        self._heads = heads
        self._events = events
        self._state = state
        self._outliers = outliers
        self._members = members
        self._redactions = redactions
        self._suffix = ":" + server_name
        self.device_lists: DeviceLists | None = None

    async def complete(self, tx: Write, room: PartialRoom, states: Sequence[StateMap]) -> bool:
        """`states` are those after the events that the join cites, all of whose events are stored. False where the room
        is partial no longer, or by another join.

        Raises `AuthError` where the state does not allow the join, `MissingEvents` where not all is stored, `NotNow`.
        """
        draft = await self._heads.draft(tx, room.room_id)
        current = await partial_rooms.of_room(tx, room.room_nid)
        join = await self._events.get(room.join_event_id, tx)
        if draft is None or join is None or join.position is None or current != room:
            return False
        if self._events.are_appended(tx, draft.room_nid):
            raise NotNow
        resolved = await self._state.resolve(tx, draft.room_version, draft.room_nid, states)
        base = self._state.extend(tx, draft.room_nid, EMPTY, await self._state.difference(tx, {}, resolved))
        arrived = await partial_rooms.arrived_since(tx, draft.room_nid, join.position)
        stored = await self._events.get_many([event_id for _, event_id in arrived], tx)
        told = await partial_rooms.states_told(tx, draft.room_nid)
        replay = Replay(self._events, self._state, self._outliers, tx, draft, told)
        done = await replay.run(base, [stored[event_id] for _, event_id in arrived])
        await self._rewrite(tx, draft, done.events)
        await self._take_over(tx, draft, room, done, base, join.position)
        await partial_rooms.forget_told_states(tx, draft.room_nid)
        return True

    # --- events

    async def _rewrite(
        self, tx: Write, draft: HeadDraft, events: Sequence[tuple[StoredEvent, StoredEvent, int | None]]
    ) -> None:
        notify_seq = 0
        for before, now, replaces_nid in events:
            if now.is_accepted and not before.is_accepted:
                # Nobody was told of it: it counts for nothing.
                now.notify_seq = notify_seq
            notify_seq = now.notify_seq or notify_seq
            tx.update(
                events_table,
                {"event_nid": now.nid},
                snapshot_id=now.snapshot_id,
                rejected=now.rejected,
                soft_failed=now.soft_failed,
                replaces_nid=replaces_nid,
                notify_seq=now.notify_seq,
            )
            tx.after_commit(partial(self._events.put, now))
            self._events.forget_elsewhere(tx, now.event_id)
            if now.is_accepted != before.is_accepted:
                log.info("event %s of %s: accepted %s now", now.event_id, draft.room_id, now.is_accepted)
                await self._judged_otherwise(tx, draft, now)

    async def _judged_otherwise(self, tx: Write, draft: HeadDraft, now: StoredEvent) -> None:
        if now.is_accepted:
            write_relation(tx, now, now.position)
            if now.event.redacts is not None:
                await self._redactions.apply(tx, draft, now)
            return
        tx.delete(event_relations, event_nid=now.nid)
        target = None if now.event.redacts is None else await self._events.get(now.event.redacts, tx)
        if target is None or target.redacted_because is None or target.redacted_because.event_id != now.event_id:
            return
        shown = replace(target, redacted_because=None, client_json={})
        tx.update(events_table, {"event_nid": target.nid}, redacted_by=None)
        write_relation(tx, shown, shown.position)
        self._events.appended(tx, shown)
        tx.after_commit(partial(self._events.put, shown))
        self._events.forget_elsewhere(tx, target.event_id)

    # --- the room

    async def _take_over(
        self, tx: Write, draft: HeadDraft, room: PartialRoom, done: Replayed, base: Snapshot, joined_at: int
    ) -> None:
        known_hosts = draft.hosts()
        old, new = dict(draft.state), done.snapshot.state()
        delta = await self._state.difference(tx, old, new)
        users = {user_id for user_id in draft.head.joined if user_id.endswith(self._suffix)}
        users |= {key[1] for key in delta if key[0] == MEMBER and key[1].endswith(self._suffix)}
        position = tx.position(Stream.MEMBERSHIPS, *sorted(users), draft.room_id)
        joined_before = {key[1] for key in delta if key[0] == MEMBER and draft.is_joined(key[1])}
        self._note_changes(tx, draft, delta, base, old, position, joined_at)
        await self._members.change(tx, draft, delta, position, {})
        for server in room.servers:
            # Only now: those of whom there are members have been there all the time.
            draft.add_users(server, -1)
        draft.set_state(delta, done.snapshot)
        self._set_extremities(draft, done)
        draft.set_partial(False)
        await self._tell_of_devices(tx, draft, delta, joined_before, known_hosts, joined_at)
        whole = tx.position(Stream.CACHES, WHOLE + draft.room_id, payload=WholeRoom(draft.room_nid))
        partial_rooms.set_whole(tx, draft.room_nid, whole)

    def _note_changes(
        self,
        tx: Write,
        draft: HeadDraft,
        delta: Delta,
        base: Snapshot,
        old: Mapping[StateKey, str],
        position: Position,
        joined_at: int,
    ) -> None:
        """Members who were there all the time count as known since the join: nobody is told of thousands at once."""
        for key, entry in delta.items():
            was_there = key[0] == MEMBER and key not in old and entry is not None and base.get(key) == entry
            previous = draft.get(key)
            room_state.put_change(
                tx,
                draft.room_nid,
                joined_at if was_there else position,
                key,
                None if entry is None else entry[1],
                None if previous is None else previous[1],
            )

    def _set_extremities(self, draft: HeadDraft, done: Replayed) -> None:
        nids = {now.event_id: now.nid for _, now, _ in done.events}
        gone = draft.extremities.keys() - done.extremities.keys()
        for event_id, depth in done.extremities.items():
            draft.set_extremities(gone, event_id, nids[event_id], depth)

    async def _tell_of_devices(
        self,
        tx: Write,
        draft: HeadDraft,
        delta: Delta,
        joined_before: set[str],
        known_hosts: set[str],
        joined_at: int,
    ) -> None:
        """Users here hear of those who turn out to share an encrypted room with them, and of whom devices changed
        meanwhile; servers that turn out to be in the room, of users here."""
        changed = {user_id for _, user_id in await device_lists.changes_between(tx, joined_at, _NO_END)}
        for _, user_id in [key for key in delta if key[0] == MEMBER]:
            if not draft.is_joined(user_id) or user_id in joined_before or user_id.endswith(self._suffix):
                continue
            if draft.get(_ENCRYPTION) is not None or user_id in changed:
                device_lists.note_change(tx, user_id)
        if self.device_lists is None:
            return
        strangers = sorted(draft.hosts() - known_hosts - {self._suffix[1:]})
        for user_id in sorted(user for user in draft.head.joined if user.endswith(self._suffix)):
            servers: set[str] = set(strangers)
            if user_id in changed:
                servers.update(draft.hosts(), await device_lists.servers_of_rooms_with(tx, user_id, but=draft.room_nid))
            if servers - {self._suffix[1:]} and draft.is_joined(user_id):
                others = sorted(servers - {self._suffix[1:]})
                await self.device_lists.announce(tx, user_id, others, with_keys_only=user_id not in changed)
