"""The bus over Redis (or Valkey) publish/subscribe: hints of this process reach the others, theirs reach ours.

Publishing never waits: hints queue for a task that sends all that is waiting as one message. While Redis is away hints
are dropped beyond a bound; after each connection every subscriber's `on_gap` is called, so that it looks at the
database (at the first one too: who was quicker than the connection has missed what the others said until then).
"""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger(__name__)
MAX_WAITING_HINTS = 10_000
RETRY_MAX_S = 5.0


class RedisBus(Bus):
    """A bus between processes. `start()` connects in the background; `connected` is set while it is."""

    def __init__(self, url: str, *, prefix: str = "hearth", clock: Clock, random: Randomness, tasks: Tasks) -> None:
        super().__init__()
        self._url = url
        self._channel = f"{prefix}:hints"
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._id = random.token(9)
        self._waiting: deque[Hint] = deque(maxlen=MAX_WAITING_HINTS)
        self._wake = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []
        self._redis: Redis | None = None
        self.connected = asyncio.Event()

    def publish(self, hints: list[Hint]) -> None:
        if hints:
            self._deliver(hints)
            self._waiting.extend(hints)
            self._wake.set()

    async def start(self) -> None:
        """Begin to send and to listen; does not wait for Redis to be there."""
        from redis.asyncio import Redis

        self._redis = Redis.from_url(self._url, socket_connect_timeout=5, health_check_interval=15)
        self._running = [
            self._tasks.start("bus listener", self._listen()),
            self._tasks.start("bus sender", self._send()),
        ]

    async def close(self) -> None:
        """Stop listening, send what waits if that is quick, and disconnect."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._redis is not None:
            await self._redis.aclose()
        await super().close()

    async def _send(self) -> None:
        from redis.exceptions import RedisError

        assert self._redis is not None
        while True:
            await self._wake.wait()
            await self.connected.wait()
            self._wake.clear()
            hints = list(self._waiting)
            self._waiting.clear()
            if not hints:
                continue
            try:
                await self._redis.publish(self._channel, encode_hints(self._id, hints))
            except (RedisError, OSError) as error:
                log.warning("%d hints were not sent to the other processes: %s", len(hints), error)
                await self._clock.sleep(self._random.jitter(0.5))

    async def _listen(self) -> None:
        from redis.exceptions import RedisError

        pause = 0.1
        while True:
            try:
                await self._listen_once()
            except (TimeoutError, RedisError, OSError) as error:
                if self.connected.is_set():
                    pause = 0.1
                self.connected.clear()
                log.warning("no connection to Redis: %s; the next attempt is in %.1f s", error, pause)
            await self._clock.sleep(self._random.jitter(pause))
            pause = min(pause * 2, RETRY_MAX_S)

    async def _listen_once(self) -> None:
        assert self._redis is not None
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
            async for message in pubsub.listen():
                if message["type"] == "subscribe":
                    self.connected.set()
                    self.gap()
                elif message["type"] == "message":
                    self._receive(message["data"])

    def _receive(self, data: bytes) -> None:
        try:
            sender, hints = decode_hints(data)
        except (ValueError, TypeError):
            log.warning("a message on the bus was not understood")
            return
        if sender != self._id:
            self._deliver(hints)


def encode_hints(sender: str, hints: list[Hint]) -> bytes:
    """One message: who sent it, and the hints."""
    return orjson.dumps([sender, [[h.stream, h.position, h.keys, _travelling(h.payload)] for h in hints]])


def _travelling(payload: Any) -> Any:
    """JSON data travels; an object that a hint carries for its own process does not."""
    return payload if isinstance(payload, dict | list | str | int) else None


def decode_hints(data: bytes) -> tuple[str, list[Hint]]:
    """What `encode_hints` made; raises ValueError or TypeError where it did not."""
    sender, rows = orjson.loads(data)
    hints: list[Hint] = []
    for stream, position, keys, payload in rows:
        row: tuple[Any, ...] = (stream, position, tuple(keys), payload)
        hints.append(Hint(*row))
    return sender, hints
