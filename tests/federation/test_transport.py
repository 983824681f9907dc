"""Real sockets and TLS on this machine: what the transport takes from another server, and what not."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from federation.outbound.failures import FederationError
from federation.outbound.transport import Address, HttpTransport, ssl_context
from federation.outbound.well_known import HttpWellKnownReader
from homeserver.web.tls import server_context
from tests.servers.homeserver import Certificates

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


class Locator:
    """Every server is on a port of this machine."""

    def __init__(
        self, port: int, tls_name: str = "localhost", hosts: tuple[tuple[str, int], ...] | None = None
    ) -> None:
        self.address = Address(hosts or (("127.0.0.1", port),), "other.example", tls_name)
        self.forgotten: list[str] = []

    async def locate(self, server_name: str) -> Address:
        return self.address

    def forget(self, server_name: str) -> None:
        self.forgotten.append(server_name)


@asynccontextmanager
async def listening(certificates: Certificates, handler: Handler) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    tls = server_context(str(certificates.certificate), str(certificates.key))
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def transport(
    certificates: Certificates, locator: Locator, *, private: bool = True, trusted: bool = True
) -> AsyncIterator[HttpTransport]:
    files: tuple[str, ...] = (str(certificates.authority),) if trusted else ()
    made = HttpTransport(
        locator, tls=ssl_context(files, verify=True), allow_private_addresses=private, connect_timeout_s=30
    )
    try:
        yield made
    finally:
        await made.close()
        await asyncio.sleep(0.01)


async def get(made: HttpTransport, *, timeout_s: float = 60, max_bytes: int = 1000) -> bytes:
    answer = await made.send(
        "other.example", "GET", "/a%2Fb?c=%20", headers={}, body=None, timeout_s=timeout_s, max_bytes=max_bytes
    )
    return answer.body


async def test_the_target_goes_out_as_it_was_signed_with_the_right_host(certificates: Certificates) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.headers['Host']} {request.raw_path}")

    async with listening(certificates, handler) as port, transport(certificates, Locator(port)) as made:
        assert await get(made) == b"other.example /a%2Fb?c=%20"


async def fine(request: web.Request) -> web.Response:
    return web.Response(text="fine")


async def test_certificates_of_another_name_are_refused(certificates: Certificates) -> None:
    locator = Locator(0, tls_name="other.example")
    async with listening(certificates, fine) as port:
        locator.address = Address((("127.0.0.1", port),), "other.example", "other.example")
        async with transport(certificates, locator) as made:
            with pytest.raises(FederationError) as refused:
                await get(made)
    assert refused.value.kind == "unreachable"
    assert "CERTIFICATE" in refused.value.message.upper()


async def test_certificates_of_unknown_authorities_are_refused(certificates: Certificates) -> None:
    async with listening(certificates, fine) as port, transport(certificates, Locator(port), trusted=False) as made:
        with pytest.raises(FederationError):
            await get(made)


async def test_private_addresses_are_refused_unless_the_config_allows_them(certificates: Certificates) -> None:
    async with listening(certificates, fine) as port:
        for host in ("127.0.0.1", "localhost"):
            locator = Locator(port, hosts=((host, port),))
            async with transport(certificates, locator, private=False) as made:
                with pytest.raises(FederationError) as refused:
                    await get(made)
            assert refused.value.kind == "unreachable"


async def test_the_next_host_is_tried_where_the_first_does_not_answer(certificates: Certificates) -> None:
    async with listening(certificates, fine) as port:
        locator = Locator(port, hosts=(("127.0.0.1", 1), ("127.0.0.1", port)))
        async with transport(certificates, locator) as made:
            assert await get(made) == b"fine"
        locator = Locator(port, hosts=(("127.0.0.1", 1),))
        async with transport(certificates, locator) as made:
            with pytest.raises(FederationError):
                await get(made)
        assert locator.forgotten == ["other.example"]


async def test_endless_bodies_end_at_the_limit(certificates: Certificates) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 1000)

    async with listening(certificates, endless) as port, transport(certificates, Locator(port)) as made:
        with pytest.raises(FederationError) as refused:
            await get(made, max_bytes=10_000)
    assert refused.value.kind == "malformed"


async def test_small_bodies_that_unpack_into_huge_ones_end_at_the_limit(certificates: Certificates) -> None:
    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"x" * 10_000_000), headers={"Content-Encoding": "gzip"})

    async with listening(certificates, bomb) as port, transport(certificates, Locator(port)) as made:
        with pytest.raises(FederationError) as refused:
            await get(made, max_bytes=100_000)
    assert refused.value.kind == "malformed"


async def test_servers_that_never_answer_are_given_up(certificates: Certificates) -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    async with listening(certificates, never) as port, transport(certificates, Locator(port)) as made:
        with pytest.raises(FederationError) as refused:
            await get(made, timeout_s=0.1)
    assert refused.value.kind == "timeout"


async def test_redirects_are_not_followed_but_by_well_known_and_there_not_for_ever(
    certificates: Certificates,
) -> None:
    asked = 0

    async def redirect(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=302, headers={"Location": f"/.well-known/matrix/server?{asked}"})

    async with listening(certificates, redirect) as port, transport(certificates, Locator(port)) as made:
        answer = await made.send("o", "GET", "/", headers={}, body=None, timeout_s=60, max_bytes=10)
        assert answer.status == 302
        assert await HttpWellKnownReader(made, port).read("localhost") is None
    assert asked < 10


async def test_well_known_is_read_with_its_lifetime(certificates: Certificates, tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/.well-known/matrix/server":
            return web.Response(status=307, headers={"Location": "/moved"})
        return web.Response(text='{"m.server": "there.example:1"}', headers={"Cache-Control": "max-age=1000"})

    async with listening(certificates, handler) as port, transport(certificates, Locator(port)) as made:
        found = await HttpWellKnownReader(made, port).read("localhost")
    assert found is not None
    assert (found.server_name, found.lifetime_s) == ("there.example:1", 1000)
