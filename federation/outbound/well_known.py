"""Reads `/.well-known/matrix/server` of other servers (server-server-api §Resolving server names, step 3)."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from yarl import URL

from federation.outbound.failures import FederationError
from federation.outbound.transport import read_bounded
from homeserver.core.canonical_json import CanonicalJSONError, decode
from homeserver.core.identifiers import is_valid_server_name

MAX_BYTES: Final = 50 * 1024
MAX_REDIRECTS: Final = 5
TIMEOUT_S: Final = 15.0
DEFAULT_LIFETIME_S: Final = 24 * 3600.0
MIN_LIFETIME_S: Final = 5 * 60.0
MAX_LIFETIME_S: Final = 48 * 3600.0
FIRST_FAILURE_LIFETIME_S: Final = 60.0
MAX_FAILURE_LIFETIME_S: Final = 3600.0
_OK: Final = 200
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_NOT_STORED = re.compile(r"(?:^|[\s,])(?:no-store|no-cache)(?:$|[\s,=])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Delegation:
    """The server name that was delegated to, None where there is no (valid) delegation, and how long to believe so."""

    server_name: str | None
    lifetime_s: float


class WellKnownReader(Protocol):
    """Asks a host for its delegation."""

    async def read(self, host: str) -> Delegation | None:
        """None where the answer is an error, or nonsense, or there is none."""
        ...


class HttpWellKnownReader:
    """Asks over HTTPS. `session` is called for the pool to use: the transport's own, with its checks of addresses."""

    def __init__(self, session: "SessionSource", port: int = 443) -> None:
        self._session = session
        self._port = port

    async def read(self, host: str) -> Delegation | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._follow(host)
        except (TimeoutError, aiohttp.ClientError, OSError, FederationError, ValueError):
            return None

    async def _follow(self, host: str) -> Delegation | None:
        port = "" if self._port == 443 else f":{self._port}"
        url = URL(f"https://{host}{port}/.well-known/matrix/server")
        seen: set[URL] = set()
        while url not in seen and len(seen) <= MAX_REDIRECTS and url.scheme == "https":
            seen.add(url)
            async with self._session.session().get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location is not None:
                    url = url.join(URL(location))
                    continue
                if response.status != _OK:
                    return None
                body = await read_bounded(response, MAX_BYTES, host)
                return parse_delegation(body, response.headers.get("Cache-Control", ""))
        return None


class SessionSource(Protocol):
    """What keeps the pool of connections."""

    def session(self) -> aiohttp.ClientSession: ...


def parse_delegation(body: bytes, cache_control: str) -> Delegation | None:
    """What the body says, None where it is not valid; its lifetime by the header, within limits."""
    try:
        content = decode(body)
    except CanonicalJSONError:
        return None
    server_name = content.get("m.server") if isinstance(content, dict) else None
    if not isinstance(server_name, str) or not is_valid_server_name(server_name):
        return None
    return Delegation(server_name, lifetime(cache_control))


def lifetime(cache_control: str) -> float:
    """Seconds that an answer with this Cache-Control header is kept: at least 5 minutes, at most 48 hours."""
    if _NOT_STORED.search(cache_control):
        return MIN_LIFETIME_S
    match = _MAX_AGE.search(cache_control)
    seconds = DEFAULT_LIFETIME_S if match is None else float(match[1])
    return min(max(seconds, MIN_LIFETIME_S), MAX_LIFETIME_S)
