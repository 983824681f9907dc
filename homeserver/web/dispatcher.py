"""From a request to its answer: everything that an endpoint's row promises is done here, once, for all of them."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from homeserver.config.server_sections import Limits
from homeserver.errors import MatrixError, Unknown, Unrecognized
from homeserver.runtime.clock import Clock
from homeserver.runtime.metrics import Distribution, Value
from homeserver.runtime.telemetry import Telemetry, begin_db_ms
from homeserver.web.bodies import parse_client_json, parse_federation_json, read_body, refuse_nul, require_shape
from homeserver.web.client_request import ClientRequest
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.refusals import refusal_of
from homeserver.web.reply import Replies, Reply, Streamed, dumps
from homeserver.web.request import Query, Request
from homeserver.web.requester import FederationAuth, SessionLookup, resolve
from homeserver.web.responses import Conversation
from homeserver.web.router import Router
from homeserver.web.sockets import Sockets, Upgraded
from schemas import Validator, names, validator

log = logging.getLogger(__name__)

_ALL_KINDS = frozenset(("client", "federation"))
_FEDERATION_PATHS = ("/_matrix/federation/", "/_matrix/key/", "/_matrix/policy/", "/.well-known/matrix/server")


class Route:
    """A row, bound to the instance that handles it, with its validator and its metrics."""

    __slots__ = (
        "_metrics", "_schema", "_validator", "by_status", "durations", "endpoint", "federation", "handler", "parameters"
    )  # fmt: skip

    def __init__(
        self, endpoint: Endpoint, handler: Callable[[Request], Awaitable[Any]], schema: str | None, telemetry: Telemetry
    ) -> None:
        self.endpoint = endpoint
        self.handler = handler
        self._schema = schema
        self._validator: Validator | None = None
        self.parameters = tuple(re.findall(r"\{(\w+)\}", endpoint.path))
        self.federation = endpoint.path.startswith(_FEDERATION_PATHS)
        self._metrics = telemetry.metrics
        self.by_status: dict[int, Value] = {}
        self.durations: Distribution = telemetry.metrics.histogram(
            "hearth_request_seconds", "How long requests took.", operation=endpoint.operation_id
        )

    @property
    def validator(self) -> "Validator | None":
        """What checks the body; compiled when the first request needs it, so that starting up stays quick."""
        if self._validator is None and self._schema is not None:
            self._validator = validator(self._schema)
        return self._validator

    def count(self, status: int, seconds: float) -> None:
        """Count one answer."""
        value = self.by_status.get(status)
        if value is None:
            value = self.by_status[status] = self._metrics.counter(
                "hearth_requests_total", "Requests.", operation=self.endpoint.operation_id, status=str(status)
            )
        value.value += 1
        self.durations.observe(seconds)


class Dispatcher:
    """Answers the requests of every endpoint in the tables.

    `instances` hold the handlers: a row's `RoomHandlers.create_room` is bound to the one that is a RoomHandlers.
    ValueError where a row has no instance, no schema or no rate-limit bucket, or where two rows are at the same place.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        instances: Sequence[object],
        sessions: SessionLookup,
        federation_auth: FederationAuth,
        limiter: RateLimiter,
        telemetry: Telemetry,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        limits = limits or Limits()
        self._clock = clock or telemetry.clock
        self._sessions = sessions
        self._federation_auth = federation_auth
        self._limiter = limiter
        self._telemetry = telemetry
        self._body_limits = {True: limits.federation_body, False: limits.client_body}
        self._replies = Replies(self._clock, compress=limits.compress_responses)
        self.sockets = Sockets(telemetry.metrics, max_message=limits.client_body)
        self._count = 0
        self._in_flight = telemetry.metrics.gauge("hearth_requests_in_flight", "Requests being answered now.")
        self._router: Router[Route] = Router()
        self._unmatched = self._pseudo_route("unrecognized", telemetry)
        self._preflight = self._pseudo_route("preflight", telemetry)
        schemas = names()
        for endpoint in endpoints:
            self._add(endpoint, instances, schemas)

    def at(self, kinds: Iterable[str], *, x_forwarded: bool = False) -> Callable[[web.BaseRequest], Awaitable[Any]]:
        """The handler for a listener that serves these kinds (client, federation)."""
        return partial(self.handle, kinds=frozenset(kinds), x_forwarded=x_forwarded)

    async def handle(
        self, http: web.BaseRequest, kinds: frozenset[str] = _ALL_KINDS, x_forwarded: bool = False
    ) -> Reply | Streamed | Upgraded:
        """Answer one request, whatever happens; count it and write its line in the log.

        Only cancelling gets out: the server cancels reads whose client has gone, and never writes.
        """
        begin = self._clock.monotonic()
        self._count += 1
        db_ms = begin_db_ms()
        raw_path, _, raw_query = _target(http).partition("?")
        # Holds what the log wants to know even of a request that has no route.
        request = Request(self._unmatched.endpoint, {}, Query(raw_query), http)
        request.request_id = f"{self._count:x}"
        route, note = self._unmatched, ""
        self._in_flight.value += 1
        try:
            route = self._route(request, raw_path, kinds)
            reply = await self._answer(route, request, raw_query, x_forwarded)
        except MatrixError as error:
            reply = self._replies.error(error, cors=not route.federation)
            note = error.errcode if route is not self._unmatched else raw_path[:100]
        except asyncio.CancelledError:
            self._finish(route, request, 499, begin, db_ms[0], "client_gone")
            raise
        except Exception as error:  # noqa: BLE001 (the last resort; it is logged whole)
            reply, note = self._unexpected(error, route, request)
        finally:
            self._in_flight.value -= 1
        self._finish(route, request, reply.status, begin, db_ms[0], note)
        return reply

    def _route(self, request: Request, raw_path: str, kinds: frozenset[str]) -> Route:
        method = request.http.method
        if method == "OPTIONS":
            return self._preflight
        route, path = self._router.find(method, raw_path)
        if ("federation" if route.federation else "client") not in kinds:
            raise Unrecognized
        for name in route.parameters[len(path) :]:
            path.setdefault(name, "")  # a path of `also` that leaves out the last ones: a state key
        request.operation = route.endpoint
        if route.endpoint.may_be_given_up and isinstance(request.http, ClientRequest):
            request.http.may_be_given_up = True
        request.path = path
        return route

    async def _answer(
        self, route: Route, request: Request, raw_query: str, x_forwarded: bool
    ) -> Reply | Streamed | Upgraded:
        http = request.http
        if route is self._preflight:
            return self._replies.plain(200, b"", cors=True)
        request.client_ip = _client_ip(http, x_forwarded)
        request.user_agent = http.headers.get(hdrs.USER_AGENT, "")
        result = await self._perform(route, request, raw_query)
        if isinstance(result, (dict, bytes)):
            return self._replies.json(http, result, cors=not route.federation)
        if isinstance(result, Conversation):
            return await self.sockets.accept(http, result)
        return self._replies.other(http, result, cors=not route.federation)

    async def _perform(self, route: Route, request: Request, raw_query: str) -> Any:
        endpoint = route.endpoint
        auth = endpoint.auth
        if auth is Auth.FEDERATION:
            await self._read(route, request)
            await self._verify_origin(request)
        elif auth is not Auth.NONE:
            await resolve(request, raw_query, self._sessions)
        if endpoint.limit is not None and self._limiter.enabled:
            self._limit(endpoint.limit, request)
        if endpoint.body is not None:
            if auth is not Auth.FEDERATION:
                await self._read(route, request)
            checker = route.validator
            if checker is not None:
                checker.validate(request.body)
        return await route.handler(request)

    async def _read(self, route: Route, request: Request) -> None:
        endpoint = route.endpoint
        if endpoint.body is None or endpoint.stream:
            return
        raw = request.raw_body = await read_body(request.http, self._body_limits[route.federation])
        if not raw and _may_be_empty(route):
            return
        request.body = parse_federation_json(raw) if route.federation else parse_client_json(raw)
        require_shape(request.body, array=endpoint.array)
        if not endpoint.any_text:
            refuse_nul(raw, request.body)

    async def _verify_origin(self, request: Request) -> None:
        http = request.http
        body = request.body if request.operation.body is not None and request.raw_body else None
        request.origin = await self._federation_auth(http.method, http.raw_path, http.headers, body)

    def _limit(self, bucket: str, request: Request) -> None:
        requester = request.requester
        if requester is None:
            self._limiter.check(bucket, request.origin or request.client_ip)
        elif getattr(requester, "rate_limited", True):
            self._limiter.check(bucket, requester.user_id)

    def _unexpected(self, error: Exception, route: Route, request: Request) -> tuple[Reply, str]:
        refusal = refusal_of(error)
        if isinstance(error, ConnectionError) and request.http.transport is None:
            return self._replies.plain(499, b""), "client_gone"  # nobody will read it
        if refusal is not None:
            return self._replies.error(refusal, cors=not route.federation), refusal.errcode
        log.error("request %s (%s) failed", request.request_id, route.endpoint.operation_id, exc_info=error)
        body = dumps(Unknown(f"Internal server error (request {request.request_id})").body())
        reply = self._replies.plain(500, body, content_type="application/json", cors=not route.federation)
        return reply, type(error).__name__

    def _finish(self, route: Route, request: Request, status: int, begin: float, db_ms: float, note: str) -> None:
        seconds = self._clock.monotonic() - begin
        route.count(status, seconds)
        request_log = self._telemetry.request_log
        if request_log is not None:
            requester = request.requester
            user = request.origin or "-" if requester is None else requester.user_id
            operation = route.endpoint.operation_id
            request_log.line(request.request_id, operation, user, status, seconds * 1000, db_ms, note)

    def _add(self, endpoint: Endpoint, instances: Sequence[object], schemas: Container[str]) -> None:
        if endpoint.limit is not None and endpoint.limit not in self._limiter:
            raise ValueError(f"{endpoint.operation_id}: there is no rate limit called {endpoint.limit!r}")
        route = Route(endpoint, _bind(endpoint, instances), _schema_of(endpoint, schemas), self._telemetry)
        for path in endpoint.paths:
            self._router.add(endpoint.method, path, route)

    def _pseudo_route(self, name: str, telemetry: Telemetry) -> Route:
        async def nothing(_: Request) -> None:
            raise Unrecognized

        return Route(Endpoint(name, "GET", "/", nothing, auth=Auth.NONE), nothing, None, telemetry)


