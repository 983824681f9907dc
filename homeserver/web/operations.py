"""/health and /metrics: for whoever operates the server, outside of the endpoint tables and of the request log."""

import hmac
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from homeserver.config.server_sections import Metrics
from homeserver.errors import MissingToken, Unrecognized
from homeserver.runtime.telemetry import Telemetry
from homeserver.web.reply import Replies, Reply
from homeserver.web.requester import access_token

Answer = Callable[[web.BaseRequest], Awaitable[Any]]


class OperationsPages:
    """Answers these two, and hands everything else on."""

    def __init__(self, telemetry: Telemetry, metrics: Metrics) -> None:
        self._telemetry = telemetry
        self._metrics = metrics
        self._replies = Replies(telemetry.clock)

    def before(self, answer: Answer, kinds: Iterable[str]) -> Answer:
        """`answer`, with /health, and /metrics where `kinds` has metrics."""
        with_metrics = "metrics" in kinds and self._metrics.enabled

        def route(http: web.BaseRequest) -> Awaitable[Any]:
            path = http.raw_path
            if path == "/health" or (with_metrics and path.startswith("/metrics")):
                return self._answer(http)
            return answer(http)

        return route

    async def _answer(self, http: web.BaseRequest) -> Reply:
        path, _, query = http.raw_path.partition("?")
        if http.method not in ("GET", "HEAD") or path not in ("/health", "/metrics"):
            return self._replies.error(Unrecognized(), cors=False)
        if path == "/health":
            return self._replies.plain(200, b"OK", content_type="text/plain")
        if self._metrics.token is not None:
            token = access_token(http, query) or ""
            if not hmac.compare_digest(token.encode(), self._metrics.token.encode()):
                return self._replies.error(MissingToken("The metrics token is needed"), cors=False)
        return self._replies.plain(
            200, self._telemetry.metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8"
        )
