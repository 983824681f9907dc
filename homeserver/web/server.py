"""Listens: TCP with or without TLS, Unix sockets, ports that worker processes share; and stops quickly and cleanly."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from homeserver.config.server_sections import Limits, Listener, Metrics
from homeserver.runtime.telemetry import Telemetry
from homeserver.web.client_request import ClientRequest
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.operations import OperationsPages
from homeserver.web.tls import server_context

log = logging.getLogger(__name__)
BACKLOG = 1024


class HttpServer:
    """All listeners of one process.

    `stopping` is set as soon as the stop begins: whoever waits on behalf of a client (a long poll) waits for it too,
    and answers at once.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        listeners: Sequence[Listener],
        telemetry: Telemetry,
        *,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        stopping: asyncio.Event | None = None,
        share_ports: bool = False,
    ) -> None:
        self._dispatcher = dispatcher
        self._listeners = listeners
        self._limits = limits or Limits()
        self._pages = OperationsPages(telemetry, metrics or Metrics())
        self._share_ports = share_ports
        self.stopping = stopping or asyncio.Event()
        self._servers: list[web.Server] = []
        self._sockets: list[asyncio.Server] = []
        self.addresses: list[str] = []

    async def start(self) -> None:
        """Listen everywhere. Raises OSError, which names the address, where one cannot be had."""
        for listener in self._listeners:
            server = self._protocol_factory(listener)
            tls = None
            if listener.tls_certificate is not None and listener.tls_key is not None:
                tls = server_context(listener.tls_certificate, listener.tls_key)
            for bound in _bind(listener, self._share_ports):
                bound.listen(BACKLOG)
                loop = asyncio.get_running_loop()
                self._sockets.append(await loop.create_server(server, sock=bound, ssl=tls, backlog=BACKLOG))
                self.addresses.append(_address(bound, tls is not None))

    async def stop(self) -> None:
        """Stop listening, let requests under way end for `limits.stop_grace` seconds, then close every connection."""
        self.stopping.set()
        for sockets in self._sockets:
            sockets.close()
        await self._dispatcher.sockets.close()
        for server in self._servers:
            server.pre_shutdown()
        await asyncio.gather(*(server.shutdown(self._limits.stop_grace) for server in self._servers))
        for listener in self._listeners:
            if listener.unix_socket is not None and not self._share_ports:
                _remove(listener.unix_socket)

    def _protocol_factory(self, listener: Listener) -> web.Server:
        answer = self._pages.before(
            self._dispatcher.at(listener.kinds, x_forwarded=listener.x_forwarded), listener.kinds
        )
        server = web.Server(
            # Reply stands in for aiohttp's own response (see homeserver.web.reply).
            cast("Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]", answer),
            request_factory=_make_request,
            access_log=None,
            keepalive_timeout=self._limits.keepalive,
            lingering_time=1.0,
            max_line_size=65_536,
            max_field_size=16_384,
        )
        self._servers.append(server)
        return server


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    return ClientRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


def _bind(listener: Listener, share: bool) -> list[socket.socket]:
    """Bound sockets of one listener; a Unix socket that nobody listens at any more is replaced."""
    if listener.unix_socket is not None:
        return [_bind_unix(listener.unix_socket, int(listener.unix_socket_mode, 8))]
    assert listener.port is not None
    sockets: list[socket.socket] = []
    for address in listener.bind:
        host = "127.0.0.1" if address == "localhost" else address
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if ":" in host:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((host, listener.port))
        except OSError as error:
            bound.close()
            for other in sockets:
                other.close()
            raise OSError(error.errno, f"cannot listen at {address} port {listener.port}: {error.strerror}") from None
        bound.setblocking(False)
        sockets.append(bound)
    return sockets


def _bind_unix(path: str, mode: int) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(path) == 0:
                raise OSError(f"cannot listen at {path}: another process does")
        _remove(path)
        bound.bind(path)
        os.chmod(path, mode)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _address(bound: socket.socket, tls: bool) -> str:
    if bound.family == socket.AF_UNIX:
        return f"unix:{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
