"""The one writer of events. Whoever has decided about an event appends it here, inside a write; all that follows from
it is put off with it: body, graphs, state, members, servers, counts, hints.

server-server-api §Checks performed on receipt of a PDU, and §Soft failure, say what becomes of which event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from homeserver.core.auth_rules import auth_events_of
from homeserver.core.events import MEMBER, Event, StateKey
from homeserver.services.auth_chains import AuthChains
from homeserver.services.event_rows import CHILDREN, THREAD, relation_of, write_new, write_place
from homeserver.services.events import Events, StoredEvent
from homeserver.services.member_rows import MemberRows
from homeserver.services.redactions import Redactions
from homeserver.services.room_heads import HeadDraft
from homeserver.services.room_state import RoomState
from homeserver.services.snapshots import Delta, Entry, Snapshot
from storage import room_state as storage_state
from storage.database import Database, Position, Write
from storage.streams import Stream

_LOOKED_AT: Final = 1_000
"""So many events are looked at to find out whether an event that comes late is built upon."""


class PushCounter(Protocol):
    """Counts events that notify, and keeps what differs from that for single users."""

    async def on_event(self, tx: Write, draft: HeadDraft, event: Event, position: Position) -> tuple[int, int]:
        """Called for every new event of the timeline, the draft having the state after it. Returns what the room's
        count of notifying events is with this one, and that of its thread (0 where the event does not notify)."""
        ...

    def thread_of(self, tx: Write, event: Event) -> str | None:
        """The root of the thread that the event is in."""
        ...


@dataclass(frozen=True, slots=True)
class SentBy:
    """Which request of a local client an event comes from."""

    device_id: str
    transaction_id: str


class PersistEvent:
    """Appends events to rooms. What it is told about an event (rejected, soft-failed) it does not question."""

    def __init__(
        self,
        database: Database,
        events: Events,
        state: RoomState,
        chains: AuthChains,
        members: MemberRows,
        redactions: Redactions,
        push: PushCounter | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self._state = state
        self._chains = chains
        self._members = members
        self._redactions = redactions
        self._push = push

    async def append(
        self,
        tx: Write,
        draft: HeadDraft,
        event: Event,
        *,
        snapshot_before: Snapshot | int | None = None,
        rejected: str | None = None,
        soft_failed: bool = False,
        outlier: bool = False,
        backfilled: bool = False,
        is_local: bool = False,
        is_new: bool = False,
        again: bool = False,
        sent_by: SentBy | None = None,
        known: Mapping[str, Event] | None = None,
    ) -> StoredEvent:
        """Add an event to the room of the draft; an event that is stored already comes back as it is, unless it was an
        outlier and now takes its place.

        `snapshot_before` is the state before the event; None means that of the draft, or for a backfilled event that
        it is not known. A backfilled event changes neither the extremities nor the current state; nor does a rejected
        or soft-failed one. An outlier has no place in the timeline. `is_local`: this server passes the event on to the
        others; `is_new`: it has just made it, so nobody knows it yet. `again`: it is stored, of an earlier stay in the
        room, and takes a place in this one. The auth events must be stored, or come in the
        same batch before; `known` are events at hand, so that they need not be read. Raises `MissingEvents` where state
        has to be resolved of events that are not there.
        """
        existing, redaction_ids = (None, ()) if is_new else await self._redactions.look_for(tx, draft, event)
        if existing is not None and (not existing.outlier or outlier) and not again:
            return existing
        stored = StoredEvent(
            event=event,
            nid=existing.nid if existing is not None else self._database.new_id("event"),
            room_nid=draft.room_nid,
            position=None,
            outlier=outlier,
            rejected=rejected,
            soft_failed=soft_failed,
            is_local=is_local,
            has_children=False if is_new else None,
        )
        if sent_by is not None:
            stored.device_id, stored.transaction_id = sent_by.device_id, sent_by.transaction_id
        position = None if outlier else self._position(tx, stored, backfilled)
        snapshot = await self._snapshot(tx, draft, snapshot_before, backfilled or outlier)
        stored.snapshot_id = None if snapshot is None else snapshot.snapshot_id
        replaced = await self._replaced(tx, draft, stored, snapshot)
        stored.replaces = None if replaced is None else replaced.shown
        if event.state_key is not None:
            await (self.index if existing is None else self.index_if_new)(tx, stored)
        if position is not None and snapshot is not None and not backfilled and stored.is_accepted:
            await self._extend_head(tx, draft, stored, snapshot, position, {**(known or {}), event.event_id: event})
        if position is not None:
            await self._count(tx, draft, stored, position, backfilled)
        missing = await self._missing(tx, event) if position is not None and rejected is None and not is_new else ()
        stored.follows_gap = bool(missing) and not backfilled
        replaces_nid = None if replaced is None else replaced.nid
        if existing is None:
            write_new(tx, stored, position, replaces_nid)
        else:
            write_place(tx, stored, position, replaces_nid, has_edges=not existing.outlier)
            self._events.forget_elsewhere(tx, event.event_id)
        self._events.appended(tx, stored)
        tx.after_commit(lambda: self._keep(stored, position))
        if position is not None:
            if not is_new and rejected is None:
                self._note_missing(draft, event, missing)
                await self._redactions.apply_earlier(tx, draft, stored, redaction_ids)
            await self._finish(tx, draft, stored)
        if backfilled and stored.is_accepted and (parent := relation_of(event)[0]) is not None:
            # Nobody is told of history that arrives late, but what is shown with the parent is different now.
            tx.position(Stream.CACHES, CHILDREN + parent)
        return stored

    async def index(self, tx: Write, stored: StoredEvent) -> None:
        """Give a state event its place in the index of auth chains, if all that authorises it is stored."""
        event = stored.event
        ids = auth_events_of(event)
        found = await self._events.get_many(ids, tx)
        if len(found) < len(set(ids)):
            return
        cited = [found[event_id] for event_id in ids]
        cited.sort(key=lambda auth: (auth.event.type, auth.event.state_key) != (event.type, event.state_key))
        await self._chains.add(tx, stored.room_nid, event.event_id, stored.nid, [auth.nid for auth in cited])

    async def index_if_new(self, tx: Write, stored: StoredEvent) -> None:
        """As `index`, for an event that was stored when not all that authorises it was."""
        if not await self._chains.has(tx, stored.nid):
            await self.index(tx, stored)

    async def set_state(
        self,
        tx: Write,
        draft: HeadDraft,
        delta: Delta,
        snapshot: Snapshot,
        position: Position,
        known: Mapping[str, Event],
        cause: StoredEvent | None = None,
    ) -> set[str]:
        """The current state changes: rows of the changes and of members, and the draft. `known` has events at hand.
        Returns the servers that are no longer in the room."""
        for key, entry in delta.items():
            previous = draft.get(key)
            if cause is not None:
                cause.changed[key] = (entry and entry[0], previous and previous[0])
            storage_state.add_change(tx, draft.room_nid, position, key, entry and entry[1], previous and previous[1])
        gone = await self._members.change(tx, draft, delta, position, known)
        draft.set_state(delta, snapshot)
        return gone

    def _position(self, tx: Write, stored: StoredEvent, backfilled: bool) -> Position:
        if backfilled:
            return tx.backwards_position()
        event = stored.event
        # Whose membership it is has to hear of it, too: somebody invited or kicked.
        keys = (event.room_id, event.state_key) if event.type == MEMBER and event.state_key else (event.room_id,)
        return tx.position(Stream.EVENTS, *keys, payload=stored)

    async def _snapshot(
        self, tx: Write, draft: HeadDraft, given: Snapshot | int | None, may_be_unknown: bool
    ) -> Snapshot | None:
        if given is None:
            return None if may_be_unknown else draft.snapshot
        if isinstance(given, Snapshot):
            return given
        return draft.snapshot if given == draft.snapshot_id else await self._state.snapshot(given, tx)

    async def _replaced(
        self, tx: Write, draft: HeadDraft, stored: StoredEvent, snapshot: Snapshot | None
    ) -> StoredEvent | None:
        if stored.event.state_key is None or snapshot is None:
            return None
        key = stored.event.key
        entry = draft.get(key) if snapshot is draft.snapshot else snapshot.get(key)
        return None if entry is None else await self._events.get(entry[0], tx)

    async def _extend_head(
        self,
        tx: Write,
        draft: HeadDraft,
        stored: StoredEvent,
        before: Snapshot,
        position: Position,
        known: Mapping[str, Event],
    ) -> None:
        """The event becomes a forward extremity, and the current state that after all extremities; unless it comes
        late: what the room is built upon already has had its effect, and would undo what came after it."""
        event = stored.event
        draft.last_position = position
        if event.event_id in draft.missing and await self._is_built_upon(tx, event.event_id):
            await self._fill_in(tx, draft, stored, position)
            return
        superseded = await self._superseded(tx, draft, event)
        others = draft.extremities.keys() - superseded
        gone: set[str] = set()
        own: dict[StateKey, Entry | None] = {}
        if event.state_key is not None:
            own[event.key] = (event.event_id, stored.nid)
        on_head = before is draft.snapshot
        if others and (own or not on_head):
            gone = await self._merge(tx, draft, stored, before, others, position)
        elif own or not on_head:
            after = self._state.extend(tx, draft.room_nid, before, own) if own else before
            if own:
                self._state.note_after(tx, event.event_id, before, after)
            delta = own
            if not on_head:
                # The event itself is part of that state, so it has to be found.
                self._events.appended(tx, stored)
                delta = await self._state.difference(tx, dict(draft.state), after.state())
            gone = await self.set_state(tx, draft, delta, after, position, known, stored)
        draft.set_extremities(superseded, event.event_id, stored.nid, event.depth)
        if gone:
            await self._members.tell_gone(tx, draft, stored, gone)

    async def _fill_in(self, tx: Write, draft: HeadDraft, stored: StoredEvent, position: Position) -> None:
        """What an event that comes late builds on is behind others now, and no extremity any more."""
        superseded = await self._superseded(tx, draft, stored.event)
        others = draft.extremities.keys() - superseded
        if not superseded or not others:
            return
        gone = await self._merge(tx, draft, stored, None, others, position)
        draft.drop_extremities(superseded)
        if gone:
            await self._members.tell_gone(tx, draft, stored, gone)

    async def _is_built_upon(self, tx: Write, event_id: str) -> bool:
        """Whether an accepted event cites the event, be it through others that could not become extremities."""
        pending, seen = [event_id], {event_id}
        while pending and len(seen) < _LOOKED_AT:
            for following in await self._events.following(tx, pending.pop()):
                if following.is_accepted:
                    return True
                if following.event_id not in seen:
                    seen.add(following.event_id)
                    pending.append(following.event_id)
        return bool(pending)

    async def _merge(
        self,
        tx: Write,
        draft: HeadDraft,
        stored: StoredEvent,
        before: Snapshot | None,
        others: set[str],
        position: Position,
    ) -> set[str]:
        """The room has several extremities: its state is resolved of the states after each, among them the event where
        the state `before` it is given. Returns the servers that are no longer in the room."""
        event = stored.event
        own = {event.key: event.event_id} if event.state_key is not None else {}
        states = [] if before is None else [before.state() | own]
        # The event itself may win the resolution, so it has to be found by those who look for it.
        self._events.appended(tx, stored)
        for other in (await self._events.get_many(others, tx)).values():
            after = await self._state.after(other, tx)
            if after is not None and after not in states:
                states.append(after)
        resolved = await self._state.resolve(tx, draft.room_version, draft.room_nid, states)
        delta = await self._state.difference(tx, dict(draft.state), resolved)
        if not delta:
            return set()
        snapshot = self._state.extend(tx, draft.room_nid, draft.snapshot, delta)
        return await self.set_state(tx, draft, delta, snapshot, position, {event.event_id: event}, stored)

    async def _superseded(self, tx: Write, draft: HeadDraft, event: Event) -> set[str]:
        """The extremities that the event builds on, be it through events that could not become extremities.

        What lies behind an outlier stays: only its server's word has it that the state here was of any consequence.
        """
        gone: set[str] = set()
        pending, seen = list(event.prev_events), set(event.prev_events)
        while pending:
            event_id = pending.pop()
            if event_id in draft.extremities:
                gone.add(event_id)
                continue
            behind = await self._events.get(event_id, tx)
            if behind is None or behind.outlier or behind.is_accepted:
                continue
            pending += [i for i in behind.event.prev_events if i not in seen]
            seen.update(behind.event.prev_events)
        return gone

    async def _count(
        self, tx: Write, draft: HeadDraft, stored: StoredEvent, position: Position, backfilled: bool
    ) -> None:
        if self._push is None:
            related, kind = relation_of(stored.event)
            stored.thread_root = related if kind == THREAD else None
            return
        stored.thread_root = self._push.thread_of(tx, stored.event)
        if backfilled or not stored.is_accepted:
            return
        stored.notify_seq, stored.thread_notify_seq = await self._push.on_event(
            tx, draft, stored.event, position
        )
        if stored.thread_notify_seq:
            draft.set_notify_seq(stored.notify_seq)
            if stored.thread_root is not None:
                draft.set_thread_seq(stored.thread_root, stored.thread_notify_seq)

    async def _finish(self, tx: Write, draft: HeadDraft, stored: StoredEvent) -> None:
        """What an event of the timeline brings about, once it is there."""
        if stored.is_accepted and stored.event.redacts is not None:
            await self._redactions.apply(tx, draft, stored)
        if stored.is_local:
            self._members.tell_departed(tx, draft, stored)

    async def _missing(self, tx: Write, event: Event) -> Sequence[str]:
        """What the event cites but the timeline lacks."""
        found = await self._events.get_many(event.prev_events, tx)
        return [i for i in event.prev_events if i not in found or found[i].outlier]

    def _note_missing(self, draft: HeadDraft, event: Event, missing: Sequence[str]) -> None:
        """Keep the backward extremities."""
        if event.event_id in draft.missing:
            draft.set_missing(event.event_id, None)
        for event_id in missing:
            draft.set_missing(event_id, event.depth)

    def _keep(self, stored: StoredEvent, position: Position | None) -> None:
        stored.position = None if position is None else int(position)
        self._events.put(stored)


def authorising_first(events: Sequence[Event]) -> list[Event]:
    """Events in an order in which each comes after those of them that it cites in auth_events."""
    by_id = {event.event_id: event for event in events}
    ordered: dict[str, Event] = {}
    for start in events:
        stack = [start]
        while stack:
            event = stack[-1]
            waiting = [by_id[i] for i in auth_events_of(event) if i in by_id and i not in ordered]
            if waiting and event.event_id not in ordered:
                stack.extend(waiting)
            else:
                ordered.setdefault(event.event_id, event)
                stack.pop()
    return list(ordered.values())
