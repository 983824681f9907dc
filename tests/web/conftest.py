"""A server over real HTTP on a free port, with handlers that a test gives it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from homeserver.config.account_sections import RateLimits
from homeserver.config.server_sections import Limits, Listener
from homeserver.errors import Unauthorized, UnknownToken
from homeserver.runtime.clock import Clock, FrozenClock
from homeserver.runtime.telemetry import Telemetry
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.endpoint import Endpoint
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.server import HttpServer


@dataclass
class FakeRequester:
    user_id: str
    is_guest: bool = False
    is_admin: bool = False
    is_locked: bool = False
    appservice: Any = None
    rate_limited: bool = True


class FakeSessions:
    """Knows the tokens alice, guest and bridge; of these, alice's is cached after the first time."""

    def __init__(self) -> None:
        self.seen: dict[str, FakeRequester] = {}
        self.lookups: list[tuple[str, str | None, str | None]] = []

    def cached(self, token: str) -> FakeRequester | None:
        return self.seen.get(token)

    async def requester_for(
        self, token: str, user: str | None, device: str | None, ip: str, user_agent: str
    ) -> FakeRequester:
        self.lookups.append((token, user, device))
        if token == "bridge":
            return FakeRequester(user or "@bridge:test", appservice="bridge", rate_limited=False)
        if token not in ("alice", "guest", "admin"):
            raise UnknownToken
        self.seen[token] = FakeRequester(f"@{token}:test", is_guest=token == "guest", is_admin=token == "admin")
        return self.seen[token]


async def fake_federation_auth(method: str, uri: str, headers: Any, body: Any) -> str:
    if headers.get("Authorization") != "X-Matrix good":
        raise Unauthorized
    return f"signed.test/{method}{uri}/{body is not None}"


@dataclass
class Site:
    """A running server, and a client of it."""

    server: HttpServer
    telemetry: Telemetry
    sessions: FakeSessions
    client: aiohttp.ClientSession
    url: str
    dispatcher: Dispatcher
    lines: list[str] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, *, token: str | None = None, **more: Any
    ) -> tuple[int, Any, "aiohttp.typedefs.LooseHeaders"]:
        """Status, JSON body (bytes where it is something else) and headers."""
        headers = {**more.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        from yarl import URL

        url = URL(self.url + path, encoded=True)
        async with self.client.request(method, url, headers=headers, **more) as response:
            if response.content_type == "application/json" and method != "HEAD" and await response.read():
                return response.status, await response.json(), response.headers
            return response.status, await response.read(), response.headers


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def make_site() -> AsyncIterator[MakeSite]:
    """`await make_site([Endpoint(…)], [Handlers()])`: serve these rows until the test ends."""
    sites: list[Site] = []

    async def make(
        endpoints: list[Endpoint],
        instances: list[object] | None = None,
        *,
        rate_limits: RateLimits | None = None,
        limits: Limits | None = None,
        listeners: list[Listener] | None = None,
        clock: Clock | None = None,
        metrics: Any = None,
    ) -> Site:
        telemetry = Telemetry(clock or FrozenClock())
        lines: list[str] = []

        class Sink:
            def add(self, line: str) -> None:
                lines.append(line)

        telemetry.log_requests_to(Sink())  # type: ignore[arg-type]
        sessions = FakeSessions()
        limits = limits or Limits(stop_grace=0.2)
        limiter = RateLimiter(rate_limits or RateLimits(enabled=False), telemetry.clock)
        dispatcher = Dispatcher(
            endpoints, instances or [], sessions, fake_federation_auth, limiter, telemetry, limits=limits
        )
        listeners = listeners or [Listener(port=0, kinds=("client", "federation", "metrics"))]
        server = HttpServer(dispatcher, listeners, telemetry, limits=limits, metrics=metrics)
        await server.start()
        client = aiohttp.ClientSession(auto_decompress=True)
        site = Site(server, telemetry, sessions, client, server.addresses[0], dispatcher, lines)
        sites.append(site)
        return site

    yield make
    for site in sites:
        await site.client.close()
        await site.server.stop()
