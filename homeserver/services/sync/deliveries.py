"""Tells what has arrived: a client that comes back with a token has what came before it.

Only clients that ask for it (`io.hearth.delivered` in the filter of /sync, or in the receipts extension of sliding
sync) take part, and only in small rooms. What arrived is found in memory; the receipt is written in the background, so
that no request waits for it.
"""

from collections.abc import Callable, Set

from homeserver.runtime.tasks import Tasks
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import StoredEvent
from homeserver.services.receipts import Receipts
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sync.room_log import RoomLogs
from homeserver.services.sync.users import SyncUsers

# What a client that was away for long gets at once is not told of room by room: the newest rooms will do.
_ROOMS_AT_ONCE = 50


class Deliveries:
    """How far each reader has got, since this process first heard of them."""

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
        self._reached: BoundedCache[tuple[str, ...], int] = BoundedCache(size)

    def note(
        self, reader: tuple[str, ...], upto: int, ignored: Set[str], was_sent: Callable[[StoredEvent], bool]
    ) -> None:
        """The client came back with the token of that position: it has what `was_sent` to it up to there.

        `reader`: the user's id, and what tells readers of theirs apart that are not sent the same.
        """
        if not self._receipts.delivered_up_to:
            return
        before = self._reached.get(reader)
        if before is not None and before >= upto:
            return
        self._reached.put(reader, upto)
        if before is None:
            return
        user_id = reader[0]

        def counts(stored: StoredEvent) -> bool:
            event = stored.event
            return event.state_key is None and event.sender not in {user_id, *ignored} and was_sent(stored)

        arrived = self._arrived(user_id, before, upto, counts)
        if arrived:
            self._tasks.start("receipts of what arrived", self._tell(user_id, arrived))

    def _arrived(
        self, user_id: str, after: int, upto: int, counts: Callable[[StoredEvent], bool]
    ) -> list[StoredEvent]:
        """The newest event of each room that counts, of those at positions of (after, upto]."""
        user = self._users.cached(user_id)
        if user is None or after < self._logs.floor:
            return []
        found: list[StoredEvent] = []
        for room_id in self._logs.changed_since(after, user.joined)[:_ROOMS_AT_ONCE]:
            log = self._logs.get(room_id)
            events = [] if log is None else log.between(max(after, user.joined[room_id]), upto)
            newest = next(filter(counts, reversed(events)), None)
            if newest is not None:
                found.append(newest)
        return found

    async def _tell(self, user_id: str, arrived: list[StoredEvent]) -> None:
        for stored in arrived:
            head = await self._heads.get(stored.event.room_id)
            if head is not None and user_id in head.joined and head.joined_count <= self._receipts.delivered_up_to:
                await self._receipts.delivered(user_id, stored)
