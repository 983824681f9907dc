"""Which events concern an application service (application-service-api §Registration, the namespaces)."""

from homeserver.core.events import MEMBER
from homeserver.services.appservices import Appservice
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import StoredEvent
from homeserver.services.room_heads import RoomHeads
from storage import room_aliases
from storage.database import Database


class Interest:
    """To be asked of every event in the order of the log: who of its users is in which room is kept up that way."""

    def __init__(self, appservice: Appservice, database: Database, heads: RoomHeads, *, rooms: int = 10_000) -> None:
        self._appservice = appservice
        self._database = database
        self._heads = heads
        self._members: BoundedCache[str, set[str]] = BoundedCache(rooms)

    async def covers(self, stored: StoredEvent) -> bool:
        """Whether the application service is to be told of the event."""
        event, appservice = stored.event, self._appservice
        members = await self._members_of(event.room_id)
        was_in = bool(members)
        concerns = appservice.may_act_as(event.sender)
        if event.type == MEMBER and event.state_key is not None and appservice.may_act_as(event.state_key):
            concerns = True
            if event.membership == "join":
                members.add(event.state_key)
            else:
                members.discard(event.state_key)
        return (
            concerns
            or was_in
            or appservice.covers("rooms", event.room_id)
            or (bool(appservice.namespaces["aliases"]) and await self._covers_alias(event.room_id))
        )

    async def _members_of(self, room_id: str) -> set[str]:
        """Those of its users who are joined. Not the shared memory of the head: this follows the events one by one."""
        members = self._members.get(room_id)
        if members is None:
            head = await self._heads.get(room_id)
            joined = () if head is None else head.joined
            members = {user_id for user_id in joined if self._appservice.may_act_as(user_id)}
            self._members.put(room_id, members)
        return members

    async def _covers_alias(self, room_id: str) -> bool:
        async with self._database.read() as tx:
            aliases = await room_aliases.of_room(tx, room_id)
        return any(self._appservice.covers("aliases", alias) for alias in aliases)
