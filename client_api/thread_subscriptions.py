"""Threads that users follow, proposals 4306 and 4308: as their experiments have it."""

from typing import Any

from homeserver.errors import InvalidParam, MissingParam, UnknownPos
from homeserver.services.sliding_sync.connections import Pos
from homeserver.services.thread_subscriptions import ThreadSubscriptions
from homeserver.web.request import Request

_DEFAULT_LIMIT = 100
_MAX_LIMIT = 500


class ThreadSubscriptionHandlers:
    """Follow, leave, look; and what changed while a client was away."""

    def __init__(self, subscriptions: ThreadSubscriptions) -> None:
        self._subscriptions = subscriptions

    async def get(self, request: Request) -> dict[str, Any]:
        path = request.path
        return await self._subscriptions.get(request.user.user_id, path["roomId"], path["eventId"])

    async def subscribe(self, request: Request) -> dict[str, Any]:
        path = request.path
        cause = request.body.get("automatic")
        await self._subscriptions.subscribe(request.user.user_id, path["roomId"], path["eventId"], cause)
        return {}

    async def unsubscribe(self, request: Request) -> dict[str, Any]:
        path = request.path
        await self._subscriptions.unsubscribe(request.user.user_id, path["roomId"], path["eventId"])
        return {}

    async def changes(self, request: Request) -> dict[str, Any]:
        """Backwards from what sliding sync had to leave out."""
        query = request.query
        if query.str_("dir") is None:
            raise MissingParam("The query parameter 'dir' is missing")
        query.choice("dir", ("b",))
        limit = query.int_("limit", _DEFAULT_LIMIT, minimum=1, maximum=_MAX_LIMIT)
        upto, after = _position(query.str_("from")), _position(query.str_("to"))
        found = await self._subscriptions.changes(request.user.user_id, after or 0, upto, limit)
        return found.body if found.before is None else {**found.body, "end": found.before}


def _position(token: str | None) -> int | None:
    """Of a token of this endpoint or a `pos` of sliding sync."""
    if token is None:
        return None
    if token.isascii() and token.isdigit() and len(token) <= 18:
        return int(token)
    try:
        return Pos.parse(token).token.position
    except UnknownPos:
        raise InvalidParam("That is not a token of this server") from None
