"""The WebSocket over which bridges of the mautrix family are told what happens, instead of by requests to them.

A bridge connects with its `as_token`; transactions arrive as messages with a number, and count as arrived when the
bridge has answered to that number. What a bridge was sent and did not answer is sent again when it is back.
"""

import asyncio
import logging
from functools import partial
from typing import Any, Final

import orjson

from homeserver.runtime.clock import Clock
from homeserver.services.appservice_queue import NotTaken
from homeserver.services.appservice_sender import AppserviceSender
from homeserver.services.appservices import Appservice
from homeserver.web.request import Request
from homeserver.web.responses import Conversation
from homeserver.web.sockets import Socket

log = logging.getLogger(__name__)

REPLACED: Final = 4001
NOT_ACKNOWLEDGED: Final = 4002
ACKNOWLEDGE_S: Final = 60.0
# Reports for those who run many bridges; there is nobody here to read them.
_IGNORED: Final = frozenset({"bridge_status", "message_checkpoint"})


def _goodbye(status: str) -> str:
    return orjson.dumps({"command": "disconnect", "status": status}).decode()


class BridgeSocket:
    """One bridge's connection: implements the sender's `TransactionSocket`."""

    def __init__(self, socket: Socket, clock: Clock, *, acknowledge_s: float = ACKNOWLEDGE_S) -> None:
        self._socket = socket
        self._clock = clock
        self._acknowledge_s = acknowledge_s
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._is_over = False
        self._is_greeted = False

    async def greet(self) -> None:
        """Say that the connection is made: what happens from now on is told over it."""
        if not self._is_greeted:
            self._is_greeted = True
            await self._socket.send(b'{"command":"connect","data":{}}')

    async def deliver(self, txn_id: str, inside: bytes) -> None:
        if self._is_over:
            raise NotTaken("the connection was closed")
        await self.greet()
        self._next_id += 1
        number = self._next_id
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        head = orjson.dumps({"id": number, "command": "transaction", "status": "ok", "txn_id": txn_id})
        try:
            await self._socket.send(head[:-1] + b"," + inside + b"}")
            async with asyncio.timeout(self._acknowledge_s):
                await answer
        except TimeoutError:
            await self._socket.close(NOT_ACKNOWLEDGED, _goodbye("transactions_not_acknowledged"))
            raise NotTaken("it did not acknowledge in time") from None
        finally:
            del self._waiting[number]

    async def replaced(self) -> None:
        await self._socket.close(REPLACED, _goodbye("conn_replaced"))

    async def listen(self) -> None:
        """Take what the bridge says until it is gone."""
        try:
            while (message := await self._socket.receive()) is not None:
                await self._take(message)
        finally:
            self._is_over = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(NotTaken("the connection was closed"))

    async def _take(self, message: dict[str, Any]) -> None:
        command, number = message.get("command"), message.get("id")
        if command in ("response", "error"):
            answer = self._waiting.get(number) if isinstance(number, int) else None
            if answer is not None and not answer.done():
                if command == "response":
                    answer.set_result(None)
                else:
                    answer.set_exception(NotTaken("it answered with an error"))
            return
        if not isinstance(number, int) or not number:
            return  # it does not want an answer
        if command == "ping":
            answer = {"id": number, "command": "response", "data": {"timestamp": self._clock.now_ms()}}
        elif command in _IGNORED:
            answer = {"id": number, "command": "response", "data": {}}
        else:
            fault = {"code": "M_UNRECOGNIZED", "message": "This server does not know the command"}
            answer = {"id": number, "command": "error", "data": fault}
        await self._socket.send(orjson.dumps(answer))


class AppserviceSocketHandlers:
    """The endpoint that bridges connect to."""

    def __init__(self, sender: AppserviceSender, clock: Clock, *, acknowledge_s: float = ACKNOWLEDGE_S) -> None:
        self._sender = sender
        self._clock = clock
        self._acknowledge_s = acknowledge_s

    async def connect(self, request: Request) -> Conversation:
        appservice = request.user.appservice
        assert appservice is not None
        process_id = request.http.headers.get("X-Mautrix-Process-ID", "")
        return Conversation(partial(self._hold, appservice, process_id), goodbye=_goodbye("server_shutting_down"))

    async def _hold(self, appservice: Appservice, process_id: str, socket: Socket) -> None:
        bridge = BridgeSocket(socket, self._clock, acknowledge_s=self._acknowledge_s)
        log.info("application service %s has connected (its process %r)", appservice.id, process_id[:100])
        await self._sender.connected(appservice, bridge)
        try:
            await bridge.greet()
            await bridge.listen()
        finally:
            await self._sender.disconnected(appservice, bridge)
            log.info("application service %s has disconnected", appservice.id)
