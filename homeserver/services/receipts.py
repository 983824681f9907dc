"""Read receipts: of local users by request, of others by EDU; kept in memory by room for /sync.

https://spec.matrix.org/v1.19/client-server-api/#receipts
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from homeserver.errors import InvalidParam, NotFound
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.services.event_rows import relation_of
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import RoomHeads
from homeserver.services.unread_counts import UnreadCounts
from storage import receipts as storage
from storage.database import Database, Write
from storage.read_marks import MAIN
from storage.receipts import UNTHREADED, Receipt
from storage.streams import Stream

READ = "m.read"
READ_PRIVATE = "m.read.private"
TYPES = frozenset({READ, READ_PRIVATE})
DELIVERED = "io.hearth.delivered"
"""That an event has arrived at a device of the user. Told to clients that ask for it, and to the room's servers."""
_TOLD_TO_SERVERS = (READ, DELIVERED)
# How far relations are followed to the root of a thread.
_MAX_HOPS = 3
_Key = tuple[str, str, str]


@dataclass(slots=True)
class _RoomReceipts:
    """Receipts of a room, the newest change last; all that changed after `floor` are there. Where something changed
    that is not known, the floor rises: answers under way still find what is from before."""

    floor: int
    receipts: OrderedDict[_Key, Receipt] = field(default_factory=OrderedDict)
    rendered: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def set(self, receipt: Receipt) -> None:
        key = (receipt.user_id, receipt.receipt_type, receipt.thread_id)
        self.receipts[key] = receipt
        self.receipts.move_to_end(key)
        self.rendered.clear()

    def add(self, read: Iterable[Receipt]) -> None:
        """The room's receipts as of a moment ago."""
        known = list(self.receipts.values())
        self.receipts.clear()
        for receipt in sorted((*read, *known), key=lambda receipt: receipt.position):
            self.set(receipt)

    def changed(self, after: int, upto: int) -> list[Receipt]:
        found: list[Receipt] = []
        for receipt in reversed(self.receipts.values()):
            if receipt.position <= after:
                break
            if receipt.position <= upto:
                found.append(receipt)
        return found


