"""A whole server in the test's loop, and another one that visits it over a network in memory."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from yarl import URL

from federation.outbound.reachability import Reachability
from federation.outbound.requests import Allowed, SignedRequests
from federation.outbound.transport import Answer
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness
from tests.client_api.whole_site import SERVER_NAME, WholeSite, whole_site
from tests.federation.hearth import Hearth
from tests.federation.network import Network


@dataclass
class Visited:
    """A whole server, and another one that asks it things."""

    site: WholeSite
    guest: Hearth
    requests: SignedRequests

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        """The JSON of the answer to a signed request."""
        target = path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        return await self.requests.json(SERVER_NAME, method, target, body)


@asynccontextmanager
async def visited_site(database_url: str, folder: Path) -> AsyncIterator[Visited]:
    """Both, until the end of the block. The guest's name is guest.test."""
    network, clock = Network(), FrozenClock()
    async with whole_site(database_url, folder, transport=network.transport(SERVER_NAME)) as site:

        async def serve(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
            url = URL(site.url + target, encoded=True)
            async with site.client.request(method, url, headers=dict(headers), data=body) as response:
                return Answer(response.status, dict(response.headers), await response.read())

        network.servers[SERVER_NAME] = serve
        guest = await Hearth.start(network, "guest.test", folder, clock)
        requests = SignedRequests(
            network.transport(guest.name), Reachability(clock, SeededRandomness(1), retry_min_s=1, retry_max_s=1),
            guest.name, guest.base.signing_key, timeout_s=30, is_allowed=Allowed(None, ()),
        )  # fmt: skip
        try:
            yield Visited(site, guest, requests)
        finally:
            await guest.stop()
