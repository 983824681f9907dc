"""The whole server in the test's own loop, over real HTTP: for endpoints that reach across its parts."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from federation.outbound.transport import Transport
from homeserver.app.foundation import Foundation
from homeserver.app.server import Server
from homeserver.config import Config
from homeserver.config.account_sections import Passwords, RateLimits, Registration, Users
from homeserver.config.outside_sections import Federation, Media, Push
from homeserver.config.server_sections import Database as DatabaseConfig
from homeserver.config.server_sections import Limits, Listener
from homeserver.config.server_sections import Server as ServerConfig
from homeserver.core.signatures import generate_signing_key
from homeserver.runtime.bus import Bus
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.runtime.telemetry import Telemetry
from storage.database import Database

SERVER_NAME = "hearth.test"
PASSWORD = "correct horse"


@dataclass
class WholeSite:
    """A running server and people who are logged in: a person's token is known by their name."""

    server: Server
    client: aiohttp.ClientSession
    clock: FrozenClock
    url: str
    tokens: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: Any = None, *, by: str | None = "alice") -> tuple[int, Any]:
        """Status and JSON body; `path` is encoded, and below /_matrix/client/v3 unless that or .well-known is in it."""
        if by is not None and by not in self.tokens:
            await self.register(by)
        headers = {} if by is None else {"Authorization": f"Bearer {self.tokens[by]}"}
        prefix = "" if path.startswith(("/_matrix", "/.w")) else "/_matrix/client/v3"
        url = URL(self.url + prefix + path, encoded=True)
        async with self.client.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def ok(self, method: str, path: str, body: Any = None, *, by: str | None = "alice") -> Any:
        """The body of an answer that must be 200."""
        status, answer = await self.ask(method, path, body, by=by)
        assert status == 200, (path, answer)
        return answer

    async def error(self, method: str, path: str, body: Any = None, *, by: str | None = "alice") -> tuple[int, str]:
        """Status and errcode."""
        status, answer = await self.ask(method, path, body, by=by)
        assert status >= 400, answer
        return status, answer["errcode"]

    async def register(self, name: str) -> str:
        """A new person, logged in; returns the user id."""
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        answer = await self.ok("POST", "/register", body, by=None)
        self.tokens[name] = answer["access_token"]
        return str(answer["user_id"])

    async def login(self, name: str, as_name: str) -> None:
        """Another device of a person, known by `as_name` from now on."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": name},
            "password": PASSWORD,
        }
        self.tokens[as_name] = (await self.ok("POST", "/login", body, by=None))["access_token"]

    async def room(self, *joined: str, by: str = "alice", **body: Any) -> str:
        """A room, public unless the body says otherwise, with these people in it."""
        room_id = (await self.ok("POST", "/createRoom", {"preset": "public_chat", **body}, by=by))["room_id"]
        for name in joined:
            await self.ok("POST", f"/join/{quote(room_id)}", {}, by=name)
        return str(room_id)

    async def send(
        self, room_id: str, body: str | dict[str, Any], *, by: str = "alice", kind: str = "m.room.message"
    ) -> str:
        """A message (or any event); returns its id."""
        content = {"msgtype": "m.text", "body": body} if isinstance(body, str) else body
        transaction = self.server.base.randomness.token(8)
        path = f"/rooms/{quote(room_id)}/send/{kind}/{transaction}"
        return str((await self.ok("PUT", path, content, by=by))["event_id"])


def user(name: str) -> str:
    """A person's user id."""
    return f"@{name}:{SERVER_NAME}"


@asynccontextmanager
async def whole_site(
    database_url: str, folder: Path, *, search_all: bool = False, transport: Transport | None = None, **sections: Any
) -> AsyncIterator[WholeSite]:
    """Serve until the end of the block. `sections` take the place of the config's; `transport` that of HTTPS."""
    config = Config(
        server=ServerConfig(name=SERVER_NAME, public_base_url="http://hearth.test/", data_dir=str(folder)),
        listeners=(Listener(port=0),),
        database=DatabaseConfig(url=database_url),
        registration=Registration(enabled=True, requires_token=False),
        passwords=Passwords(memory_kib=8, iterations=1),
        rate_limits=RateLimits(enabled=False),
        federation=Federation(),
        media=Media(path=str(folder / "media")),
        push=Push(allow_private_addresses=True),
        users=Users(search_all=search_all),
        limits=Limits(stop_grace=0.2),
    )
    config = replace(config, **sections)
    clock, bus = FrozenClock(), Bus()
    base = Foundation(
        config=config,
        clock=clock,
        randomness=SeededRandomness(1),
        tasks=Tasks(),
        telemetry=Telemetry(clock),
        bus=bus,
        database=await Database.open(database_url, readers=2, bus=bus),
        signing_key=generate_signing_key("1", bytes(32)),
        process_name="0-test",
        threads=ThreadPoolExecutor(1),
    )
    server = Server(base, transport=transport)
    await server.start()
    client = aiohttp.ClientSession()
    try:
        yield WholeSite(server, client, clock, server.http.addresses[0])
    finally:
        await client.close()
        await server.stop()