class Receipts:
    """Sends, receives and shows receipts."""

    def __init__(
        self,
        db: Database,
        notifier: Notifier,
        events: Events,
        heads: RoomHeads,
        unread: UnreadCounts,
        clock: Clock,
        *,
        delivered_up_to: int = 0,
        size: int = 2_000,
    ) -> None:
        self._db = db
        self._events = events
        self._heads = heads
        self._unread = unread
        self._clock = clock
        self.delivered_up_to = delivered_up_to  # members of the largest room where it is told what arrived
        self._size = size
        self._notifier = notifier
        self._rooms: OrderedDict[str, _RoomReceipts] = OrderedDict()
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._on_reset)

    # --- writing

    async def send(
        self, user_id: str, room_id: str, receipt_type: str, event_id: str, thread_id: object = None
    ) -> None:
        """A local user, who is in the room, has read up to the event. Raises InvalidParam and NotFound.

        A receipt never goes back: one for an earlier event than before is taken and changes nothing.
        """
        if receipt_type not in TYPES:
            raise InvalidParam(f"Receipts of type {receipt_type} are not known")
        if thread_id is not None and (not isinstance(thread_id, str) or not thread_id):
            raise InvalidParam("thread_id must be a non-empty string")
        stored = await self._events.get(event_id)
        if stored is None or stored.event.room_id != room_id:
            raise NotFound("There is no such event in this room")
        if isinstance(thread_id, str) and not await self._belongs_to(stored, thread_id):
            raise InvalidParam("The event is not in that thread")
        data: dict[str, Any] = {"ts": self._clock.now_ms()}
        if isinstance(thread_id, str):
            data["thread_id"] = thread_id
        receipt = Receipt(
            user_id,
            receipt_type,
            thread_id if isinstance(thread_id, str) else UNTHREADED,
            event_id,
            stored.position,
            orjson.dumps(data),
            0,
        )
        old = await self._receipt_of(room_id, stored.room_nid, receipt)
        if old is not None and _is_ahead(old, stored):
            return
        await self._write(room_id, stored.room_nid, [receipt], {receipt.event_id: stored})

    async def delivered(self, user_id: str, stored: StoredEvent) -> None:
        """An event has arrived at a device of a local user, who is in the room. Nothing is read by that."""
        room_id = stored.event.room_id
        data = orjson.dumps({"ts": self._clock.now_ms()})
        receipt = Receipt(user_id, DELIVERED, UNTHREADED, stored.event_id, stored.position, data, 0)
        old = await self._receipt_of(room_id, stored.room_nid, receipt)
        if old is None or not _is_ahead(old, stored):
            await self._write(room_id, stored.room_nid, [receipt], {})

    async def receive(self, room_id: str, content: Mapping[str, Any]) -> None:
        """Another server says what its users have read: receipt type → user id → {event_ids, data}.

        The caller has checked that the users are that server's and in the room; what is malformed is left out.
        """
        head = await self._heads.get(room_id)
        if head is None:
            return
        found: list[Receipt] = []
        types = _TOLD_TO_SERVERS if head.joined_count <= self.delivered_up_to else (READ,)
        for kind, user_id, value in _of_types(content, types):
            event_ids, data = value.get("event_ids"), value.get("data")
            data = data if isinstance(data, Mapping) else {}
            thread_id = data.get("thread_id", UNTHREADED)
            if not isinstance(event_ids, list) or not event_ids or not isinstance(event_ids[-1], str):
                continue
            if (user_id in head.joined or head.is_partial) and isinstance(thread_id, str):
                found.append(Receipt(user_id, kind, thread_id, event_ids[-1], None, orjson.dumps(dict(data)), 0))
        if found:
            stored = await self._events.get_many([receipt.event_id for receipt in found])
            await self._write(room_id, head.room_nid, found, stored)

    async def _write(
        self, room_id: str, room_nid: int, receipts: Sequence[Receipt], events: Mapping[str, StoredEvent]
    ) -> None:
        async def operation(tx: Write) -> None:
            for receipt in receipts:
                # What arrived is no news of the user's own: no counts and no badges follow from it.
                keys = (room_id,) if receipt.receipt_type == DELIVERED else (room_id, receipt.user_id)
                position = tx.position(Stream.RECEIPTS, *keys, payload=receipt)
                storage.put(tx, room_nid, receipt, position)
                if receipt.receipt_type == DELIVERED:
                    continue
                stored = events.get(receipt.event_id)
                if stored is not None and stored.position is not None:
                    await self._unread.mark(tx, receipt.user_id, room_id, stored, receipt.thread_id)

        await self._db.write(operation)

    async def _receipt_of(self, room_id: str, room_nid: int, receipt: Receipt) -> Receipt | None:
        room = self._rooms.get(room_id)
        if room is not None:
            found = room.receipts.get((receipt.user_id, receipt.receipt_type, receipt.thread_id))
            if room.floor == 0 or (found is not None and found.position > room.floor):
                return found
        async with self._db.read() as tx:
            return await storage.receipt_of(tx, room_nid, receipt.user_id, receipt.receipt_type, receipt.thread_id)

    # --- reading

    async def prepare(self, rooms: Mapping[str, int], since: int) -> None:
        """Have in memory what changed in these rooms (room id → nid) since a position; 0 for all there is."""
        lacking = self._lacking(rooms, since)
        if lacking:
            floors = {room_id: room.floor for room_id, room in lacking.items()}
            async with self._db.read() as tx:
                found = await storage.of_rooms(tx, [rooms[room_id] for room_id in lacking])
            for room_id, before in lacking.items():
                room = self._rooms.setdefault(room_id, _RoomReceipts(self._notifier.position))
                room.add(found[rooms[room_id]])
                if room is before and room.floor == floors[room_id]:
                    room.floor = 0  # else something came meanwhile that what was read may not show
        for room_id in rooms:
            if room_id in self._rooms:
                self._rooms.move_to_end(room_id)
        while len(self._rooms) > max(self._size, len(rooms)):
            self._rooms.popitem(last=False)

    def _lacking(self, rooms: Iterable[str], since: int) -> dict[str, _RoomReceipts]:
        """Those of the rooms that are not known since the position."""
        lacking: dict[str, _RoomReceipts] = {}
        for room_id in rooms:
            room = self._rooms.get(room_id)
            if room is None:
                if since >= self._notifier.position:
                    continue
                room = self._rooms[room_id] = _RoomReceipts(self._notifier.position)
            if room.floor > since:
                lacking[room_id] = room
        return lacking

    def event(
        self, room_id: str, user_id: str, after: int, upto: int, *, with_delivered: bool = False
    ) -> bytes | None:
        """The m.receipt event with what changed at positions of (after, upto], as the user may see it; None for
        nothing.

        What all users see is made once. `with_delivered`: for a client that asks for what arrived, too.
        """
        room = self._rooms.get(room_id)
        if room is None:
            return None
        changed = room.changed(after, upto)
        if not changed:
            return None
        if any(receipt.receipt_type != READ for receipt in changed):
            return render([r for r in changed if _is_for(r, user_id, with_delivered)])
        key = (changed[-1].position, changed[0].position)
        body = room.rendered.get(key)
        if body is None:
            body = room.rendered[key] = render(changed) or b""
        return body

    def changed_own(self, room_id: str, user_id: str, after: int, upto: int) -> bool:
        """Whether the user's own receipts changed at positions of (after, upto]."""
        room = self._rooms.get(room_id)
        return room is not None and any(
            receipt.user_id == user_id and receipt.receipt_type != DELIVERED for receipt in room.changed(after, upto)
        )

    def event_about(
        self, room_id: str, user_id: str, upto: int, event_ids: Set[str], *, with_delivered: bool = False
    ) -> bytes | None:
        """The m.receipt event with the user's own receipts and with everybody's for these events; None for nothing."""
        room = self._rooms.get(room_id)
        if room is None:
            return None
        return render(
            [
                receipt
                for receipt in room.changed(0, upto)
                if _is_for(receipt, user_id, with_delivered)
                and (receipt.user_id == user_id or receipt.event_id in event_ids)
            ]
        )

    async def _belongs_to(self, stored: StoredEvent, thread_id: str) -> bool:
        """Whether a receipt for the thread may name the event: one of the thread, its root, or what relates to that
        in another way, be it indirectly."""
        if thread_id == MAIN:
            return stored.thread_root is None
        event: StoredEvent | None = stored
        for _ in range(_MAX_HOPS + 1):
            if event is None or event.event.room_id != stored.event.room_id:
                return False
            if thread_id in (event.thread_root, event.event_id):
                return True
            target, _kind = relation_of(event.event)
            event = None if target is None else await self._events.get(target)
        return False

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream != Stream.RECEIPTS or not hint.keys:
                continue
            room_id = hint.keys[0]
            room = self._rooms.get(room_id)
            if not isinstance(hint.payload, Receipt):
                if room is not None:
                    room.floor = hint.position
                continue
            if room is None:
                room = self._rooms[room_id] = _RoomReceipts(hint.position - 1)
                if len(self._rooms) > self._size:
                    self._rooms.popitem(last=False)
            room.set(replace(hint.payload, position=hint.position))

    def _on_reset(self) -> None:
        for room in self._rooms.values():
            room.floor = self._notifier.position


