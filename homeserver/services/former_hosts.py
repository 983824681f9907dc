"""Servers that were in a room: until when, and so what of it they may still ask for."""

from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHead
from storage import room_state
from storage.database import Database


class FormerHosts:
    """A server that is told of an event which ends its time in a room can only believe it with what came before it."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    async def left_at(self, head: RoomHead, server_name: str) -> int | None:
        """The place in the log at which the last user of the server was no longer joined; None where nobody of it ever
        was in the room."""
        async with self._database.read() as tx:
            changes = await room_state.changes_of_members(tx, head.room_nid, server_name)
            before = await self._events.get_many_by_nid({nid for _, nid in changes}, tx)
        left = [
            position for position, nid in changes if nid in before and before[nid].event.membership == "join"
        ]
        return max(left, default=None)
