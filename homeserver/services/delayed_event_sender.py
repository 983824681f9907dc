"""Sends delayed events when their time has come: one process at a time, by a lease; the others stand by."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import orjson

from homeserver.errors import MatrixError
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.delayed_events import HINT, SUPERSEDED, Posting, is_superseded
from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHeads
from storage import delayed_events as storage
from storage.database import Database
from storage.delayed_events import DelayedEvent
from storage.leases import Lease
from storage.streams import Stream

log = logging.getLogger(__name__)

LEASE: Final = "delayed events"
LEASE_MS: Final = 10_000
STEP_S: Final = 1.0
AT_ONCE: Final = 100
RETRY_S: Final = 5.0
TIDY_S: Final = 3600.0
# Of what was finalised, so much is kept for who looks back: as the proposal recommends.
KEPT_MS: Final = 7 * 86_400_000
KEPT_OF_USER: Final = 1_000


class Limit(Protocol):
    """`web.rate_limits.RateLimiter`."""

    def check(self, bucket: str, key: str, cost: float = 1.0) -> None: ...


class DelayedEventSender:
    """Sleeps until the next event is due; hints wake it where something earlier was scheduled."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        posting: Posting,
        limit: Limit,
        clock: Clock,
        tasks: Tasks,
        *,
        process_name: str,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._posting = posting
        self._limit = limit
        self._clock = clock
        self._tasks = tasks
        self._lease = Lease(database, LEASE, process_name, LEASE_MS)
        self._wake = asyncio.Event()
        self._next_at: int | None = None
        self._timer: asyncio.Task[None] | None = None
        self._is_active = self._is_stopped = False

    async def start(self) -> None:
        """Send what is overdue, oldest first, and go on from there; or stand by."""
        self._database.bus.subscribe(self._on_hints, self._wake.set)
        await self._step()
        self._tasks.start("delayed events", self._run())
        if self._database.is_shared:
            self._tasks.loop("lease of delayed events", self._step, every_s=STEP_S, clock=self._clock)
        self._tasks.loop("old delayed events", self._tidy, every_s=TIDY_S, clock=self._clock)

    async def stop(self) -> None:
        """Let another process go on."""
        self._is_active, self._is_stopped = False, True
        await self._lease.give_up()

    async def _step(self) -> None:
        holds = not self._is_stopped and await self._lease.hold(self._clock.now_ms())
        if holds and not self._is_active:
            self._wake.set()
        self._is_active = holds

    # --- waiting

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        if not self._is_active:
            return
        for hint in hints:
            if hint.stream == Stream.CACHES:
                for key in hint.keys:
                    if key.startswith(HINT) and self._is_sooner(int(key[len(HINT) :])):
                        self._wake.set()

    def _is_sooner(self, send_at: int) -> bool:
        return self._next_at is None or send_at < self._next_at

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Until it is known which event is next, any that is scheduled is sooner.
            self._next_at = None
            if not self._is_active:
                continue
            try:
                await self._send_due()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("delayed events could not be sent; trying again")
                self._set_timer(self._clock.now_ms() + round(RETRY_S * 1000))

    def _set_timer(self, at_ms: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_at = at_ms
        self._timer = None if at_ms is None else self._tasks.start("next delayed event", self._ring(at_ms))

    async def _ring(self, at_ms: int) -> None:
        while (left_ms := at_ms - self._clock.now_ms()) > 0:
            await self._clock.sleep(left_ms / 1000)
        self._wake.set()

    # --- sending

    async def _send_due(self) -> None:
        while self._is_active:
            now = self._clock.now_ms()
            async with self._database.read() as tx:
                due = await storage.due(tx, now, AT_ONCE)
                next_at = None if due else await storage.next_send_at(tx)
            if not due:
                self._set_timer(next_at)
                return
            by_room: dict[str, list[DelayedEvent]] = {}
            for event in due:
                by_room.setdefault(event.room_id, []).append(event)
            await asyncio.gather(*(self._send_all(events, now) for events in by_room.values()))

    async def _send_all(self, events: Sequence[DelayedEvent], now: int) -> None:
        """Of one room, one after the other."""
        for event in events:
            error = await self._send(event, now)
            if error is not None:
                log.info("a delayed event of %s was not sent: %s", event.user_id, error.get("error"))
                text = orjson.dumps(error)
                await self._database.write(
                    lambda tx, event=event, text=text: storage.finalise(
                        tx, event.delay_id, self._clock.now_ms(), error=text, due_by=now
                    )
                )

    async def _send(self, event: DelayedEvent, now: int) -> Mapping[str, object] | None:
        """None, or why it will not be sent, as a client is told."""
        if await is_superseded(event, self._heads, self._events):
            return SUPERSEDED
        try:
            self._limit.check("message", event.user_id)
            await self._posting.post(event, due_by=now)
        except MatrixError as refusal:
            return refusal.body()
        return None

    async def _tidy(self) -> None:
        if self._is_active:
            before = self._clock.now_ms() - KEPT_MS
            await self._database.write(lambda tx: storage.forget_finalised(tx, before, KEPT_OF_USER))
