"""A push gateway on loopback that tests look into."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Gateway:
    """`answers`: statuses to answer with first; afterwards all is well. `rejected`: pushkeys that are none."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    arrived: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)

    async def next(self) -> dict[str, Any]:
        """The next notification, failed attempts included. Who takes over from the dead waits for a lease."""
        return await asyncio.wait_for(self.arrived.get(), 60)

    async def next_event(self) -> dict[str, Any]:
        """The next that is about an event."""
        while "event_id" not in (found := await self.next()):
            pass
        return found

    async def handle(self, request: web.Request) -> web.Response:
        """Take a notification."""
        body = await request.json()
        await self.arrived.put(body["notification"])
        status = self.answers.pop(0) if self.answers else 200
        return web.json_response({"rejected": self.rejected}, status=status)

    def pusher(self, pushkey: str = "key", **changes: Any) -> dict[str, Any]:
        """A body for /pushers/set."""
        return {
            "kind": "http",
            "app_id": "app",
            "pushkey": pushkey,
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": {"url": self.url, "brand": "x"},
            **changes,
        }


@asynccontextmanager
async def push_gateway() -> AsyncIterator[Gateway]:
    """Serve until the end of the block."""
    gateway = Gateway()
    app = web.Application()
    app.router.add_post("/_matrix/push/v1/notify", gateway.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    gateway.url = f"http://127.0.0.1:{port}/_matrix/push/v1/notify"
    try:
        yield gateway
    finally:
        await runner.cleanup()
