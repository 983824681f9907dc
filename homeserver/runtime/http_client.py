"""HTTP to what is no Matrix server: application services, push gateways. One pool of connections for all of them."""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import hdrs

from homeserver.runtime.client_tls import system_tls


class HttpFailure(Exception):
    """There was no answer. `is_timeout` tells one that was too slow from a connection that failed."""

    def __init__(self, message: str, *, is_timeout: bool = False) -> None:
        super().__init__(message)
        self.is_timeout = is_timeout


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back; `body` is cut off where it was longer than wanted."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the other side took it."""
        return 200 <= self.status < 300


class HttpClient:
    """Made once; connects when first used. Follows no redirects.

    `socket_factory` makes the socket for an address that is about to be connected to, or raises OSError to refuse it.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "Hearth",
        socket_factory: Callable[[Any], socket.socket] | None = None,
    ) -> None:
        self._tls = tls
        self._socket_factory = socket_factory
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        body: bytes,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        max_bytes: int = 65_536,
    ) -> HttpAnswer:
        """Send JSON, with `token` as bearer token. Raises HttpFailure."""
        sent = {hdrs.CONTENT_TYPE: "application/json", **(headers or {})}
        if token is not None:
            sent[hdrs.AUTHORIZATION] = f"Bearer {token}"
        try:
            async with self._pool().request(
                method,
                url,
                data=body,
                headers=sent,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                return HttpAnswer(response.status, await _at_most(response.content, max_bytes))
        except TimeoutError as error:
            raise HttpFailure(f"no answer within {timeout_s} s", is_timeout=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HttpFailure(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls or system_tls(), limit=100, socket_factory=self._socket_factory
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={hdrs.USER_AGENT: self._user_agent},
            )
        return self._session


async def _at_most(content: aiohttp.StreamReader, count: int) -> bytes:
    """The beginning of a body: a single read gives only what has arrived."""
    found = bytearray()
    while len(found) < count and (piece := await content.read(count - len(found))):
        found += piece
    return bytes(found)
