"""Rooms of other servers: taking over the state of one at a join, and noting invites and knocks from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from homeserver.core.auth_errors import MissingEvents
from homeserver.core.auth_rules import check_auth
from homeserver.core.events import Event, StateKey
from homeserver.services.client_events import json_bytes
from homeserver.services.event_rows import write_new
from homeserver.services.events import Events, StoredEvent
from homeserver.services.lent_members import LentMembers
from homeserver.services.member_rows import MemberRows
from homeserver.services.persist_event import PersistEvent, authorising_first
from homeserver.services.room_heads import PARTIAL, WHOLE, HeadDraft
from homeserver.services.room_state import RoomState
from homeserver.services.snapshots import EMPTY, Entry
from storage import memberships, partial_rooms
from storage import rooms as storage_rooms
from storage.database import Database, Write
from storage.partial_rooms import PartialRoom
from storage.streams import Stream
from storage.tables import events as events_table


class ImportRoom:
    """Writes what comes from a resident server of a room that this server is not in."""

    def __init__(
        self, database: Database, events: Events, state: RoomState, persist: PersistEvent, members: MemberRows
    ) -> None:
        self._database = database
        self._events = events
        self._state = state
        self._persist = persist
        self._members = members
        self._lent = LentMembers(events, state)

    async def join(
        self,
        tx: Write,
        draft: HeadDraft,
        join: Event,
        *,
        state: Sequence[Event],
        auth_chain: Sequence[Event],
        rejected: Mapping[str, str] | None = None,
        servers: Sequence[str] | None = None,
    ) -> StoredEvent:
        """A user of this server has joined: the room's state is now `state` with `join`, its one extremity.

        `state` is the state before the join and `auth_chain` all that authorises it, as send_join returned them,
        checked; `rejected` (event id → reason) are those that failed, which are stored but are no state. Thousands of
        events are a few statements. `servers`: the state is without its members, and these are in the room.
        """
        reasons = rejected or {}
        await self._forget_partial(tx, draft)
        if servers is not None:
            self._begin_partial(tx, draft, join, servers)
        stored = await self.outliers(tx, draft, [*auth_chain, *state], reasons)
        entries: dict[StateKey, Entry | None] = {
            event.key: (event.event_id, stored[event.event_id].nid)
            for event in state
            if event.is_state and event.event_id not in reasons
        }
        before = self._state.extend(tx, draft.room_nid, EMPTY, entries)
        # Whatever was known of the room is of the past, from when this server was in it before.
        for event_id in list(draft.extremities):
            del draft.extremities[event_id]
        known = {event.event_id: event for event in state}
        known[join.event_id] = join
        storage_rooms.set_taken_over(tx, draft.room_nid, tx.position(Stream.CACHES))
        return await self._persist.append(tx, draft, join, snapshot_before=before, is_local=False, known=known)

    async def rejoin(self, tx: Write, draft: HeadDraft, join: Event) -> bool:
        """The room is still partial from an earlier stay that ended just now: its history goes on, if nothing happened
        since that is not known here. Raises `AuthError` where the join is not allowed."""
        try:
            before = await self._state.snapshot_before(tx, draft, join.prev_events)
        except MissingEvents:
            return False
        before = await self._lent.added(tx, draft, join, before)
        check_auth(join, await self._state.events_of(before.state(), before.state(), tx))
        await self._persist.append(tx, draft, join, snapshot_before=before)
        return True

    def _begin_partial(self, tx: Write, draft: HeadDraft, join: Event, servers: Sequence[str]) -> None:
        # Before the join has its place in the log: nobody sees the room as if it were whole.
        tx.position(Stream.CACHES, PARTIAL + draft.room_id)
        draft.set_partial(True)
        for server in servers:
            draft.add_users(server, 1)
        partial_rooms.put(tx, PartialRoom(draft.room_nid, draft.room_id, join.event_id, tuple(servers)))

    async def _forget_partial(self, tx: Write, draft: HeadDraft) -> None:
        """This server has been in the room and left it before all members were known: what the state was at the events
        of that time will not be known."""
        room = await partial_rooms.of_room(tx, draft.room_nid) if draft.is_partial else None
        if room is None:
            return
        await partial_rooms.forget_told_states(tx, draft.room_nid)
        draft.set_partial(False)
        for server in room.servers:
            draft.add_users(server, -1)
        join = await self._events.get(room.join_event_id, tx)
        since = None if join is None else join.position
        arrived = [] if since is None else await partial_rooms.arrived_since(tx, draft.room_nid, since)
        for stored in (await self._events.get_many([event_id for _, event_id in arrived], tx)).values():
            tx.update(events_table, {"event_nid": stored.nid}, snapshot_id=None)
            self._events.appended(tx, replace(stored, snapshot_id=None))
            tx.after_commit(partial(self._events.put, replace(stored, snapshot_id=None)))
            self._events.forget_elsewhere(tx, stored.event_id)
        partial_rooms.set_whole(tx, draft.room_nid, tx.position(Stream.CACHES, WHOLE + draft.room_id))

    async def outliers(
        self, tx: Write, draft: HeadDraft, events: Sequence[Event], rejected: Mapping[str, str]
    ) -> dict[str, StoredEvent]:
        """Store events without a place in the timeline, where they are not stored yet; returns all of them by id."""
        ordered = authorising_first(list({event.event_id: event for event in events}.values()))
        found = await self._events.get_many([event.event_id for event in ordered], tx)
        new: list[StoredEvent] = []
        for event in ordered:
            stored = found.get(event.event_id)
            if stored is None:
                stored = StoredEvent(
                    event=event,
                    nid=self._database.new_id("event"),
                    room_nid=draft.room_nid,
                    position=None,
                    outlier=True,
                    rejected=rejected.get(event.event_id),
                )
                found[event.event_id] = stored
                new.append(stored)
                write_new(tx, stored, None, None)
                self._events.appended(tx, stored)
                if event.is_state:
                    await self._persist.index(tx, stored)
            elif event.is_state:
                await self._persist.index_if_new(tx, stored)
        # They are wanted for the state of the room: read again, they would be parsed again.
        tx.after_commit(partial(self._events.put_all, new))
        return found

    async def membership(
        self, tx: Write, draft: HeadDraft, event: Event, stripped_state: Sequence[Mapping[str, Any]] | None = None
    ) -> StoredEvent:
        """A user of this server was invited to, has knocked on, or has left a room that this server is not in.

        `stripped_state` is what the other server told of the room; None leaves what was told before.
        """
        assert event.state_key is not None
        user_id = event.state_key
        found = await self.outliers(tx, draft, [event], {})
        stored = found[event.event_id]
        position = tx.position(Stream.MEMBERSHIPS, user_id, draft.room_id)
        self._members.put(tx, draft.room_nid, event, stored.nid, position)
        if stripped_state is not None:
            memberships.put_stripped_state(tx, draft.room_id, user_id, json_bytes(list(stripped_state)))
        return stored
