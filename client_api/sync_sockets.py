"""/sync and sliding sync over a WebSocket: the same requests and answers, each answer acknowledged before the next.

What travels is described in docs/clients/websocket.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from client_api.sliding_sync import SlidingSyncHandlers
from client_api.sync import SyncHandlers
from homeserver.errors import InvalidParam, LimitExceeded, MissingToken, UserLocked
from homeserver.runtime.tasks import Tasks
from homeserver.services.sessions import Requester, Sessions
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.request import Query, Request
from homeserver.web.requester import access_token
from homeserver.web.responses import Conversation
from homeserver.web.sockets import Socket
from schemas import validator

_FIRST_MESSAGE_S: Final = 20.0
_MAX_OF_USER: Final = 100
_LONGEST_MS: Final = 3_600_000
# An answer without news is not asked for more often than that, whatever the client says.
_SHORTEST_MS: Final = 10_000
_LIMIT: Final = "general"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the three syncs. `token` names the parameter that says where the client is; `in_query`: parameters that
    its handler reads from the query, None for all; `schema` is that of the rest."""

    ask: Callable[[Request], Awaitable[bytes]]
    token: str
    in_query: frozenset[str] | None
    schema: str | None


@dataclass(slots=True, eq=False)
class _Client:
    """One WebSocket. `parameters` are those of the request that is being answered; `sent`: the token of the answer
    that waits to be acknowledged."""

    socket: Socket
    request: Request
    kind: _Kind
    token: str
    requester: Requester
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    sent: str | None = None
    to_device: str | None = None
    task: asyncio.Task[None] | None = None

    async def stop_answering(self) -> None:
        """Whatever is being put together is not sent."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


class SyncSocketHandlers:
    """One request for each WebSocket; what is asked over it goes to the handlers of the ordinary endpoints."""

    def __init__(
        self,
        sync: SyncHandlers,
        sliding_sync: SlidingSyncHandlers,
        sessions: Sessions,
        limiter: RateLimiter,
        tasks: Tasks,
    ) -> None:
        query = frozenset({"pos", "timeout", "set_presence"})
        self._sync = _Kind(sync.sync, "since", None, None)
        self._sliding = _Kind(sliding_sync.sliding_sync, "pos", frozenset(), "client.slidingSync")
        simplified = sliding_sync.simplified_sliding_sync
        self._simplified = _Kind(simplified, "pos", query, "client.simplifiedSlidingSync")
        self._sessions = sessions
        self._limiter = limiter
        self._tasks = tasks
        self._clients: dict[str, set[_Client]] = {}
        sessions.on_change.append(self._sessions_changed)

    async def sync(self, request: Request) -> Conversation:
        """/sync."""
        return Conversation(partial(self._hold, request, self._sync))

    async def sliding_sync(self, request: Request) -> Conversation:
        """Sliding sync as proposed."""
        return Conversation(partial(self._hold, request, self._sliding))

    async def simplified_sliding_sync(self, request: Request) -> Conversation:
        """Sliding sync as its experiment has it."""
        return Conversation(partial(self._hold, request, self._simplified))

    # --- the conversation

    async def _hold(self, request: Request, kind: _Kind, socket: Socket) -> None:
        message = await socket.receive(_FIRST_MESSAGE_S)
        if message is None:
            return
        client = await self._admit(request, kind, socket, message)
        clients = self._clients.setdefault(client.requester.user_id, set())
        if len(clients) >= _MAX_OF_USER:
            raise LimitExceeded("There are too many WebSockets of this user")
        clients.add(client)
        try:
            while message is not None:
                await client.stop_answering()
                self._take(client, message)
                client.task = self._tasks.start("sync over a WebSocket", self._answer(client))
                message = await socket.receive()
        finally:
            clients.discard(client)
            if not clients and self._clients.get(client.requester.user_id) is clients:
                del self._clients[client.requester.user_id]
            await client.stop_answering()

    async def _admit(self, request: Request, kind: _Kind, socket: Socket, first: dict[str, Any]) -> _Client:
        """Who asks: told by the handshake, or by the first message. Raises MissingToken, UnknownToken…"""
        token = access_token(request.http, request.http.rel_url.raw_query_string)
        if token is None:
            token = first.get("access_token")
        if not isinstance(token, str) or not token:
            raise MissingToken
        requester = request.requester or await self._requester(request, token)
        return _Client(socket, request, kind, token, requester)

    async def _requester(self, request: Request, token: str) -> Requester:
        requester = self._sessions.cached(token)
        if requester is None:
            query = request.query
            device = query.str_("device_id") or query.str_("org.matrix.msc3202.device_id")
            asked = (query.str_("user_id"), device, request.client_ip, request.user_agent)
            requester = await self._sessions.requester_for(token, *asked)
        if requester.is_locked:
            raise UserLocked
        return requester

    def _take(self, client: _Client, message: dict[str, Any]) -> None:
        """A request, or the acknowledgement that asks for what comes next. Raises InvalidParam, LimitExceeded."""
        if "ack" not in message:
            if self._limiter.enabled and client.requester.rate_limited:
                self._limiter.check(_LIMIT, client.requester.user_id)
            message.pop("access_token", None)
            client.parameters, client.sent = message, None
            return
        if len(message) > 1 or client.sent is None or message["ack"] != client.sent:
            raise InvalidParam("ack must be the token of the last answer, and nothing else")
        parameters = {**client.parameters, client.kind.token: client.sent}
        parameters.pop("full_state", None)
        if client.to_device is not None:
            extensions = parameters["extensions"]
            to_device = {**extensions["to_device"], "since": client.to_device}
            parameters["extensions"] = {**extensions, "to_device": to_device}
        client.parameters, client.sent = parameters, None

    async def _answer(self, client: _Client) -> None:
        try:
            body = await client.kind.ask(_as_request(client))
            client.requester = await self._requester(client.request, client.token)
            client.to_device = _to_device_token(client, body)
            # Both /sync and sliding sync begin with their token.
            client.sent = body.split(b'"', 4)[3].decode()
            await client.socket.send(body)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 (told to the client, and logged where it is not its fault)
            await client.socket.refuse(error)

    # --- tokens that cease to count

    def _sessions_changed(self, user_id: str | None) -> None:
        """A user's sessions are not what they were; None: anybody's may not be."""
        found = self._clients.values() if user_id is None else [self._clients.get(user_id, set())]
        for client in [client for clients in found for client in clients]:
            self._tasks.start("token of a WebSocket", self._check(client))

    async def _check(self, client: _Client) -> None:
        try:
            await self._requester(client.request, client.token)
        except Exception as error:  # noqa: BLE001 (told to the client, and logged where it is not its fault)
            await client.socket.refuse(error)


def _as_request(client: _Client) -> Request:
    """What the ordinary endpoint would have been asked."""
    kind, parameters = client.kind, {"timeout": _LONGEST_MS, **client.parameters}
    timeout = parameters["timeout"]
    if not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 0:
        raise InvalidParam("timeout must be a number of milliseconds")
    parameters["timeout"] = max(timeout, _SHORTEST_MS)
    in_query = parameters if kind.in_query is None else {n: v for n, v in parameters.items() if n in kind.in_query}
    outer = client.request
    request = Request(outer.operation, {}, Query(urlencode(_as_query(in_query))), outer.http)
    request.requester, request.client_ip, request.user_agent = client.requester, outer.client_ip, outer.user_agent
    if kind.schema is not None:
        request.body = {name: value for name, value in parameters.items() if name not in in_query}
        validator(kind.schema).validate(request.body)
    return request


def _as_query(parameters: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, str):
            found[name] = value
        elif value is not None:
            found[name] = orjson.dumps(value).decode()
    return found


def _to_device_token(client: _Client, body: bytes) -> str | None:
    """Up to where the answer brought messages to the device, which the acknowledgement says they have arrived."""
    if client.kind.schema is None or b'"to_device":' not in body:
        return None
    to_device = orjson.loads(body)["extensions"].get("to_device") or {}
    return to_device.get("next_batch")
