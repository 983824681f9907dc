"""The rooms of an answer that the user is in or has left."""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from homeserver.services.account_data import UserData
from homeserver.services.aggregations import Reader
from homeserver.services.events import Events, StoredEvent
from homeserver.services.receipts import Receipts
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sync.answer import Answer
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.room_log import RoomLog, RoomLogs
from homeserver.services.sync.room_sections import RoomDraft, RoomSections
from homeserver.services.sync.room_view import RoomNow, RoomRead, Span
from homeserver.services.sync.selection import JoinedRoom, LeftRoom, Selection
from homeserver.services.sync.summary import summary_of
from homeserver.services.sync.users import SyncUser
from homeserver.services.typing import Typing
from homeserver.services.unread_counts import Counts, UnreadCounts
from homeserver.services.visibility import Visibility
from storage import memberships, timeline
from storage.database import Database
from storage.read_marks import MAIN

_NO_EVENTS: Mapping[str, str] = {}
# More heads than this are not read one by one.
_FEW = 2


class Rooms:
    """Gathers for all rooms at once what memory lacks, then writes each."""

    def __init__(
        self,
        db: Database,
        logs: RoomLogs,
        events: Events,
        heads: RoomHeads,
        sections: RoomSections,
        visibility: Visibility,
        receipts: Receipts,
        unread: UnreadCounts,
        typing: Typing,
    ) -> None:
        self._db = db
        self._logs = logs
        self._events = events
        self._heads = heads
        self._sections = sections
        self._visibility = visibility
        self._receipts = receipts
        self._unread = unread
        self._typing = typing

    # --- which rooms have news

    def remembers(self, since: int) -> bool:
        """Whether memory knows every room with news after the position."""
        return since >= self._logs.floor

    def with_news(self, user: SyncUser, since: int) -> list[str]:
        """Rooms of the user with events or receipts after the position."""
        return self._logs.changed_since(since, user.joined)

    async def read_news(self, user: SyncUser, since: int) -> list[str]:
        """The same, from the database."""
        names = {user.nids[room_id]: room_id for room_id in user.joined}
        async with self._db.read() as tx:
            return [names[nid] for nid in await timeline.rooms_with_news(tx, names, since)]

    def newcomers(self, drafts: Iterable[RoomDraft]) -> set[str]:
        """Who has come to share a room with the reader: everybody in a room that is new, who joined another."""
        found: set[str] = set()
        for draft in drafts:
            if not draft.span.is_new:
                found.update(user_id for user_id in map(_arrival, draft.member_changes()) if user_id is not None)
            elif (head := self._heads.cached(draft.room_id)) is not None:
                found.update(head.joined)
        return found

    # --- their sections

    async def add(
        self, request: SyncRequest, answer: Answer, user: SyncUser, data: UserData, selection: Selection
    ) -> list[RoomDraft]:
        """Add the joined and left rooms of the selection."""
        logs, now = await self._ready(request, selection)
        nids = {room.room_id: room.nid for room in selection.joined}
        counts = await self._unread.counts(request.user_id, nids, selection.upto)
        joined = [
            await self._draft_joined(request, data, room, logs[room.room_id], now[room.room_id])
            for room in selection.joined
        ]
        left = [await self._draft_left(request, data, room) for room in selection.left]
        drafts = [draft for draft in (*joined, *left) if draft is not None]
        known = await self._gather(self._sections.missing(drafts))
        await self._relate(request, data, joined, left)
        for room, draft in zip(selection.joined, joined, strict=True):
            if draft is not None:
                room_id = room.room_id
                self._write_joined(request, answer, data, room, draft, known, now[room_id], counts[room_id])
        for room_left, draft in zip(selection.left, left, strict=True):
            if draft is not None:
                body = self._sections.write(request, draft, known)
                answer.add_room("leave", room_left.room_id, b"{%b}" % body)
        return [draft for draft in joined if draft is not None]

    async def _ready(
        self, request: SyncRequest, selection: Selection
    ) -> tuple[dict[str, RoomLog], dict[str, RoomNow | None]]:
        """Have in memory what the joined rooms are made of: a few statements for all of them together."""
        rooms = selection.joined
        logs: dict[str, RoomLog] = {}
        if not rooms:
            return logs, {}
        limit = request.filter.room.timeline.limit
        limit = 10 if limit is None else limit
        new = {room.room_id: room.nid for room in rooms if room.span.is_new}
        old = {room.room_id: room.nid for room in rooms if not room.span.is_new}
        if new:
            logs |= await self._logs.prepare(new, limit, None, selection.upto)
            await self._receipts.prepare(new, 0)
        if old:
            logs |= await self._logs.prepare(old, limit, request.after, selection.upto)
            await self._receipts.prepare(old, request.after)
        return logs, await self.rooms_now(new | old)

    async def rooms_now(self, rooms: Mapping[str, int]) -> dict[str, RoomNow | None]:
        """The rooms' heads; where many are not in memory, only what is needed here is read, of all of them at once."""
        found: dict[str, RoomNow | None] = {room_id: self._heads.cached(room_id) for room_id in rooms}
        lacking = [room_id for room_id, head in found.items() if head is None]
        if len(lacking) <= _FEW:
            for room_id in lacking:
                found[room_id] = await self._heads.get(room_id)
            return found
        nids = [rooms[room_id] for room_id in lacking]
        async with self._db.read(snapshot=True) as tx:
            states = await timeline.current_states(tx, nids)
            members = await timeline.members_of_rooms(tx, nids)
        for room_id in lacking:
            nid = rooms[room_id]
            found[room_id] = RoomRead(states[nid], *members[nid])
        return found

    async def _gather(self, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
        found: dict[str, StoredEvent] = {}
        lacking: list[str] = []
        for event_id in event_ids:
            stored = self._events.cached(event_id)
            if stored is None:
                lacking.append(event_id)
            else:
                found[event_id] = stored
        if lacking:
            found.update(await self._events.get_many(lacking))
        return found

    async def _relate(
        self,
        request: SyncRequest,
        data: UserData,
        joined: Sequence[RoomDraft | None],
        left: Sequence[RoomDraft | None],
    ) -> None:
        shown = [draft for draft in joined if draft is not None and draft.parents]
        if shown:
            await self._sections.relate(shown, Reader(request.user_id, data.ignored))
        for draft in left:
            if draft is not None and draft.parents:
                await self._sections.relate([draft], Reader(request.user_id, data.ignored, draft.span.upto))

    async def _draft_joined(
        self, request: SyncRequest, data: UserData, room: JoinedRoom, log: RoomLog, head: RoomNow | None
    ) -> RoomDraft | None:
        if head is None:
            return None
        memberships, hidden = _NO_EVENTS, _NOTHING
        if room.joined_at > (0 if room.span.is_new else room.span.since):
            memberships, hidden = await self._look(
                request, log, room.span, room.joined_at, is_joined=True, many=bool(data.ignored)
            )
        return self._sections.draft(request, log, head, room.span, room.joined_at, memberships, hidden, data.ignored)

    async def _draft_left(self, request: SyncRequest, data: UserData, room: LeftRoom) -> RoomDraft | None:
        head = await self._heads.get(room.room_id)
        if head is None:
            return None
        if not room.was_joined:
            return await self._draft_end(request, room, head)
        limit = request.filter.room.timeline.limit
        since = None if room.span.is_new else room.span.since
        log = await self._logs.up_to(room.room_id, room.nid, 10 if limit is None else limit, since, room.span.upto)
        end = room.span.upto + 1
        memberships, hidden = await self._look(request, log, room.span, end, is_joined=True)
        return self._sections.draft(request, log, head, room.span, end, memberships, hidden, data.ignored)

    async def _draft_end(self, request: SyncRequest, room: LeftRoom, head: RoomNow) -> RoomDraft | None:
        """There was only an invite or a knock: the event that ended it is all there is to see. It may be no part of
        the timeline, where this server is not in the room."""
        stored = await self._ending(request.user_id, room)
        if stored is None:
            return None
        upto = room.span.upto
        span = Span(upto - 1, upto, is_full=False, is_new=False)
        log = RoomLog(room.room_id, upto - 1, upto, events=[stored], positions=[upto])
        seen = {stored.event_id: stored.event.membership or "leave"}
        draft = self._sections.draft(request, log, head, span, upto + 1, seen, _NOTHING, _NOTHING)
        draft.state.clear()
        return draft

    async def _ending(self, user_id: str, room: LeftRoom) -> StoredEvent | None:
        if room.event_id is not None:
            return await self._events.get(room.event_id)
        async with self._db.read() as tx:
            member = await memberships.membership_of(tx, room.room_id, user_id)
        if member is None or member.membership not in ("leave", "ban"):
            return None
        return (await self._events.get_many_by_nid((member.event_nid,))).get(member.event_nid)

    async def _look(
        self,
        request: SyncRequest,
        log: RoomLog,
        span: Span,
        joined_at: int,
        *,
        is_joined: bool,
        many: bool = True,
    ) -> tuple[Mapping[str, str], frozenset[str]]:
        """The user's memberships at the events before `joined_at`, and which of those they may not see."""
        limit = request.filter.room.timeline.limit or 10
        # Where some of them may be left out, older ones take their places. One more says whether it is limited.
        count = (4 * limit if many or not request.filter.room.timeline.is_unrestricted else limit) + 1
        candidates = log.between(0 if span.is_new else span.since, span.upto)[-count:]
        earlier = [stored for stored in candidates if (stored.position or 0) < joined_at]
        if not earlier:
            return _NO_EVENTS, _NOTHING
        visible = await self._visibility.memberships_of_visible(request.user_id, earlier, is_joined=is_joined)
        hidden = frozenset(stored.event_id for stored in earlier if stored.event_id not in visible)
        if len(candidates) == count and candidates[0] in earlier:
            older = log.between(0, (candidates[0].position or 0) - 1)
            hidden |= {stored.event_id for stored in older}
        return visible, hidden

    def _write_joined(
        self,
        request: SyncRequest,
        answer: Answer,
        data: UserData,
        room: JoinedRoom,
        draft: RoomDraft,
        known: Mapping[str, StoredEvent],
        now: RoomNow | None,
        counts: Counts,
    ) -> None:
        parts = [self._sections.write(request, draft, known)]
        if now is not None and (draft.span.is_full or room.became_whole or _changes_members(draft)):
            parts.append(b'"summary":' + orjson.dumps(summary_of(now, request.user_id)))
        ephemeral = self._ephemeral(request, room)
        account = self._account_data(request, room, data)
        is_quiet = not (draft.timeline.events or draft.state or draft.timeline.limited or room.became_whole)
        if is_quiet and not ephemeral and not account and not draft.span.is_full and not self._is_read(request, room):
            return
        if ephemeral or draft.span.is_full:
            parts.append(b'"ephemeral":{"events":[%b]}' % b",".join(ephemeral))
        if account or draft.span.is_full:
            parts.append(b'"account_data":{"events":[%b]}' % b",".join(account))
        parts.append(_unread_counts(request, counts))
        answer.add_room("join", room.room_id, b"{%b}" % b",".join(parts))

    def _is_read(self, request: SyncRequest, room: JoinedRoom) -> bool:
        """Whether the user's own receipts changed the counts, though a filter may hide receipts."""
        span, wanted = room.span, request.filter.delivered
        event = self._receipts.event(room.room_id, request.user_id, span.since, span.upto, with_delivered=wanted)
        return event is not None

    def _ephemeral(self, request: SyncRequest, room: JoinedRoom) -> list[bytes]:
        wanted, found = request.filter.room.ephemeral, []
        if wanted.allows("m.receipt") and wanted.allows_room(room.room_id):
            after = 0 if room.span.is_full else room.span.since
            receipts = self._receipts.event(
                room.room_id, request.user_id, after, room.span.upto, with_delivered=request.filter.delivered
            )
            if receipts:
                found.append(receipts)
        if wanted.allows("m.typing") and wanted.allows_room(room.room_id):
            if room.span.is_new or request.since is None:
                is_told = self._typing.is_anybody_typing(room.room_id)
            else:
                is_told = bool(self._typing.changed_since(request.since.ephemeral, {room.room_id: None}))
            if is_told:
                found.append(self._typing.event(room.room_id))
        return found

    def _account_data(self, request: SyncRequest, room: JoinedRoom, data: UserData) -> list[bytes]:
        wanted = request.filter.room.account_data
        after = -1 if room.span.is_full else room.span.since
        rows = data.changed(after, room.span.upto)
        return [
            b'{"type":%b,"content":%b}' % (orjson.dumps(row.type), row.content)
            for row in reversed(rows)
            if row.room_id == room.room_id and wanted.allows(row.type)
        ]


_COUNT = b'{"highlight_count":%d,"notification_count":%d}'
_COUNTS = b'"unread_notifications":' + _COUNT
_NOTHING: frozenset[str] = frozenset()


def _unread_counts(request: SyncRequest, counts: Counts) -> bytes:
    if not request.filter.room.timeline.unread_thread_notifications:
        return _COUNTS % counts.total()[::-1]
    threads = {
        root: orjson.Fragment(_COUNT % counts.of(root)[::-1])
        for root in counts.threads
        if root != MAIN and any(counts.of(root))
    }
    body = _COUNTS % counts.of(MAIN)[::-1]
    return body + b',"unread_thread_notifications":' + orjson.dumps(threads) if threads else body


def _arrival(stored: StoredEvent) -> str | None:
    """Who joined by a member event."""
    is_join = stored.event.membership == "join" and (stored.replaces is None or stored.replaces.membership != "join")
    return stored.event.state_key if is_join else None


def _changes_members(draft: RoomDraft) -> bool:
    return any(True for _ in draft.member_changes()) or any(key[0] == "m.room.member" for key in draft.state)
