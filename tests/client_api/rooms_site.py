"""The room endpoints over real HTTP, without the rest of the server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from client_api.directory import DirectoryHandlers
from client_api.endpoints import ROOMS
from client_api.membership import MembershipHandlers
from client_api.messages import MessageHandlers
from client_api.rooms import RoomHandlers
from homeserver.config.account_sections import RateLimits
from homeserver.config.server_sections import Limits, Listener
from homeserver.errors import UnknownToken
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.telemetry import Telemetry
from homeserver.services.room_reading import RoomReading
from homeserver.services.sessions import Requester
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.server import HttpServer
from storage.database import Database
from tests.services.spine import SERVER, Spine

V3 = "/_matrix/client/v3"


class Sessions:
    """Whoever has a name has a token of that name."""

    def cached(self, token: str) -> Requester | None:
        if not token.isalpha():
            return None
        return Requester(f"@{token}:{SERVER}", token.upper(), is_guest=token == "guest")

    async def requester_for(self, *_: Any) -> Requester:
        raise UnknownToken


async def no_federation(*_: Any) -> str:
    raise AssertionError


class RoomsSite:
    """A running server with the services behind it."""

    def __init__(self, spine: Spine, client: aiohttp.ClientSession, url: str) -> None:
        self.spine = spine
        self._client = client
        self._url = url

    async def ask(
        self, method: str, path: str, body: Any = None, *, by: str | None = "alice", raw: bytes | None = None
    ) -> tuple[int, Any]:
        """Status and JSON body. `path` is below /_matrix/client/v3, unless it begins with /_matrix, and encoded
        already."""
        headers = {} if by is None else {"Authorization": f"Bearer {by}"}
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        url = self._url + (path if path.startswith("/_matrix") else V3 + path)
        async with self._client.request(method, URL(url, encoded=True), data=data, headers=headers) as response:
            return response.status, await response.json()

    async def ok(self, method: str, path: str, body: Any = None, *, by: str | None = "alice") -> Any:
        """The body of an answer that must be 200."""
        status, answer = await self.ask(method, path, body, by=by)
        assert status == 200, answer
        return answer

    async def error(self, method: str, path: str, body: Any = None, *, by: str | None = "alice") -> tuple[int, str]:
        """Status and errcode."""
        status, answer = await self.ask(method, path, body, by=by)
        return status, answer.get("errcode", "none")

    async def room(self, *joined: str, **body: Any) -> str:
        """A public room of alice's."""
        room_id = (await self.ok("POST", "/createRoom", {"preset": "public_chat", **body}))["room_id"]
        for name in joined:
            await self.ok("POST", f"/rooms/{room_id}/join", {}, by=name)
        return str(room_id)


@asynccontextmanager
async def rooms_site(database_url: str) -> AsyncIterator[RoomsSite]:
    """Serve the room endpoints over an empty database."""
    database = await Database.open(database_url, readers=2)
    spine = Spine(database)
    reading = RoomReading(database, spine.events, spine.heads, spine.state)
    instances = [
        RoomHandlers(spine.create_room, spine.membership, reading),
        MembershipHandlers(spine.membership, spine.directory),
        MessageHandlers(spine.send, spine.membership, spine.directory),
        DirectoryHandlers(spine.directory, spine.public_rooms),
    ]
    telemetry, limits = Telemetry(FrozenClock()), Limits(stop_grace=0.2)
    limiter = RateLimiter(RateLimits(enabled=False), telemetry.clock)
    dispatcher = Dispatcher(ROOMS, instances, Sessions(), no_federation, limiter, telemetry, limits=limits)
    server = HttpServer(dispatcher, [Listener(port=0)], telemetry, limits=limits)
    await server.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield RoomsSite(spine, client, server.addresses[0])
    finally:
        await server.stop()
        await database.close()