def _bind(endpoint: Endpoint, instances: Sequence[object]) -> Callable[[Request], Awaitable[Any]]:
    """The row's handler, bound to the instance whose class holds it; a plain function stays as it is."""
    class_name, dot, name = endpoint.handler.__qualname__.rpartition(".")
    if not dot or class_name.endswith("<locals>") or hasattr(endpoint.handler, "__self__"):
        return endpoint.handler
    for instance in instances:
        if getattr(type(instance), name, None) is endpoint.handler:
            return getattr(instance, name)
    raise ValueError(f"{endpoint.operation_id}: no instance of {class_name} was given")


def _schema_of(endpoint: Endpoint, schemas: Container[str]) -> str | None:
    """The full name of the row's schema: `createRoom` on a client path means `client.createRoom`."""
    if not endpoint.body:
        return None
    name = endpoint.body
    if "." not in name:
        name = ("federation." if endpoint.path.startswith(_FEDERATION_PATHS) else "client.") + name
    if name not in schemas:
        raise ValueError(f"{endpoint.operation_id}: there is no schema called {name!r}")
    return name


def _may_be_empty(route: Route) -> bool:
    """Whether no body at all counts as an empty object: many clients send nothing where one is meant."""
    checker = route.validator
    if checker is not None:
        return not checker.body_required
    return route.endpoint.method != "PUT" and not route.endpoint.array


def _target(http: web.BaseRequest) -> str:
    """Path and query, as they came. A client of a proxy may name the whole URL (RFC 9112 §3.2.2)."""
    target = http.raw_path
    return target if target[:1] == "/" else http.rel_url.raw_path_qs


def _client_ip(http: web.BaseRequest, x_forwarded: bool) -> str:
    """The address of the client: what the nearest proxy says where it is to be believed, else the peer's."""
    if x_forwarded:
        forwarded = http.headers.get("X-Forwarded-For")
        if forwarded:
            return forwarded.rpartition(",")[2].strip()
    return http.remote or ""
