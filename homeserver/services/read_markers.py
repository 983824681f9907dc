"""How far a user has read, for the user's own clients: m.fully_read. https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers"""

import orjson

from homeserver.errors import Forbidden, NotFound
from homeserver.services.account_data import FULLY_READ, AccountData
from homeserver.services.events import Events, StoredEvent
from homeserver.services.receipts import READ, READ_PRIVATE, Receipts
from homeserver.services.room_heads import RoomHeads


class ReadMarkers:
    """Sets the marker, and the receipts that come with it."""

    def __init__(self, account_data: AccountData, receipts: Receipts, events: Events, heads: RoomHeads) -> None:
        self._account_data = account_data
        self._receipts = receipts
        self._events = events
        self._heads = heads

    async def require_joined(self, user_id: str, room_id: str) -> None:
        """Raises Forbidden unless the user is in the room."""
        head = await self._heads.get(room_id)
        if head is None or user_id not in head.joined:
            raise Forbidden("You are not in this room")

    async def send_receipt(
        self, user_id: str, room_id: str, receipt_type: str, event_id: str, thread_id: object = None
    ) -> None:
        """A receipt of any type that the endpoint takes. Raises Forbidden, NotFound, InvalidParam."""
        await self.require_joined(user_id, room_id)
        if receipt_type == FULLY_READ and thread_id is None:
            await self._set_fully_read(user_id, room_id, event_id)
        else:
            await self._receipts.send(user_id, room_id, receipt_type, event_id, thread_id)

    async def set(
        self, user_id: str, room_id: str, *, fully_read: str | None, read: str | None, read_private: str | None
    ) -> None:
        """The marker and receipts of a /read_markers request, each an event id or None."""
        await self.require_joined(user_id, room_id)
        if fully_read is not None:
            await self._set_fully_read(user_id, room_id, fully_read)
        if read is not None:
            await self._receipts.send(user_id, room_id, READ, read)
        if read_private is not None:
            await self._receipts.send(user_id, room_id, READ_PRIVATE, read_private)

    async def _set_fully_read(self, user_id: str, room_id: str, event_id: str) -> None:
        """The marker only moves forward: devices that lag behind do not pull it back."""
        stored = await self._events.get(event_id)
        if stored is None or stored.event.room_id != room_id:
            raise NotFound("There is no such event in this room")
        async with self._account_data.lock(user_id):
            row = (await self._account_data.of_user(user_id)).rows.get((room_id, FULLY_READ))
            if row is not None:
                known = orjson.loads(row.content).get("event_id")
                before = await self._events.get(known) if isinstance(known, str) else None
                if before is not None and _place(before) >= _place(stored):
                    return
            content = orjson.dumps({"event_id": event_id})
            await self._account_data.write(user_id, room_id, FULLY_READ, content)


def _place(stored: StoredEvent) -> tuple[int, int]:
    return stored.event.depth, stored.position or 0
