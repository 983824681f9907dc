"""Events, state and history of rooms that the asking server is in."""

from typing import Any

from homeserver.services.served_events import ServedEvents
from homeserver.web.request import Request


class EventHandlers:
    """server-server-api §Retrieving events, §Backfilling and retrieving missing events, §Retrieving event authorisation
    information"""

    def __init__(self, served: ServedEvents) -> None:
        self._served = served

    async def get_event(self, request: Request) -> bytes:
        return await self._served.event(request.signed_by, request.path["eventId"])

    async def get_state(self, request: Request) -> bytes:
        event_id = request.query.require("event_id")
        return await self._served.state(request.signed_by, request.path["roomId"], event_id)

    async def get_state_ids(self, request: Request) -> dict[str, Any]:
        event_id = request.query.require("event_id")
        return await self._served.state_ids(request.signed_by, request.path["roomId"], event_id)

    async def get_event_auth(self, request: Request) -> bytes:
        return await self._served.auth_chain(request.signed_by, request.path["roomId"], request.path["eventId"])

    async def backfill(self, request: Request) -> bytes:
        event_ids = request.query.all("v")[:20]
        limit = request.query.int_("limit", 10, minimum=1)
        return await self._served.backfill(request.signed_by, request.path["roomId"], event_ids, limit)

    async def get_missing_events(self, request: Request) -> bytes:
        body = request.body
        return await self._served.missing_events(
            request.signed_by,
            request.path["roomId"],
            earliest=body["earliest_events"],
            latest=body["latest_events"][:20],
            limit=request.given("limit", 10),
            min_depth=request.given("min_depth", 0),
        )
