"""Simplified sliding sync: waits until there is something to tell, and writes the answer. Proposal 4186.

Which rooms an answer looks at is decided at one moment, as for /sync. What the client then has is committed before the
answer goes out, where its `pos` alone does not say it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

import orjson

from homeserver.core.tokens import SyncToken
from homeserver.errors import UnknownPos
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.account_data import AccountData, UserData
from homeserver.services.events import StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.presence import Presence
from homeserver.services.sliding_sync.connections import Connection, Connections, OtherProcess, Pos, SentRoom
from homeserver.services.sliding_sync.extensions import Extended, ExtensionSections, Progress
from homeserver.services.sliding_sync.request import SlidingSyncRequest
from homeserver.services.sliding_sync.rooms import RoomsOfAnswer, SlidingRooms
from homeserver.services.sliding_sync.selection import Look, Selection
from homeserver.services.sliding_sync.user_lists import ListsOfUsers, UserLists
from homeserver.services.sync.deliveries import Deliveries
from homeserver.services.sync.rooms import Rooms
from homeserver.services.sync.users import SyncUser, SyncUsers
from homeserver.services.typing import Typing

# How long to wait, in tenths of a second, for what another process has told already.
_PATIENCE_TENTHS = 100
_EXPIRY_S = 3_600.0


class _Turns:
    """The requests of one connection in this process: one answer of it is made at a time, and only the newest request
    takes it further. A client that asks again has given up what it asked before. Of several processes, the first that
    takes the connection further has done so for all."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.newest: SlidingSyncRequest | None = None
        self.waiting = 0


@dataclass(slots=True)
class _Answer:
    """What was found; `is_empty` where it is not worth ending a wait."""

    token: SyncToken
    selection: Selection
    rooms: RoomsOfAnswer
    extended: Extended

    @property
    def is_empty(self) -> bool:
        return not self.rooms.bodies and not self.extended.has_news


