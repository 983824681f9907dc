"""History from before this server came into a room: fetched when somebody scrolls back that far."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.events import Event
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.events import Events
from homeserver.services.fetch_missing import FetchMissing
from homeserver.services.outliers import MissingAuthEvents, Outliers
from homeserver.services.persist_event import PersistEvent
from homeserver.services.received_events import parse, verify
from homeserver.services.room_heads import RoomHead, RoomHeads
from storage.database import Database, Write

log = logging.getLogger(__name__)

LIMIT: Final = 100
ASKED_FROM: Final = 5
EXTREMITIES: Final = 20


class Backfill:
    """`Backfiller` over federation."""

    def __init__(
        self,
        database: Database,
        client: FederationClient,
        heads: RoomHeads,
        events: Events,
        persist: PersistEvent,
        signatures: EventSignatures,
        outliers: Outliers,
        fetch: FetchMissing,
        *,
        server_name: str,
    ) -> None:
        self._database = database
        self._client = client
        self._heads = heads
        self._events = events
        self._persist = persist
        self._signatures = signatures
        self._outliers = outliers
        self._fetch = fetch
        self._server_name = server_name

    async def backfill(self, room_id: str, extremities: Mapping[str, int]) -> None:
        """Stores events before these backward extremities (event id → depth), asking servers in the room in turn."""
        head = await self._heads.get(room_id)
        wanted = sorted(extremities, key=lambda event_id: -extremities[event_id])[:EXTREMITIES]
        if head is None or not wanted:
            return
        for server in self.servers(head):
            try:
                pdus = await self._client.backfill(server, room_id, wanted, LIMIT)
                if await self._take_in(server, head, pdus[:LIMIT], wanted):
                    return
            except FederationError as error:
                log.info("no history of %s from %s: %s", room_id, server, error)

    async def take_from(self, server: str, head: RoomHead, event_id: str) -> None:
        """Stores an event and what came before it, as far as this server hands it out."""
        if (stored := await self._events.get(event_id)) is not None and not stored.outlier:
            return
        try:
            pdus = await self._client.backfill(server, head.room_id, [event_id], LIMIT)
            await self._take_in(server, head, pdus[:LIMIT], [event_id])
        except FederationError as error:
            log.info("no history of %s from %s: %s", head.room_id, server, error)

    def servers(self, head: RoomHead) -> list[str]:
        """Whom to ask for the room's history: the servers with most of its members first."""
        return head.hosts_besides(self._server_name)[:ASKED_FROM]

    async def _take_in(self, server: str, head: RoomHead, pdus: Sequence[Any], wanted: Sequence[str]) -> int:
        """Stores those that are new, pass steps 1 to 4, and lie before the wanted events or others that are missed; how
        many that were. The latest come first, so that each is one that is missed when it comes. Raises
        `FederationError` where the server does not answer about what authorises them."""
        received = await verify(parse(pdus, head.room_version, head.room_id), self._signatures, server)
        known = await self._events.get_many([event.event_id for event in received.events])
        new = [e for e in received.events if e.event_id not in known or known[e.event_id].outlier]
        new = _before(new, {*wanted, *head.missing})
        for event in new:
            await self._fetch.auth_events(server, event)
        new.sort(key=lambda event: -event.depth)

        async def write(tx: Write) -> int:
            draft = await self._heads.draft(tx, head.room_id)
            count = 0
            for event in new if draft is not None else ():
                rejected = await self._rejection(event, tx)
                if rejected is None or not rejected.startswith("dropped"):
                    assert draft is not None
                    await self._persist.append(tx, draft, event, backfilled=True, rejected=rejected)
                    count += 1
            return count

        return await self._database.write(write, rooms=(head.room_nid,)) if new else 0

    async def _rejection(self, event: Event, tx: Write) -> str | None:
        try:
            return await self._outliers.rejection(event, tx)
        except MissingAuthEvents as missing:
            return f"dropped: auth events could not be had: {missing}"


def _before(events: Sequence[Event], missed: set[str]) -> list[Event]:
    """Those of the events that are missed, or that others of them cite: what else is handed out as history may be none,
    and past events are not judged by who may speak now."""
    by_id = {event.event_id: event for event in events}
    found: dict[str, Event] = {}
    pending = [event_id for event_id in missed if event_id in by_id]
    while pending:
        event_id = pending.pop()
        if event_id not in found:
            found[event_id] = by_id[event_id]
            pending += [cited for cited in by_id[event_id].prev_events if cited in by_id]
    return [event for event in events if event.event_id in found]
