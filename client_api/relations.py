"""What relates to an event, threads, and the event of a time.

https://spec.matrix.org/v1.19/client-server-api/#relationships-api, #threading
"""

from typing import Any

from client_api.timeline import token_of
from homeserver.core.tokens import PaginationToken
from homeserver.errors import InvalidParam
from homeserver.services.event_by_time import EventByTime
from homeserver.services.related_events import DEFAULT_LIMIT, RelatedEvents
from homeserver.web.request import Request


class RelationHandlers:
    """Events found by way of others, or of the clock."""

    def __init__(self, related: RelatedEvents, by_time: EventByTime) -> None:
        self._related = related
        self._by_time = by_time

    async def relations(self, request: Request) -> bytes:
        path, query = request.path, request.query
        return await self._related.page(
            request.user.user_id,
            path["roomId"],
            path["eventId"],
            rel_type=path.get("relType"),
            event_type=path.get("eventType"),
            backwards=query.choice("dir", ("b", "f"), "b") == "b",
            start=token_of(query.str_("from"), "from"),
            stop=token_of(query.str_("to"), "to"),
            limit=query.int_("limit", DEFAULT_LIMIT, minimum=1),
            recurse=query.bool_("recurse", None),
            device_id=request.user.device_id,
        )

    async def threads(self, request: Request) -> bytes:
        query = request.query
        start = token_of(query.str_("from"), "from")
        if start is not None and not isinstance(start, PaginationToken):
            raise InvalidParam("from is not a token of this list")
        return await self._related.threads(
            request.user.user_id,
            request.path["roomId"],
            participated=query.choice("include", ("all", "participated"), "all") == "participated",
            start=start,
            limit=query.int_("limit", DEFAULT_LIMIT, minimum=1),
            device_id=request.user.device_id,
        )

    async def timestamp_to_event(self, request: Request) -> dict[str, Any]:
        query = request.query
        query.require("ts")
        backwards = query.require("dir") == "b"
        query.choice("dir", ("b", "f"))
        timestamp = query.int_("ts", 0)
        return await self._by_time.find(request.user.user_id, request.path["roomId"], timestamp, backwards=backwards)
