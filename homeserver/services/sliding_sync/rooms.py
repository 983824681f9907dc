"""The rooms of an answer: gathers for all of them at once what memory lacks, then writes each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.core.events import MEMBER
from homeserver.services.account_data import UserData
from homeserver.services.aggregations import Aggregations, Reader
from homeserver.services.events import Events, StoredEvent
from homeserver.services.receipts import Receipts
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sliding_sync.connections import SentRoom
from homeserver.services.sliding_sync.request import SlidingSyncRequest
from homeserver.services.sliding_sync.required_state import Required
from homeserver.services.sliding_sync.room_draft import Draft, Drafting
from homeserver.services.sliding_sync.room_facts import RoomFactsOfAll
from homeserver.services.sliding_sync.room_task import RoomTask
from homeserver.services.sliding_sync.room_writing import write_ended, write_outside, write_room
from homeserver.services.sync.invitations import Invitations
from homeserver.services.sync.room_log import RoomLog, RoomLogs
from homeserver.services.sync.room_view import RoomNow
from homeserver.services.sync.rooms import Rooms
from homeserver.services.sync.users import SyncUser
from homeserver.services.unread_counts import Counts, UnreadCounts
from homeserver.services.visibility import Visibility
from storage import timeline
from storage.database import Database

_NO_EVENTS: Mapping[str, str] = {}
_NOTHING: frozenset[str] = frozenset()


@dataclass(slots=True)
class RoomsOfAnswer:
    """`bodies`: room id → JSON text. `sent`: what the client has with the answer, of every room that was looked at.
    `timelines`: the events shown, by room."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, SentRoom] = field(default_factory=dict)
    timelines: dict[str, Sequence[StoredEvent]] = field(default_factory=dict)


