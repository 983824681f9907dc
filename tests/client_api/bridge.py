"""An application service of the tests: it listens on loopback and remembers what it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from homeserver.config.outside_sections import Appservices
from tests.client_api.whole_site import SERVER_NAME, WholeSite, whole_site

REGISTRATION = """
id: irc
url: {url}
as_token: as-token
hs_token: hs-token
sender_localpart: ircbot
rate_limited: false
protocols: [irc]
namespaces:
  users: [{{exclusive: true, regex: "@irc_.*"}}]
  aliases: [{{exclusive: true, regex: "#irc_.*"}}]
  rooms: []
"""
BOT = "@ircbot:" + SERVER_NAME


@dataclass
class Bridge:
    """`transactions` are those that arrived, in order, each once; `asked` the paths of queries."""

    transactions: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    on_query: Callable[[str], Any] | None = None
    faults: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer hs-token":
            return web.json_response({"errcode": "M_FORBIDDEN"}, status=403)
        path = request.path.removeprefix("/_matrix/app/v1/")
        if path.startswith("transactions/"):
            if self.faults:
                self.faults -= 1
                return web.json_response({}, status=500)
            self.transactions.setdefault(path.removeprefix("transactions/"), await request.json())
            self.news.set()
            return web.json_response({})
        if path == "ping":
            return web.json_response({})
        self.asked.append(path)
        found = None if self.on_query is None else await self.on_query(path)
        return web.json_response(found or {}, status=404 if found is None else 200)

    def told(self, part: str) -> list[Any]:
        """What arrived in one part of the transactions, in order."""
        return [entry for body in self.transactions.values() for entry in body.get(part, ())]

    async def wait_for(self, is_there: Callable[[], object]) -> None:
        """Until it is true after a transaction."""
        async with asyncio.timeout(30):
            while not is_there():
                self.news.clear()
                await self.news.wait()

    async def wait_for_entry(self, part: str, is_meant: Callable[[Any], bool]) -> Any:
        """The first entry of a part that is meant."""
        await self.wait_for(lambda: any(is_meant(entry) for entry in self.told(part)))
        return next(entry for entry in self.told(part) if is_meant(entry))


@dataclass
class BridgedSite:
    """A server with an application service."""

    site: WholeSite
    bridge: Bridge

    async def ghost(self, name: str) -> str:
        """Register a ghost; requests `by` its name are made with the token of the application service."""
        body = {"type": "m.login.application_service", "username": f"irc_{name}", "inhibit_login": True}
        return str((await self.site.ok("POST", "/register", body, by="bot"))["user_id"])

    async def as_ghost(self, user_id: str, method: str, path: str, body: Any = None) -> Any:
        """A request in the name of one of its users."""
        return await self.site.ok(method, f"{path}{'&' if '?' in path else '?'}user_id={user_id}", body, by="bot")


@asynccontextmanager
async def bridged_site(
    database_url: str, folder: Path, *, more: str = "", url: str | None = None
) -> AsyncIterator[BridgedSite]:
    """Serve both until the end of the block. `more` are further lines of the registration."""
    bridge = Bridge()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", bridge.answer)
    listening = TestServer(app)
    await listening.start_server()
    registration = folder / "irc.yaml"
    address = str(listening.make_url("")).rstrip("/") if url is None else url
    registration.write_text(REGISTRATION.format(url=address) + more)
    appservices = Appservices(registrations=(str(registration),))
    try:
        async with whole_site(database_url, folder, appservices=appservices) as site:
            site.tokens["bot"] = "as-token"
            yield BridgedSite(site, bridge)
    finally:
        await listening.close()


