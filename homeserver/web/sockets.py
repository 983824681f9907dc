"""WebSockets (RFC 6455): a request that becomes a conversation.

Messages are JSON objects in text frames. An error is told as the body that a request would have got, and the WebSocket
is then closed with 4000 and the status that the request would have had: 4401 for a token that does not count.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from aiohttp import WSMsgType, web

from homeserver.errors import BadJson, InvalidParam, MatrixError, TooLarge, Unknown
from homeserver.runtime.metrics import Registry, Value
from homeserver.web.bodies import parse_client_json, refuse_nul, require_shape
from homeserver.web.refusals import refusal_of
from homeserver.web.reply import dumps
from homeserver.web.responses import Conversation
from homeserver.web.statuses import status_of

log = logging.getLogger(__name__)

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
_OF_ERRORS: Final = 4000
# An idle WebSocket is pinged, so that proxies keep it and one whose client has gone is noticed within 1½ of it.
_PING_S: Final = 40.0
# How long the other side may take to say goodbye too.
_CLOSE_S: Final = 1.0
_MAX_REASON: Final = 123


class Socket:
    """One WebSocket. One task receives; any may send and close."""

    def __init__(self, ws: "web.WebSocketResponse[Any]", max_message: int) -> None:
        self._ws = ws
        self._max_message = max_message

    async def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next message; None once the WebSocket is closed, or nothing came within `timeout_s`. Raises NotJson,
        BadJson, TooLarge."""
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._ws.receive()
        except TimeoutError:
            await self.close(_OF_ERRORS + 408, "nothing was asked")
            return None
        if message.type is WSMsgType.TEXT:
            raw = message.data.encode()
            value = parse_client_json(raw)
            require_shape(value, array=False)
            refuse_nul(raw, value)
            return value
        if message.type is WSMsgType.BINARY:
            raise BadJson("Messages are JSON in text frames")
        if message.type is WSMsgType.ERROR and self._ws.close_code == 1009:
            raise TooLarge(f"The message is larger than {self._max_message} bytes")
        return None

    async def send(self, message: bytes) -> None:
        """Send JSON text; waits while the client is slow to read. Nothing happens where the WebSocket is closed."""
        if not self._ws.closed:
            with suppress(ConnectionError):
                await self._ws.send_frame(message, WSMsgType.TEXT)

    async def refuse(self, error: Exception) -> None:
        """Tell of an error, and close."""
        refusal = error if isinstance(error, MatrixError) else refusal_of(error)
        if refusal is None:
            log.error("a WebSocket failed", exc_info=error)
            refusal = Unknown("Internal server error")
            await self.send(dumps(refusal.body()))
            await self.close(1011, refusal.errcode)
            return
        await self.send(dumps(refusal.body()))
        await self.close(_OF_ERRORS + status_of(refusal), refusal.errcode)

    async def close(self, code: int, reason: str = "") -> None:
        """Close it. Safe to repeat."""
        with suppress(ConnectionError):
            await self._ws.close(code=code, message=reason.encode()[:_MAX_REASON])


class Upgraded:
    """The rest of an accepted request: aiohttp's protocol awaits `prepare` as it does for any answer."""

    def __init__(self, sockets: "Sockets", ws: "web.WebSocketResponse[Any]", conversation: Conversation) -> None:
        self.status = 101
        self.keep_alive = False
        self._sockets = sockets
        self._ws = ws
        self._conversation = conversation

    async def prepare(self, request: web.BaseRequest) -> None:
        """Hold the conversation to its end."""
        await self._sockets.hold(self._ws, self._conversation)

    async def write_eof(self) -> None:
        """Everything has been said."""


class Sockets:
    """The open WebSockets of a process."""

    def __init__(self, metrics: Registry, *, max_message: int) -> None:
        self._max_message = max_message
        self._open: dict[Socket, str] = {}
        self._closing = False
        self._gauge: Value = metrics.gauge("hearth_websockets", "WebSockets that are open.")

    async def accept(self, http: web.BaseRequest, conversation: Conversation) -> Upgraded:
        """Answer the handshake. Raises InvalidParam where the request is none."""
        # Each compressed WebSocket would hold some 300 KiB for ever; a proxy compresses better.
        ws: web.WebSocketResponse[Any] = web.WebSocketResponse(
            timeout=_CLOSE_S, heartbeat=_PING_S, max_msg_size=self._max_message, compress=False
        )
        if not ws.can_prepare(http).ok:
            raise InvalidParam("This is a WebSocket: the request must be a handshake of RFC 6455")
        await ws.prepare(http)
        return Upgraded(self, ws, conversation)

    async def hold(self, ws: "web.WebSocketResponse[Any]", conversation: Conversation) -> None:
        """Speak over a WebSocket until the conversation is over, then close it."""
        socket = Socket(ws, self._max_message)
        self._open[socket] = conversation.goodbye
        self._gauge.value += 1
        try:
            if self._closing:
                await socket.close(GOING_AWAY, conversation.goodbye)
            else:
                await conversation.hold(socket)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 (the last resort; what is not the client's fault is logged)
            await socket.refuse(error)
        finally:
            del self._open[socket]
            self._gauge.value -= 1
        await socket.close(NORMAL)

    async def close(self) -> None:
        """The server stops: say so on all of them."""
        self._closing = True
        await asyncio.gather(*(socket.close(GOING_AWAY, goodbye) for socket, goodbye in list(self._open.items())))
