"""Fetches what people link to: bounded in time, size and redirects, and only from addresses that are allowed."""

import asyncio
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final

import aiohttp
from aiohttp import hdrs
from yarl import URL

from homeserver.runtime.client_tls import system_tls

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_PIECE: Final = 65_536


class PageFailure(Exception):
    """Nothing was fetched. The message says why, and holds nothing that came from there."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a URL gave. `url` is where the redirects led; `is_whole` is False where `body` was cut off."""

    url: str
    content_type: str
    charset: str | None
    file_name: str | None
    body: bytes
    is_whole: bool


class PageFetcher:
    """Made once; connects when first used, keeps no cookies and no connections.

    `socket_factory` makes the socket for an address that is about to be connected to, or raises OSError to refuse it:
    after all look-ups, so that a name whose address changes between two of them gains nothing.
    """

    def __init__(
        self, *, user_agent: str, socket_factory: Callable[[Any], socket.socket], timeout_s: float
    ) -> None:
        self._user_agent = user_agent
        self._socket_factory = socket_factory
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str, *, accept: str, language: str | None = None, max_bytes: int) -> Page:
        """GET a URL, at most `max_bytes` of it, within the timeout for all redirects together. Raises PageFailure."""
        headers = {"Accept": accept} | ({"Accept-Language": language} if language else {})
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, headers, max_bytes)
        except TimeoutError as error:
            raise PageFailure("it took too long") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PageFailure(f"the connection failed ({type(error).__name__})") from error

    async def close(self) -> None:
        """End what is under way."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, address: str, headers: dict[str, str], max_bytes: int) -> Page:
        url = URL(address)
        for _ in range(_MAX_REDIRECTS + 1):
            if not is_fetchable(url):
                raise PageFailure("it is no http or https URL")
            async with self._pool().get(url, headers=headers, allow_redirects=False) as response:
                target = response.headers.get(hdrs.LOCATION)
                if response.status in _REDIRECTS and target is not None:
                    url = url.join(URL(target))
                    continue
                if not 200 <= response.status < 300:
                    raise PageFailure(f"the status is {response.status}")
                return await _page(response, str(url), max_bytes)
        raise PageFailure("it redirects too often")

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=system_tls(), limit=50, force_close=True, socket_factory=self._socket_factory
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={hdrs.USER_AGENT: self._user_agent},
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


def is_fetchable(url: URL) -> bool:
    """Whether it is an http(s) URL with a host, and without a user name or a password."""
    return url.scheme in ("http", "https") and bool(url.host) and url.user is None and url.password is None


async def _page(response: aiohttp.ClientResponse, url: str, max_bytes: int) -> Page:
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > max_bytes:
            break
    message = Message()
    message[hdrs.CONTENT_TYPE] = _printable(response.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream"))
    message[hdrs.CONTENT_DISPOSITION] = _printable(response.headers.get(hdrs.CONTENT_DISPOSITION, "inline"))
    return Page(
        url=url,
        content_type=message.get_content_type(),
        charset=message.get_content_charset(),
        file_name=message.get_filename(),
        body=bytes(body[:max_bytes]),
        is_whole=len(body) <= max_bytes,
    )


def _printable(header: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "", header)
