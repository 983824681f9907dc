"""Tells what has arrived: a client that comes back with a token has what came before it.

Only clients that ask for it (`io.hearth.delivered` in their filter) take part, and only in small rooms. What arrived is
found in memory; the receipt is written in the background, so that no request waits for it.
"""

from collections.abc import Sequence

from homeserver.runtime.tasks import Tasks
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import StoredEvent
from homeserver.services.receipts import Receipts
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.room_log import RoomLogs
from homeserver.services.sync.users import SyncUsers

# What a client that was away for long gets at once is not told of room by room: the newest rooms will do.
_ROOMS_AT_ONCE = 50


class Deliveries:
    """How far each user's devices have got, since this process first heard of them."""

    def __init__(
        self,
        users: SyncUsers,
        logs: RoomLogs,
        heads: RoomHeads,
        receipts: Receipts,
        tasks: Tasks,
        *,
        size: int = 20_000,
    ) -> None:
        self._users = users
        self._logs = logs
        self._heads = heads
        self._receipts = receipts
        self._tasks = tasks
        self._reached: BoundedCache[str, int] = BoundedCache(size)

    def note(self, request: SyncRequest) -> None:
        """The client has everything up to the token that it came with."""
        if not self._receipts.delivered_up_to:
            return
        user_id, upto = request.user_id, request.after
        before = self._reached.get(user_id)
        if before is not None and before >= upto:
            return
        self._reached.put(user_id, upto)
        arrived = [] if before is None else self._arrived(request, before, upto)
        if arrived:
            self._tasks.start("receipts of what arrived", self._tell(user_id, arrived))

    def _arrived(self, request: SyncRequest, after: int, upto: int) -> list[StoredEvent]:
        """The newest message of each room that others sent at positions of (after, upto]."""
        user = self._users.cached(request.user_id)
        if user is None or after < self._logs.floor:
            return []
        found: list[StoredEvent] = []
        for room_id in self._logs.changed_since(after, user.joined)[:_ROOMS_AT_ONCE]:
            log = self._logs.get(room_id)
            if log is None or not request.filter.room.allows_room(room_id):
                continue
            events = log.between(max(after, user.joined[room_id]), upto)
            newest = next((stored for stored in reversed(events) if _counts(request, stored)), None)
            if newest is not None:
                found.append(newest)
        return found

    async def _tell(self, user_id: str, arrived: Sequence[StoredEvent]) -> None:
        for stored in arrived:
            head = await self._heads.get(stored.event.room_id)
            if head is not None and user_id in head.joined and head.joined_count <= self._receipts.delivered_up_to:
                await self._receipts.delivered(user_id, stored)


def _counts(request: SyncRequest, stored: StoredEvent) -> bool:
    event = stored.event
    if event.state_key is not None or event.sender == request.user_id:
        return False
    return request.filter.room.timeline.allows_event(event.type, event.sender, stored.shown.content, event.room_id)
