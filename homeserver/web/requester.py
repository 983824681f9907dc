"""Who is asking: access tokens for clients and application services, signatures for other servers."""

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote_plus

from aiohttp import hdrs, web

from homeserver.errors import Forbidden, GuestAccessForbidden, MissingToken, UserLocked
from homeserver.services.sessions import Requester
from homeserver.web.endpoint import Auth
from homeserver.web.request import Request


class SessionLookup(Protocol):
    """What the dispatcher needs of the sessions service."""

    def cached(self, token: str) -> Requester | None:
        """The requester of a token that was seen lately; None: ask `requester_for`."""
        ...

    def requester_for(
        self, token: str, masquerade_user: str | None, masquerade_device: str | None, ip: str, user_agent: str
    ) -> Awaitable[Requester]:
        """The requester of a token; raises UnknownToken, Forbidden…

        The masquerades are what an application service says whom it acts for; they mean nothing with others' tokens.
        """
        ...


class FederationAuth(Protocol):
    """Verifies the X-Matrix signature of a request of another server (server-server-api §Request Authentication)."""

    def __call__(self, method: str, uri: str, headers: Mapping[str, str], body: Any | None) -> Awaitable[str]:
        """The server that signed it; raises Unauthorized or Forbidden. `headers` is a multi-dictionary (`getall`)."""
        ...


def access_token(http: web.BaseRequest, raw_query: str) -> str | None:
    """The token of the Authorization header, or of the query where older clients put it; None where there is none."""
    header = http.headers.get(hdrs.AUTHORIZATION)
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
        if scheme.lower() != "x-matrix":
            raise MissingToken("The Authorization header is not of the form: Bearer <token>")
    return _parameter(raw_query, "access_token")


async def resolve(request: Request, raw_query: str, sessions: SessionLookup) -> None:
    """Set the requester, as the row's auth kind asks for. Raises MissingToken, UnknownToken, GuestAccessForbidden…"""
    auth = request.operation.auth
    token = access_token(request.http, raw_query)
    if token is None:
        if auth is Auth.OPTIONAL:
            return
        raise MissingToken
    masquerades = "user_id=" in raw_query or "device_id=" in raw_query
    requester = None if masquerades else sessions.cached(token)
    if requester is None:
        requester = await sessions.requester_for(
            token,
            _parameter(raw_query, "user_id") if masquerades else None,
            _device(raw_query) if masquerades else None,
            request.client_ip,
            request.user_agent,
        )
    if requester.is_locked and not request.operation.when_locked:
        raise UserLocked
    if auth is Auth.USER and requester.is_guest:
        raise GuestAccessForbidden
    if auth is Auth.ADMIN and not requester.is_admin:
        raise Forbidden("Only administrators of this server may do this")
    if auth is Auth.APPSERVICE and requester.appservice is None:
        raise Forbidden("Only an application service may do this")
    request.requester = requester


def _device(raw_query: str) -> str | None:
    return _parameter(raw_query, "device_id") or _parameter(raw_query, "org.matrix.msc3202.device_id")


def _parameter(raw_query: str, name: str) -> str | None:
    """One parameter, without parsing all of them: this runs for every request."""
    if name not in raw_query:
        return None
    for pair in raw_query.split("&"):
        key, _, value = pair.partition("=")
        if key == name and value:
            return unquote_plus(value)
    return None
