"""Timeline and state of rooms in an answer, as bytes; made once for all readers who see the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from homeserver.core.events import MEMBER, StateKey
from homeserver.services.aggregations import Aggregations, Reader
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.client_events import own_request, serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.sync.lazy_members import LazyMembers
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.room_log import RoomLog
from homeserver.services.sync.room_view import RoomNow, Span, StateView, TimelineView, view_state, view_timeline
from homeserver.services.sync.summary import heroes_of


@dataclass(slots=True)
class RoomDraft:
    """A room of an answer before it is written: what to show, by event ids. `memberships`: of the reader at events
    before `joined_at`; `after_timeline`: the state is that after the timeline; `parents`: events to be shown along with
    what relates to them, which is then in `relations`."""

    room_id: str
    span: Span
    timeline: TimelineView
    state: dict[StateKey, str]
    after_timeline: bool
    memberships: Mapping[str, str]
    joined_at: int
    generation: int
    since_key: int
    cached: bytes | None = None
    key: tuple[object, ...] | None = field(default=None)
    parents: Sequence[StoredEvent] = ()
    relations: Mapping[str, bytes] = field(default_factory=dict)

    def member_changes(self) -> Iterable[StoredEvent]:
        """Member events of the timeline."""
        return (stored for stored in self.timeline.events if stored.event.type == MEMBER)


class RoomSections:
    """Drafts rooms from memory (`draft`), then writes them (`write`) with the events that were gathered in between."""

    def __init__(self, events: Events, lazy: LazyMembers, aggregations: Aggregations, *, size: int = 4_000) -> None:
        self._events = events
        self._aggregations = aggregations
        self._lazy = lazy
        self._written: BoundedCache[tuple[object, ...], bytes] = BoundedCache(size)

    def draft(
        self,
        request: SyncRequest,
        log: RoomLog,
        head: RoomNow,
        span: Span,
        joined_at: int,
        memberships: Mapping[str, str],
        hidden: frozenset[str],
        ignored: frozenset[str],
    ) -> RoomDraft:
        """Decide what to show of a room."""
        wanted = request.filter.room
        timeline = view_timeline(log, span, wanted.timeline, hidden, ignored)
        lazy = wanted.state.lazy_load_members
        state = view_state(
            log,
            head.state,
            span,
            timeline,
            after_timeline=request.use_state_after,
            without_members=lazy,
        )
        if span.is_new and request.since is not None and not timeline.limited:
            timeline = TimelineView(timeline.events, True, timeline.prev_batch, timeline.start)
        draft = RoomDraft(
            log.room_id,
            span,
            timeline,
            state,
            request.use_state_after,
            memberships,
            joined_at,
            log.generation,
            -1 if span.is_full else log.since_key(span.since),
        )
        if timeline.limited or span.is_full:
            # Who has seen the room without a gap has had all that relates to its events: they add it up themselves.
            draft.parents = [stored for stored in timeline.events if self._aggregations.are_needed(stored)]
        needed = self._add_members(request, log, head, draft) if lazy else ()
        self._find_written(request, log, draft, needed, hidden, ignored)
        return draft

    async def relate(self, drafts: Sequence[RoomDraft], reader: Reader) -> None:
        """Gather what relates to the events of drafts that show it."""
        parents = [stored for draft in drafts for stored in draft.parents]
        if parents:
            found = await self._aggregations.of(reader, parents)
            for draft in drafts:
                draft.relations = found

    def missing(self, drafts: Iterable[RoomDraft]) -> set[str]:
        """State events that have to be gathered before writing."""
        return {event_id for draft in drafts if draft.cached is None for event_id in draft.state.values()}

    def write(self, request: SyncRequest, draft: RoomDraft, known: Mapping[str, StoredEvent]) -> bytes:
        """The members `timeline` and `state` (or `state_after`) of the room's object, with their braces left out."""
        if draft.cached is not None:
            return draft.cached
        wanted = request.filter.room.state
        state = [
            serialise(stored, with_room_id=False)
            for event_id in draft.state.values()
            if (stored := known.get(event_id)) is not None
            and wanted.allows_event(stored.event.type, stored.event.sender, stored.shown.content, draft.room_id)
        ]
        if wanted.limit is not None:
            state = state[: wanted.limit]
        events = [self._write_event(request, draft, stored) for stored in draft.timeline.events]
        if request.filter.event_fields is not None:
            events, state = _selected(request, events), _selected(request, state)
        timeline = draft.timeline
        written = b'"timeline":{"events":[%b],"limited":%b,"prev_batch":"%b"},"%b":{"events":[%b]}' % (
            b",".join(events),
            b"true" if timeline.limited else b"false",
            timeline.prev_batch.encode(),
            b"state_after" if draft.after_timeline else b"state",
            b",".join(state),
        )
        if draft.key is not None:
            self._written.put(draft.key, written)
        return written

    def _write_event(self, request: SyncRequest, draft: RoomDraft, stored: StoredEvent) -> bytes:
        position = stored.position or 0
        is_later = position >= draft.joined_at
        membership = "join" if is_later else draft.memberships.get(stored.event_id, "join")
        relations = draft.relations.get(stored.event_id) if draft.parents else None
        return serialise(
            stored,
            with_room_id=False,
            own=own_request(stored, request.user_id, request.device_id),
            membership=membership,
            relations=relations,
        )

    def _find_written(
        self,
        request: SyncRequest,
        log: RoomLog,
        draft: RoomDraft,
        needed: Sequence[StateKey],
        hidden: frozenset[str],
        ignored: frozenset[str],
    ) -> None:
        """Look for the same section written for somebody else."""
        events = draft.timeline.events
        if hidden or draft.memberships or draft.parents:
            return
        if any(
            own_request(stored, request.user_id, request.device_id) is not None for stored in events
        ):
            return
        if ignored and any(e.event.sender in ignored for e in log.between(draft.span.since, draft.span.upto)):
            return
        draft.key = (
            draft.room_id,
            draft.generation,
            draft.since_key,
            draft.span.is_new,
            draft.timeline.limited,
            draft.timeline.prev_batch,
            log.last_position(draft.span.upto),
            request.filter.source,
            draft.after_timeline,
            tuple(sorted(key[1] for key in needed)),
        )
        draft.cached = self._written.get(draft.key)

    def _add_members(self, request: SyncRequest, log: RoomLog, head: RoomNow, draft: RoomDraft) -> Sequence[StateKey]:
        """Add the member events that the timeline's senders (and heroes) need, without those that the device has."""
        end = draft.span.upto if draft.after_timeline else draft.timeline.start - 1
        view = StateView(head.state, [change for change in log.changes if change.position > end])
        members = {stored.event.sender for stored in draft.timeline.events}
        if draft.span.is_full:
            members.add(request.user_id)
            members.update(heroes_of(head, request.user_id))
        sent: list[tuple[str, str]] = []
        added: list[StateKey] = []
        redundant = request.filter.room.state.include_redundant_members
        for member in members:
            key = (MEMBER, member)
            event_id = view.get(key)
            if event_id is None:
                continue
            sent.append((member, event_id))
            if key in draft.state:
                continue
            if draft.span.is_full or redundant or not self._is_known(request, draft, member, event_id):
                draft.state[key] = event_id
                added.append(key)
        self._lazy.note(request.user_id, request.device_id, draft.room_id, sent, draft.span.upto)
        return added

    def _is_known(self, request: SyncRequest, draft: RoomDraft, member: str, event_id: str) -> bool:
        return self._lazy.is_known(
            request.user_id, request.device_id, draft.room_id, member, event_id, draft.span.since
        )


def _selected(request: SyncRequest, events: Sequence[bytes]) -> list[bytes]:
    return [orjson.dumps(request.filter.select_fields(orjson.loads(event))) for event in events]