class SlidingRooms:
    """Writes rooms of answers, out of the same memory as /sync."""

    def __init__(
        self,
        db: Database,
        logs: RoomLogs,
        events: Events,
        heads: RoomHeads,
        facts: RoomFactsOfAll,
        sync_rooms: Rooms,
        invitations: Invitations,
        visibility: Visibility,
        receipts: Receipts,
        unread: UnreadCounts,
        aggregations: Aggregations,
    ) -> None:
        self._db = db
        self._logs = logs
        self._events = events
        self._heads = heads
        self._facts = facts
        self._sync_rooms = sync_rooms
        self._invitations = invitations
        self._visibility = visibility
        self._receipts = receipts
        self._unread = unread
        self._aggregations = aggregations
        self._drafting = Drafting(facts)

    async def write(
        self, request: SlidingSyncRequest, user: SyncUser, data: UserData, tasks: Sequence[RoomTask], live_since: int
    ) -> RoomsOfAnswer:
        """The rooms of the tasks; `live_since` is the place in the log that the client knew of before."""
        answer = RoomsOfAnswer()
        joined = [task for task in tasks if task.is_joined]
        logs, now = await self._ready(request, joined)
        counts = await self._counts(request, joined)
        drafts = [
            await self._draft_joined(request, data, task, logs[task.room_id], now[task.room_id]) for task in joined
        ]
        for task in tasks:
            if task.is_outside:
                continue
            if not task.is_joined:
                drafts.append(await self._draft_left(request, data, task, answer))
        found = [draft for draft in drafts if draft is not None]
        known = await self._gather(event_id for draft in found for event_id in draft.event_ids())
        await self._relate(request, data, found)
        for draft in found:
            self._write(request, draft, known, live_since, counts.get(draft.task.room_id), answer)
        await self._write_outside(request, user, [task for task in tasks if task.is_outside], answer)
        return answer

    async def _ready(
        self, request: SlidingSyncRequest, tasks: Sequence[RoomTask]
    ) -> tuple[Mapping[str, RoomLog], Mapping[str, RoomNow | None]]:
        """Have in memory what the joined rooms are made of: a few statements for all of them together."""
        logs: dict[str, RoomLog] = {}
        if not tasks:
            return logs, {}
        upto = tasks[0].upto
        whole: dict[str, int] = {}
        whole_limit = 0
        parts: dict[int, dict[str, int]] = {}
        limit = 0
        for task in tasks:
            if task.sent is None or task.is_expanded:
                whole[task.room_id] = task.nid
                whole_limit = max(whole_limit, task.config.timeline_limit)
            if task.sent is not None:
                parts.setdefault(task.since, {})[task.room_id] = task.nid
                limit = max(limit, task.config.timeline_limit)
        if whole:
            logs |= await self._logs.prepare(whole, whole_limit, None, upto)
        for since, rooms in parts.items():
            logs |= await self._logs.prepare(rooms, limit, since, upto)
        every = {task.room_id: task.nid for task in tasks}
        lacking = {room_id: nid for room_id, nid in every.items() if self._facts.get(room_id) is None}
        if lacking:
            await self._facts.load(lacking)
        return logs, await self._sync_rooms.rooms_now(every)

    async def _counts(self, request: SlidingSyncRequest, tasks: Sequence[RoomTask]) -> Mapping[str, Counts]:
        if request.is_stable or not tasks:
            return {}
        nids = {task.room_id: task.nid for task in tasks}
        return await self._unread.counts(request.user_id, nids, tasks[0].upto)

    async def _draft_joined(
        self, request: SlidingSyncRequest, data: UserData, task: RoomTask, log: RoomLog, now: RoomNow | None
    ) -> Draft | None:
        if now is None:
            return None
        memberships, hidden = _NO_EVENTS, _NOTHING
        if task.joined_at > _timeline_after(task):
            memberships, hidden = await self._look(request.user_id, log, task, many=bool(data.ignored))
        return self._drafting.draft(request.user_id, task, log, now, memberships, hidden, data.ignored)

    async def _draft_left(
        self, request: SlidingSyncRequest, data: UserData, task: RoomTask, answer: RoomsOfAnswer
    ) -> Draft | None:
        head = await self._heads.get(task.room_id)
        if head is None or not head.state or not task.was_joined:
            await self._write_ended(request, task, answer)
            return None
        since = None if task.sent is None else task.since
        log = await self._logs.up_to(task.room_id, task.nid, task.config.timeline_limit, since, task.upto)
        memberships, hidden = await self._look(request.user_id, log, task, many=True)
        return self._drafting.draft(request.user_id, task, log, head, memberships, hidden, data.ignored)

    async def _look(
        self, user_id: str, log: RoomLog, task: RoomTask, *, many: bool
    ) -> tuple[Mapping[str, str], frozenset[str]]:
        """The user's memberships at the events before `joined_at`, and which of those they may not see."""
        limit = task.config.timeline_limit or 1
        # Where some of them may be left out, older ones take their places. One more says whether it is limited.
        count = (4 * limit if many else limit) + 1
        candidates = log.between(_timeline_after(task), task.upto)[-count:]
        earlier = [stored for stored in candidates if (stored.position or 0) < task.joined_at]
        if not earlier:
            return _NO_EVENTS, _NOTHING
        visible = await self._visibility.memberships_of_visible(user_id, earlier, is_joined=task.was_joined)
        hidden = frozenset(stored.event_id for stored in earlier if stored.event_id not in visible)
        if len(candidates) == count and candidates[0] in earlier:
            older = log.between(0, (candidates[0].position or 0) - 1)
            hidden |= {stored.event_id for stored in older}
        return visible, hidden

    async def _relate(self, request: SlidingSyncRequest, data: UserData, drafts: Sequence[Draft]) -> None:
        """Gather what relates to events of a gap; who has seen a room without one adds it up themselves."""
        for draft in drafts:
            if not draft.timeline.limited and draft.task.sent is not None:
                continue
            parents = [stored for stored in draft.timeline.events if self._aggregations.are_needed(stored)]
            if parents:
                task = draft.task
                reader = Reader(request.user_id, data.ignored, None if task.is_joined else task.upto, task.was_joined)
                draft.relations = await self._aggregations.of(reader, parents)

    async def _gather(self, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
        return await self._events.get_many(set(event_ids))

    def _write(
        self,
        request: SlidingSyncRequest,
        draft: Draft,
        known: Mapping[str, StoredEvent],
        live_since: int,
        counts: Counts | None,
        answer: RoomsOfAnswer,
    ) -> None:
        task = draft.task
        room_id = task.room_id
        total, is_read = None, False
        if counts is not None:
            total = counts.total()
            is_read = self._receipts.changed_own(room_id, request.user_id, task.since, task.upto)
        body = write_room(request, draft, known, live_since, total, is_read)
        answer.sent[room_id] = draft.after
        if body is not None:
            answer.bodies[room_id] = body
            answer.timelines[room_id] = draft.timeline.events

    async def _write_outside(
        self, request: SlidingSyncRequest, user: SyncUser, tasks: Sequence[RoomTask], answer: RoomsOfAnswer
    ) -> None:
        if not tasks:
            return
        async with self._db.read() as tx:
            kept = await timeline.stripped_states(tx, user.user_id)
        for task in tasks:
            stripped = await self._invitations.stripped_state(user.user_id, task.room_id, kept)
            answer.bodies[task.room_id] = write_outside(request, task, stripped)
            answer.sent[task.room_id] = SentRoom(task.membership, 0, _NO_RULES, task.is_dm)

    async def _write_ended(self, request: SlidingSyncRequest, task: RoomTask, answer: RoomsOfAnswer) -> None:
        """Nothing but the end of an invite or a knock, or of a room that this server has nothing of."""
        async with self._db.read() as tx:
            rows = await timeline.member_events_of(tx, request.user_id, [task.nid], task.upto - 1)
        ids = [row.event_id for row in rows if row.position == task.upto and row.event_id is not None]
        head = await self._heads.get(task.room_id)
        if not ids and head is not None and (event_id := head.state.get((MEMBER, request.user_id))) is not None:
            ids = [event_id]
        stored = await self._events.get_many(ids)
        answer.bodies[task.room_id] = write_ended(request, task, stored.get(ids[0]) if ids else None)
        answer.sent[task.room_id] = SentRoom(task.membership, 0, _NO_RULES, task.is_dm)


_NO_RULES: Required = frozenset()


def _timeline_after(task: RoomTask) -> int:
    """After which position the timeline may begin."""
    return 0 if task.sent is None or task.is_expanded else task.since
