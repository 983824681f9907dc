"""Reading back: pages of a room's events, an event with its context. client-server-api §Getting events for a room"""

import orjson

from homeserver.core.filters import EventFilter, InvalidFilter
from homeserver.core.tokens import InvalidToken, parse_token
from homeserver.errors import BadJson, InvalidParam
from homeserver.services.history_access import Token
from homeserver.services.timeline import DEFAULT_LIMIT, Timeline
from homeserver.web.request import Request


class TimelineHandlers:
    """The history of rooms."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    async def messages(self, request: Request) -> bytes:
        """A page of the room's events in either direction."""
        query = request.query
        if query.str_("dir") is None:
            # Who may not read the room is told that, whatever is wrong with the request.
            await self._timeline.require_readable(request.user.user_id, request.path["roomId"])
        direction = query.require("dir")
        if direction not in ("b", "f"):
            raise InvalidParam("dir must be b or f")
        return await self._timeline.messages(
            request.user.user_id,
            request.path["roomId"],
            backwards=direction == "b",
            start=token_of(query.str_("from"), "from"),
            stop=token_of(query.str_("to"), "to"),
            limit=query.int_("limit", DEFAULT_LIMIT),
            wanted=_filter(query.str_("filter")),
            device_id=request.user.device_id,
        )

    async def context(self, request: Request) -> bytes:
        """An event and what is around it."""
        return await self._timeline.context(
            request.user.user_id,
            request.path["roomId"],
            request.path["eventId"],
            limit=request.query.int_("limit", DEFAULT_LIMIT),
            wanted=_filter(request.query.str_("filter")),
            device_id=request.user.device_id,
        )

    async def event(self, request: Request) -> bytes:
        """One event."""
        return await self._timeline.event(
            request.user.user_id, request.path["roomId"], request.path["eventId"], request.user.device_id
        )


def token_of(text: str | None, name: str) -> Token | None:
    """A token that a client sent back, None where it sent none. Raises InvalidParam."""
    if not text:
        return None
    try:
        return parse_token(text)
    except InvalidToken:
        raise InvalidParam(f"{name} is not a token of this server") from None


def _filter(text: str | None) -> EventFilter | None:
    if not text:
        return None
    try:
        return EventFilter.parse(orjson.loads(text))
    except orjson.JSONDecodeError:
        raise BadJson("The filter is not JSON") from None
    except InvalidFilter as error:
        raise BadJson(f"Not a filter: {error}") from None
