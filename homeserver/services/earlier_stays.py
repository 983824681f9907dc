"""Events that this server knows of an earlier stay in a room, and that are told again.

A join takes over what the room is from one resident server. If that had not heard of a ban, say, then the ban counts
for nothing here from then on, known as it may be: until somebody tells of it again.
"""

from typing import Final

from homeserver.core.auth_rules import auth_events_of
from homeserver.services.events import Events, StoredEvent
from homeserver.services.room_heads import RoomHead, RoomHeads
from storage import rooms as storage_rooms
from storage.database import Database

LOOKED_AT: Final = 500
"""Events among which it is looked for whether the room builds on the one that is told."""


class EarlierStays:
    """Says which events have no part in what the room is here."""

    def __init__(self, database: Database, heads: RoomHeads, events: Events) -> None:
        self._database = database
        self._heads = heads
        self._events = events

    async def has(self, stored: StoredEvent) -> bool:
        """Whether it is state of an earlier stay, and nothing shows that the room builds on it."""
        if not stored.event.is_state or stored.outlier or stored.rejected is not None or stored.position is None:
            return False
        head = await self._heads.get(stored.event.room_id)
        if head is None or head.state.get(stored.event.key) == stored.event_id:
            return False
        async with self._database.read() as tx:
            taken_over_at = await storage_rooms.taken_over_at(tx, stored.room_nid)
        if taken_over_at is None or stored.position > taken_over_at:
            return False
        return not await self._is_built_on(head, stored)

    async def _is_built_on(self, head: RoomHead, stored: StoredEvent) -> bool:
        ring = {*head.extremities, *filter(None, (head.state.get(stored.event.key),))}
        seen = set(ring)
        while ring and len(seen) < LOOKED_AT:
            if stored.event_id in seen:
                return True
            found = (await self._events.get_many(ring)).values()
            younger = [one.event for one in found if one.event.depth > stored.event.depth]
            ring = {i for event in younger for i in (*event.prev_events, *auth_events_of(event))} - seen
            seen |= ring
        return stored.event_id in seen
