"""How a request gets to another server: over HTTPS, or in tests through memory."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs
from yarl import URL

from federation.outbound.addresses import socket_factory
from federation.outbound.failures import FederationError

MAX_FAILURE_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What another server answered. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: connect to one of `hosts` at their ports, in order, expecting a certificate for `tls_name`."""

    hosts: tuple[tuple[str, int], ...]
    host_header: str
    tls_name: str


class Locator(Protocol):
    """Finds servers: `discovery.Discovery`."""

    async def locate(self, server_name: str) -> Address:
        """Where the server is. Raises `FederationError`."""
        ...

    def forget(self, server_name: str) -> None:
        """The address did not work: look again next time."""
        ...


class Transport(Protocol):
    """Sends one request to a server named by its Matrix name."""

    async def send(
        self,
        destination: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
        max_bytes: int,
        into: BinaryIO | None = None,
    ) -> Answer:
        """Raises `FederationError` (unreachable, timeout, malformed). `target` is path and query, encoded.

        `into`: where the body goes as it comes, if it is not that of an error; the answer's own body is empty then.
        """
        ...

    async def fetch(
        self, url: str, *, timeout_s: float, max_bytes: int, into: BinaryIO | None = None
    ) -> Answer:
        """GET of a URL, following no redirects. Raises `FederationError`."""
        ...

    async def close(self) -> None:
        """Ends the connections that are kept open."""
        ...


@cache
def ssl_context(ca_files: tuple[str, ...], verify: bool) -> ssl.SSLContext:
    """The system's authorities and those of `ca_files` (PEM). Reading them takes a while: all clients share one."""
    context = ssl.create_default_context()
    for path in ca_files:
        context.load_verify_locations(cafile=path)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class HttpTransport:
    """Requests over HTTPS with pools of connections, to wherever `locator` says that a server is."""

    def __init__(
        self,
        locator: Locator,
        *,
        tls: ssl.SSLContext,
        allow_private_addresses: bool,
        connect_timeout_s: float,
        user_agent: str = "Hearth",
    ) -> None:
        self._locator = locator
        self._tls = tls
        self._allow_private = allow_private_addresses
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The pool, made when first used: it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls,
                limit=0,
                limit_per_host=24,
                keepalive_timeout=60,
                ttl_dns_cache=60,
                socket_factory=socket_factory(self._allow_private),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={hdrs.USER_AGENT: self._user_agent},
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        destination: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
        max_bytes: int,
        into: BinaryIO | None = None,
    ) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                address = await self._locator.locate(destination)
                return await self._try_hosts(destination, address, method, target, headers, body, max_bytes, into)
        except TimeoutError as error:
            raise FederationError("timeout", destination, f"no answer within {timeout_s:g} s") from error

    async def fetch(
        self, url: str, *, timeout_s: float, max_bytes: int, into: BinaryIO | None = None
    ) -> Answer:
        if not url.startswith("https://"):
            raise FederationError("not_allowed", url, "only https is fetched")
        try:
            async with asyncio.timeout(timeout_s), self.session().get(url, allow_redirects=False) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, headers, await read_bounded(response, max_bytes, url, into))
        except TimeoutError as error:
            raise FederationError("timeout", url, f"no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FederationError("unreachable", url, _named(error)) from error

    async def _try_hosts(
        self,
        destination: str,
        address: Address,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        max_bytes: int,
        into: BinaryIO | None,
    ) -> Answer:
        failure: Exception | None = None
        for host, port in address.hosts:
            url = URL(f"https://{_in_url(host)}:{port}{target}", encoded=True)
            try:
                async with self.session().request(
                    method,
                    url,
                    data=None if body is None else aiohttp.BytesPayload(body),
                    headers={**headers, hdrs.HOST: address.host_header},
                    allow_redirects=False,
                    server_hostname=address.tls_name,
                    timeout=self._timeout,
                ) as response:
                    return Answer(
                        response.status,
                        {name.lower(): value for name, value in response.headers.items()},
                        await read_bounded(response, max_bytes, destination, into),
                    )
            except aiohttp.ClientConnectorError as error:
                failure = error  # nothing was sent: the next host may do
            except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
                raise FederationError("unreachable", destination, _named(error)) from error
        self._locator.forget(destination)
        raise FederationError("unreachable", destination, _named(failure)) from failure


async def read_bounded(
    response: aiohttp.ClientResponse, max_bytes: int, server: str, into: BinaryIO | None = None
) -> bytes:
    """The body, unpacked; raises `FederationError` (malformed) as soon as it is over `max_bytes`.

    `into`: as for `Transport.send`.
    """
    if into is not None and not response.ok:
        into, max_bytes = None, MAX_FAILURE_BODY
    pieces: list[bytes] = []
    size = 0
    try:
        while not response.content.at_eof():
            piece = await response.content.readany()
            size += len(piece)
            if size > max_bytes:
                response.close()
                raise FederationError("malformed", server, f"the answer is larger than {max_bytes} bytes")
            if into is None:
                pieces.append(piece)
            else:
                await asyncio.to_thread(into.write, piece)
    except aiohttp.ClientPayloadError as error:
        raise FederationError("unreachable", server, _named(error)) from error
    return b"".join(pieces)


def split_host_port(name: str) -> tuple[str, int | None]:
    """Host (IPv6 without brackets) and port of a valid server name."""
    parts = urlsplit("//" + name)
    return parts.hostname or "", parts.port


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _named(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}"
