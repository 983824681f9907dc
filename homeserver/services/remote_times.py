"""`RemoteTimes` over federation, and what other servers are answered when they ask."""

import logging
from typing import Any, Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.identifiers import is_valid_event_id
from homeserver.errors import NotFound
from homeserver.services.backfill import Backfill
from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHead
from homeserver.services.served_events import ServedEvents
from homeserver.services.server_access import ServerAccess
from storage import event_times
from storage.database import Database

log = logging.getLogger(__name__)

_ASKED: Final = 3
_LOOKED_AT: Final = 50


class FederationTimes:
    """Asks servers in the room in turn, and takes in the history before what they name."""

    def __init__(self, client: FederationClient, backfill: Backfill) -> None:
        self._client = client
        self._backfill = backfill

    async def closest(self, head: RoomHead, timestamp: int, *, backwards: bool) -> str | None:
        """The id of the closest event that another server has, stored here when this returns; None where none has."""
        for server in self._backfill.servers(head)[:_ASKED]:
            try:
                answer = await self._client.timestamp_to_event(
                    server, head.room_id, timestamp, "b" if backwards else "f"
                )
            except FederationError as error:
                log.info("no event of %s at that time from %s: %s", head.room_id, server, error)
                continue
            event_id = answer.get("event_id")
            if isinstance(event_id, str) and is_valid_event_id(event_id):
                await self._backfill.take_from(server, head, event_id)
                return event_id
        return None


class ServedTimes:
    """server-server-api §Retrieving events: timestamp_to_event"""

    def __init__(self, database: Database, events: Events, access: ServerAccess, served: ServedEvents) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._served = served

    async def closest(self, origin: str, room_id: str, timestamp: int, *, backwards: bool) -> dict[str, Any]:
        """The closest event that the server may see. Raises NotFound, Forbidden."""
        head = await self._access.shared_head(room_id, origin)
        async with self._database.read() as tx:
            moments = await event_times.closest(tx, head.room_nid, timestamp, backwards=backwards, limit=_LOOKED_AT)
        found = await self._events.get_many([moment.event_id for moment in moments])
        for moment in moments:
            stored = found.get(moment.event_id)
            if stored is not None and await self._served.may_see(origin, stored):
                return {"event_id": moment.event_id, "origin_server_ts": moment.origin_server_ts}
        raise NotFound("There is no such event here")
