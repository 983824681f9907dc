"""Which servers may take part in a room: those that its server ACL allows, and those that are in it."""

from homeserver.core.server_acl import ServerAcl
from homeserver.errors import Forbidden, NotFound
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHead, RoomHeads

_ACL_KEY = ("m.room.server_acl", "")


class ServerAccess:
    """Answers for the current state of rooms (server-server-api §Server Access Control Lists)."""

    def __init__(self, heads: RoomHeads, events: Events, *, server_name: str) -> None:
        self._heads = heads
        self._events = events
        self.server_name = server_name
        # By the event, and whether it is redacted.
        self._acls: BoundedCache[tuple[str, bool], ServerAcl] = BoundedCache(1_000)

    async def is_allowed(self, head: RoomHead, server_name: str) -> bool:
        """Whether the room's ACL lets the server take part."""
        event_id = head.state.get(_ACL_KEY)
        if event_id is None:
            return True
        stored = await self._events.get(event_id)
        key = (event_id, stored is not None and stored.redacted_because is not None)
        acl = self._acls.get(key)
        if acl is None:
            acl = ServerAcl.of(None if stored is None else stored.shown.content)
            self._acls.put(key, acl)
        return acl.allows(server_name)

    def is_resident(self, head: RoomHead) -> bool:
        """Whether a user of this server is joined to the room."""
        return self.server_name in head.hosts

    async def head_with_history(self, room_id: str, origin: str) -> RoomHead:
        """As `resident_head`, also of a room that this server was in."""
        head = await self._heads.get(room_id)
        if head is None or not head.extremities:
            raise NotFound("This server knows nothing of the room")
        if not await self.is_allowed(head, origin):
            raise Forbidden("The room's server ACL shuts your server out")
        return head

    async def resident_head(self, room_id: str, origin: str) -> RoomHead:
        """The head of a room that this server is in and `origin` may take part in. Raises NotFound and Forbidden."""
        head = await self._heads.get(room_id)
        if head is None or not self.is_resident(head):
            raise NotFound("This server is not in the room")
        if not await self.is_allowed(head, origin):
            raise Forbidden("The room's server ACL shuts your server out")
        return head

    async def shared_head(self, room_id: str, origin: str) -> RoomHead:
        """As `resident_head`, where `origin` must be in the room too."""
        head = await self.resident_head(room_id, origin)
        if origin not in head.hosts:
            raise Forbidden("Your server is not in the room")
        return head