def _is_ahead(old: Receipt, stored: StoredEvent) -> bool:
    """Whether the receipt that is there is at the event or further on."""
    if old.event_id == stored.event_id:
        return True
    return old.event_position is not None and stored.position is not None and old.event_position > stored.position


def _is_for(receipt: Receipt, user_id: str, with_delivered: bool) -> bool:
    """Whether the user may see the receipt, and wants to."""
    if receipt.receipt_type == READ_PRIVATE:
        return receipt.user_id == user_id
    return with_delivered or receipt.receipt_type != DELIVERED


def _of_types(content: Mapping[str, Any], types: Sequence[str]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    for kind in types:
        for user_id, value in _of_users(content.get(kind)):
            yield kind, user_id, value


def _of_users(value: object) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        for user_id, entry in value.items():
            if isinstance(user_id, str) and isinstance(entry, Mapping):
                yield user_id, entry


def render(receipts: Sequence[Receipt]) -> bytes | None:
    """The m.receipt event as JSON text, None for none. An event that a user read both in a thread and without one is
    shown with the unthreaded receipt, as the format has room for one."""
    content: dict[str, dict[str, dict[str, orjson.Fragment]]] = {}
    for receipt in sorted(receipts, key=lambda receipt: (receipt.thread_id == UNTHREADED, receipt.position)):
        users = content.setdefault(receipt.event_id, {}).setdefault(receipt.receipt_type, {})
        users[receipt.user_id] = orjson.Fragment(receipt.data)
    return orjson.dumps({"type": "m.receipt", "content": content}) if content else None
