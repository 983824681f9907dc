"""Deprecated ways to read: /events, /initialSync. client-server-api §Room previews, §Syncing"""

import orjson

from client_api.timeline import token_of
from homeserver.core.tokens import SyncToken
from homeserver.errors import GuestAccessForbidden, InvalidParam
from homeserver.services.event_stream import EventStream
from homeserver.services.initial_sync import InitialSync
from homeserver.services.timeline import DEFAULT_LIMIT, Timeline
from homeserver.web.request import Request


class EventStreamHandlers:
    """What came before /sync."""

    def __init__(self, stream: EventStream, initial: InitialSync, timeline: Timeline) -> None:
        self._stream = stream
        self._initial = initial
        self._timeline = timeline

    async def events(self, request: Request) -> bytes:
        query, user = request.query, request.user
        room_id, since = query.str_("room_id"), token_of(query.str_("from"), "from")
        if since is not None and not isinstance(since, SyncToken):
            raise InvalidParam("from is not a token of a stream")
        if user.is_guest and room_id is None:
            raise GuestAccessForbidden("Guests may only watch one room")
        return await self._stream.wait(user.user_id, since, query.int_("timeout", 0), room_id)

    async def event(self, request: Request) -> bytes:
        event_id, user = request.path["eventId"], request.user
        room_id = await self._stream.room_of(event_id)
        return await self._timeline.event(user.user_id, room_id, event_id, user.device_id)

    async def room_initial_sync(self, request: Request) -> bytes:
        limit = request.query.int_("limit", DEFAULT_LIMIT)
        return orjson.dumps(await self._initial.room(request.user, request.path["roomId"], limit))

    async def initial_sync(self, request: Request) -> bytes:
        query = request.query
        limit = query.int_("limit", DEFAULT_LIMIT)
        return orjson.dumps(await self._initial.account(request.user, limit, archived=query.bool_("archived", False)))
