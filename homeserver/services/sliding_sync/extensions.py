"""The extensions: what is asked for beside rooms. Proposals 3885 (to-device), 3884 (e2ee), 3959, 3960, 3961."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from homeserver.core.events import MEMBER
from homeserver.services.account_data import PUSH_RULES, UserData
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import StoredEvent
from homeserver.services.receipts import Receipts
from homeserver.services.sliding_sync.request import (
    THREAD_SUBSCRIPTIONS,
    RoomExtension,
    SlidingSyncRequest,
    ToDeviceExtension,
)
from homeserver.services.sliding_sync.room_task import RoomTask
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.room_log import RoomLog, RoomLogs
from homeserver.services.sync.room_sections import RoomDraft
from homeserver.services.sync.room_view import Span
from homeserver.services.sync.sources import KeyCounts, ToDeviceReader
from homeserver.services.sync.users import SyncUser
from homeserver.services.thread_subscriptions import ThreadSubscriptions, changes_json
from homeserver.services.typing import Typing


@dataclass(slots=True)
class Extended:
    """`body`: JSON text of each extension; `has_news`: whether any of them is worth ending a wait."""

    body: dict[str, bytes]
    has_news: bool = False

    def add(self, name: str, value: bytes, is_news: bool) -> None:
        """Add an extension's object."""
        self.body[name] = value
        self.has_news = self.has_news or is_news


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the client is, and where the answer ends. `since` None: it knows nothing yet."""

    since: int | None
    ephemeral: int
    upto: int


@dataclass(slots=True)
class _RoomNews:
    """What `DeviceLists` looks at of a room."""

    room_id: str
    span: Span
    members: Sequence[StoredEvent]

    def member_changes(self) -> Sequence[StoredEvent]:
        return self.members


def _news(room_id: str, log: RoomLog | None, since: int, upto: int) -> _RoomNews:
    """Without a log it is a room that the user has just joined."""
    is_new = log is None
    events = [] if log is None else log.between(since, upto)
    span = Span(since, upto, is_full=is_new, is_new=is_new)
    return _RoomNews(room_id, span, [stored for stored in events if stored.event.type == MEMBER])


class ExtensionSections:
    """Writes the extensions of an answer."""

    def __init__(
        self,
        logs: RoomLogs,
        typing: Typing,
        receipts: Receipts,
        messages: ToDeviceReader,
        device_lists: DeviceLists,
        key_counts: KeyCounts,
        subscriptions: ThreadSubscriptions,
        *,
        size: int = 20_000,
    ) -> None:
        self._logs = logs
        self._typing = typing
        self._receipts = receipts
        self._messages = messages
        self._device_lists = device_lists
        self._key_counts = key_counts
        self._subscriptions = subscriptions
        # The token of the last messages sent to a device, 0 once they are deleted; absent after a restart.
        self._sent: BoundedCache[tuple[str, str], int] = BoundedCache(size)

    # --- messages to the device

    async def to_device(
        self, request: SlidingSyncRequest, wanted: ToDeviceExtension, user: SyncUser, upto: int, answer: Extended
    ) -> None:
        """Messages after the extension's own token, which also says that everything before it has arrived."""
        since = min(wanted.since or 0, upto)
        messages: Sequence[bytes] = ()
        next_batch = max(upto, since)
        if request.device_id is not None:
            key = (request.user_id, request.device_id)
            sent = self._sent.get(key)
            if wanted.since is not None and (sent is None or (sent and since >= sent)):
                await self._messages.delete_up_to(*key, since)
                self._sent.put(key, 0)
            if wanted.since is None or user.to_device_at > since:
                messages, last = await self._messages.pending(*key, since, upto, wanted.limit)
                next_batch = upto if last is None else last
                if messages:
                    self._sent.put(key, next_batch)
        body = b'{"next_batch":"%d","events":[%b]}' % (next_batch, b",".join(messages))
        answer.add("to_device", body, bool(messages))

    # --- end-to-end encryption

    async def e2ee(self, request: SlidingSyncRequest, user: SyncUser, span: Progress, answer: Extended) -> None:
        """Whose devices changed, and which keys the device has left."""
        body: dict[str, Any] = {}
        if span.since is not None:
            lists = await self._lists_changed(user, span.since, span.upto)
            if lists:
                body["device_lists"] = {"changed": lists.get("changed", []), "left": lists.get("left", [])}
        is_news = bool(body)
        if request.device_id is not None:
            key = (request.user_id, request.device_id)
            body["device_one_time_keys_count"] = dict(await self._key_counts.counts(*key))
            body["device_unused_fallback_key_types"] = list(await self._key_counts.unused_fallback(*key))
        answer.add("e2ee", orjson.dumps(body), is_news)

    async def _lists_changed(self, user: SyncUser, since: int, upto: int) -> Mapping[str, Any]:
        changes = user.changes_between(since, upto)
        left = [
            room_id
            for room_id, told in changes.items()
            if told[-1].membership != "join" and any("join" in (one.before, one.membership) for one in told)
        ]
        new = {room_id for room_id, told in changes.items() if any(one.before != "join" for one in told)}
        rooms = {room_id: user.nids[room_id] for room_id in self._logs.changed_since(since, user.joined)}
        rooms |= {room_id: user.nids[room_id] for room_id in new if room_id in user.joined}
        known = {room_id: nid for room_id, nid in rooms.items() if room_id not in new}
        logs = await self._logs.prepare(known, 1, since, upto)
        news = [_news(room_id, logs.get(room_id), since, upto) for room_id in rooms]
        return await self._device_lists.changed(user, since, upto, cast("list[RoomDraft]", news), left)

    # --- threads that the user follows

    async def thread_subscriptions(
        self, request: SlidingSyncRequest, limit: int, user: SyncUser, span: Progress, answer: Extended
    ) -> None:
        """The newest changes, and where the others are. Proposal 4308."""
        since = span.since or 0
        if user.threads_at <= since:
            return
        changes = await self._subscriptions.changes(request.user_id, since, span.upto, limit)
        if changes.body:
            answer.add(THREAD_SUBSCRIPTIONS, changes_json(changes), True)

    # --- account data

    def account_data(
        self,
        request: SlidingSyncRequest,
        wanted: RoomExtension,
        data: UserData,
        span: Progress,
        tasks: Sequence[RoomTask],
        answer: Extended,
    ) -> None:
        """What changed of the user's account data, and of that of the rooms in the answer."""
        rows = data.changed(-1 if span.since is None else span.since, span.upto)
        own = [_data_event(row.type, row.content) for row in reversed(rows) if not row.room_id]
        if span.since is None and ("", PUSH_RULES) not in data.rows:
            own.append(_data_event(PUSH_RULES, data.default_push_rules(request.user_id)))
        after = {task.room_id: task.since if task.sent is not None else -1 for task in _covered(wanted, tasks)}
        oldest = min(after.values(), default=span.upto)
        rooms: dict[str, list[bytes]] = {}
        for row in reversed(data.changed(oldest, span.upto)):
            if row.room_id in after and row.position > after[row.room_id]:
                rooms.setdefault(row.room_id, []).append(_data_event(row.type, row.content))
        written = b",".join(orjson.dumps(room_id) + b":[%b]" % b",".join(events) for room_id, events in rooms.items())
        body = b'{"global":[%b],"rooms":{%b}}' % (b",".join(own), written)
        answer.add("account_data", body, bool(own or rooms))

    # --- receipts and typing

    async def receipts(
        self,
        request: SlidingSyncRequest,
        wanted: RoomExtension,
        upto: int,
        tasks: Sequence[RoomTask],
        timelines: Mapping[str, Sequence[StoredEvent]],
        answer: Extended,
    ) -> None:
        """New receipts; of a room that is new to the client those for the events that it gets, and the user's own."""
        rooms: dict[str, bytes] = {}
        covered = [task for task in _covered(wanted, tasks) if task.is_joined]
        new = {task.room_id: task.nid for task in covered if task.sent is None}
        if new:
            await self._receipts.prepare(new, 0)
        for task in covered:
            if task.sent is None:
                ids = {stored.event_id for stored in timelines.get(task.room_id, ())}
                event = self._receipts.event_about(
                    task.room_id, request.user_id, upto, ids, with_delivered=wanted.delivered
                )
            else:
                await self._receipts.prepare({task.room_id: task.nid}, task.since)
                event = self._receipts.event(
                    task.room_id, request.user_id, task.since, upto, with_delivered=wanted.delivered
                )
            if event:
                rooms[task.room_id] = event
        answer.add("receipts", _of_rooms(rooms), bool(rooms))

    def typing(
        self,
        wanted: RoomExtension,
        places: Mapping[str, tuple[tuple[str, ...], bool]],
        tasks: Sequence[RoomTask],
        answer: Extended,
    ) -> None:
        """Who types now: in rooms where that changed (`places`: room id → its lists, whether subscribed) and, where
        anybody does, in those that are new to the client."""
        rooms = {
            room_id: self._typing.event(room_id)
            for room_id, (lists, is_subscribed) in places.items()
            if wanted.covers(lists, room_id, is_subscribed)
        }
        for task in _covered(wanted, tasks):
            is_back = task.sent is None or task.sent.upto
            if is_back and task.is_joined and self._typing.is_anybody_typing(task.room_id):
                rooms[task.room_id] = self._typing.event(task.room_id)
        answer.add("typing", _of_rooms(rooms), bool(rooms))


def _covered(wanted: RoomExtension, tasks: Sequence[RoomTask]) -> Sequence[RoomTask]:
    return [task for task in tasks if wanted.covers(task.lists, task.room_id, task.is_subscribed)]


def _data_event(kind: str, content: bytes) -> bytes:
    return b'{"type":%b,"content":%b}' % (orjson.dumps(kind), content)


def _of_rooms(rooms: Mapping[str, bytes]) -> bytes:
    return b'{"rooms":{%b}}' % b",".join(orjson.dumps(room_id) + b":" + event for room_id, event in rooms.items())
