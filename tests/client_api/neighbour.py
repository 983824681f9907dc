"""A web server of the test's own: bridges and web pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Neighbour:
    """Answers what the test puts here; 404 to everything else. Path with query → (content type, body)."""

    url: str = ""
    answers: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        found = self.answers.get(request.path_qs)
        if found is None:
            return web.Response(status=404, text="{}")
        return web.Response(body=found[1], content_type=found[0])


@asynccontextmanager
async def neighbour_site() -> AsyncIterator[Neighbour]:
    """Serve until the end of the block."""
    found = Neighbour()
    runner = web.ServerRunner(web.Server(found.handle))
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()