class SlidingSync:
    """Answers sliding sync requests."""

    def __init__(
        self,
        notifier: Notifier,
        users: SyncUsers,
        account_data: AccountData,
        sync_rooms: Rooms,
        lists: ListsOfUsers,
        connections: Connections,
        rooms: SlidingRooms,
        extensions: ExtensionSections,
        typing: Typing,
        presence: Presence,
        deliveries: Deliveries,
        partial: PartialRooms | None = None,
        *,
        max_wait_s: float = 300.0,
    ) -> None:
        self._notifier = notifier
        self._users = users
        self._account_data = account_data
        self._sync_rooms = sync_rooms
        self._lists = lists
        self._connections = connections
        self._rooms = rooms
        self._extensions = extensions
        self._typing = typing
        self._presence = presence
        self._deliveries = deliveries
        self._partial = partial
        self._max_wait_s = max_wait_s
        self._turns: WeakValueDictionary[tuple[str, str | None, str], _Turns] = WeakValueDictionary()

    def start(self, tasks: Tasks, clock: Clock) -> None:
        """Forget from time to time the connections that nobody uses."""
        tasks.loop("old sliding sync connections", self._connections.expire, every_s=_EXPIRY_S, clock=clock)

    async def sync(self, request: SlidingSyncRequest) -> bytes:
        """The answer as JSON text. Raises UnknownPos where the client has to begin the connection again."""
        with self._presence.syncing(request.user_id, request.device_id or "", request.set_presence):
            turns = self._take_turn(request)
            if not request.pos:
                async with turns.lock:
                    answer = await self._answer(request, None, None)
                    return await self._keep_new(request, answer)
            return await self._go_on(request, turns, await self._caught_up(Pos.parse(request.pos)))

    async def _caught_up(self, pos: Pos) -> Pos:
        """A `pos` that another process gave out may be ahead of this one for a moment: longer where hints were lost."""
        for _ in range(_PATIENCE_TENTHS):
            if pos.token.position <= self._notifier.position:
                return pos
            await asyncio.sleep(0.1)
        raise UnknownPos

    async def _go_on(self, request: SlidingSyncRequest, turns: _Turns, pos: Pos) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(request.timeout_ms / 1000, self._max_wait_s)
        while True:
            async with turns.lock:
                if turns.newest is not request:
                    return _nothing(pos)
                connection = await self._connections.of_pos(request, pos)
                await self._note_arrived(request, connection, pos)
                answer = await self._answer(request, connection, pos)
                token = answer.token
                left = deadline - loop.time()
                if not answer.is_empty or left <= 0 or self._notifier.is_closing:
                    return await self._keep(request, connection, pos, answer)
            is_current = (self._notifier.position, self._notifier.ephemeral) == (token.position, token.ephemeral)
            if is_current and turns.newest is request:
                turns.waiting += 1
                try:
                    await self._notifier.wait(request.user_id, left)
                finally:
                    turns.waiting -= 1

    async def _note_arrived(self, request: SlidingSyncRequest, connection: Connection, pos: Pos) -> None:
        """The client has what it was sent up to there, of the rooms that it was shown then."""
        wanted = request.extensions.receipts
        if wanted is None or not wanted.delivered:
            return
        data = await self._account_data.of_user(request.user_id)

        def was_sent(stored: StoredEvent) -> bool:
            sent = connection.sent(stored.event.room_id, pos.state)
            return sent is not None and sent.membership == "join" and not sent.upto and sent.timeline_limit > 0

        reader = (request.user_id, request.device_id or "", request.conn_id)
        self._deliveries.note(reader, pos.token.position, data.ignored, was_sent)

    def _take_turn(self, request: SlidingSyncRequest) -> _Turns:
        """Be the newest request of the connection; those that wait for an older one are answered with nothing."""
        key = (request.user_id, request.device_id, request.conn_id)
        turns = self._turns.get(key)
        if turns is None:
            turns = self._turns[key] = _Turns()
        turns.newest = request
        if turns.waiting:
            self._notifier.wake_users((request.user_id,))
        return turns

    # --- what there is to tell

    async def _answer(self, request: SlidingSyncRequest, connection: Connection | None, pos: Pos | None) -> _Answer:
        since = None if pos is None else pos.token.position
        user, data, stored_news, lists = await self._remembered(request, since)
        # From here to the selection nothing is awaited.
        look = self._look(request, connection, pos, user, data, lists)
        progress = Progress(since, 0 if pos is None else pos.token.ephemeral, look.upto)
        stamp = self._notifier.ephemeral
        news: list[str] = []
        if since is not None:
            news = stored_news + self._sync_rooms.with_news(user, since)
            news += [row.room_id for row in data.changed(since, look.upto) if row.room_id]
        is_settled = connection is not None and connection.settled.get(request.pos or "") == request.rules
        selection = look.select(news, is_settled)
        typing = {} if since is None else self._places_of_typing(request, look, progress.ephemeral)
        rooms = await self._rooms.write(request, user, data, selection.tasks, since or 0)
        extended = await self._extend(request, user, data, progress, selection, rooms, typing)
        return _Answer(SyncToken(look.upto, stamp), selection, rooms, extended)

    async def _remembered(
        self, request: SlidingSyncRequest, since: int | None
    ) -> tuple[SyncUser, UserData, list[str], UserLists]:
        """The user in memory, the rooms of whose news that does not know, and the lists: current until the next
        await."""
        user_id = request.user_id
        filters = [wanted.filter for wanted in request.lists.values()]
        while True:
            before = self._notifier.position
            data = await self._account_data.of_user(user_id)
            user = await self._users.get(user_id, since)
            news: list[str] = []
            if since is not None and not self._sync_rooms.remembers(since):
                news = await self._sync_rooms.read_news(user, since)
            lists = await self._lists.up_to_date(user, data, filters, request.subscriptions)
            # What memory has dropped meanwhile hears of nothing any more.
            is_kept = self._users.cached(user_id) is user and self._account_data.cached(user_id) is data
            if is_kept or self._notifier.position == before:
                return user, data, news, lists

    def _look(
        self,
        request: SlidingSyncRequest,
        connection: Connection | None,
        pos: Pos | None,
        user: SyncUser,
        data: UserData,
        lists: UserLists,
    ) -> Look:
        state, since = (0, 0) if pos is None else (pos.state, pos.token.position)
        upto = self._notifier.position
        return Look(request, user, data, lists, self._lists, connection, state, since, upto, self._partial)

    def _places_of_typing(
        self, request: SlidingSyncRequest, look: Look, stamp: int
    ) -> Mapping[str, tuple[tuple[str, ...], bool]]:
        """Rooms of the windows where somebody began or stopped typing."""
        if request.extensions.typing is None:
            return {}
        places = {room_id: look.place(room_id) for room_id in self._typing.changed_since(stamp, look.user.joined)}
        return {room_id: (place.lists, place.is_subscribed) for room_id, place in places.items() if place is not None}

    async def _extend(
        self,
        request: SlidingSyncRequest,
        user: SyncUser,
        data: UserData,
        progress: Progress,
        selection: Selection,
        rooms: RoomsOfAnswer,
        typing: Mapping[str, tuple[tuple[str, ...], bool]],
    ) -> Extended:
        wanted, sections, tasks = request.extensions, self._extensions, selection.tasks
        extended = Extended({})
        if wanted.to_device is not None:
            await sections.to_device(request, wanted.to_device, user, progress.upto, extended)
        if wanted.e2ee:
            await sections.e2ee(request, user, progress, extended)
        if wanted.thread_subscriptions is not None:
            await sections.thread_subscriptions(request, wanted.thread_subscriptions, user, progress, extended)
        if wanted.account_data is not None:
            sections.account_data(request, wanted.account_data, data, progress, tasks, extended)
        if wanted.receipts is not None:
            await sections.receipts(request, wanted.receipts, progress.upto, tasks, rooms.timelines, extended)
        if wanted.typing is not None:
            sections.typing(wanted.typing, typing, tasks, extended)
        return extended

    # --- what the client has with the answer

    async def _keep_new(self, request: SlidingSyncRequest, answer: _Answer) -> bytes:
        connection, state = await self._connections.create(request, dict(answer.rooms.sent))
        return self._write(request, connection, state, answer)

    async def _keep(self, request: SlidingSyncRequest, connection: Connection, pos: Pos, answer: _Answer) -> bytes:
        changes: dict[str, SentRoom | None] = {
            room_id: sent for room_id, sent in answer.rooms.sent.items() if connection.sent(room_id, pos.state) != sent
        }
        changes.update(answer.selection.changes)
        state = pos.state
        if changes:
            try:
                state = await self._connections.advance(request, connection, pos.state, changes)
            except OtherProcess:
                # That may have been for a newer request than this one. If not, the client asks again.
                return _nothing(pos)
        return self._write(request, connection, state, answer)

    def _write(self, request: SlidingSyncRequest, connection: Connection, state: int, answer: _Answer) -> bytes:
        pos = Pos(connection.row.connection_nid, state, answer.token)
        connection.settle(pos, request.rules)
        lists = {name: {"count": count} for name, count in answer.selection.counts.items()}
        rooms = b",".join(orjson.dumps(room_id) + b":" + body for room_id, body in answer.rooms.bodies.items())
        extensions = b",".join(b'"%b":%b' % (name.encode(), body) for name, body in answer.extended.body.items())
        echo = b"" if request.txn_id is None else b',"txn_id":' + orjson.dumps(request.txn_id)
        return b'{"pos":"%b"%b,"lists":%b,"rooms":{%b},"extensions":{%b}}' % (
            str(pos).encode(),
            echo,
            orjson.dumps(lists),
            rooms,
            extensions,
        )


def _nothing(pos: Pos) -> bytes:
    """The answer to a request that another one has taken the place of."""
    return b'{"pos":"%b","lists":{},"rooms":{},"extensions":{}}' % str(pos).encode()
