"""Tells application services what happens: transactions, one after the other, until each has arrived.

How far each has got is durable, and a transaction that was once tried is tried again with the same events under the
same id, also by another process. https://spec.matrix.org/v1.19/application-service-api/#pushing-events
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote

from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import HttpClient, HttpFailure
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservice_interest import Interest
from homeserver.services.appservices import Appservice, Appservices
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.room_heads import RoomHeads
from storage import appservice_queues
from storage.appservice_queues import QueueRow
from storage.database import Database, Write
from storage.leases import LeaseTaken, give_up_lease, take_lease
from storage.streams import Stream

log = logging.getLogger(__name__)

MAX_EVENTS: Final = 100
LEASE: Final = "appservices"
LEASE_MS: Final = 10_000
STEP_S: Final = 1.0
RETRY_MIN_S: Final = 1.0
RETRY_MAX_S: Final = 300.0
# How far an application service that nothing concerns may get ahead of what is written down.
_UNWRITTEN: Final = 5_000


@dataclass(slots=True)
class _Queue:
    """`row` is what is true, `written` what the database knows; `pause_s` grows while the other side fails."""

    appservice: Appservice
    interest: Interest
    row: QueueRow
    written: QueueRow
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pause_s: float = 0.0


class AppserviceSender:
    """One per process; of several processes the one that holds the lease sends, the others wait to take over."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        appservices: Appservices,
        http: HttpClient,
        clock: Clock,
        randomness: Randomness,
        tasks: Tasks,
        *,
        process_name: str = "main",
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._appservices = [appservice for appservice in appservices.all if appservice.url is not None]
        self._http = http
        self._clock = clock
        self._randomness = randomness
        self._tasks = tasks
        self._process_name = process_name
        self._queues: list[_Queue] = []
        self._running: list[asyncio.Task[None]] = []
        self._lease_until = 0

    async def start(self) -> None:
        """Take up the work where it was left, or stand by. Without application services that listen there is none."""
        if self._appservices:
            self._database.bus.subscribe(self._on_hints, self._wake_all)
            await self._step()
            self._tasks.loop("application services", self._step, every_s=STEP_S, clock=self._clock)

    async def stop(self) -> None:
        """Note how far each has got, and let another process go on."""
        self._stand_by()
        await self._store([queue for queue in self._queues if queue.row != queue.written])
        if self._lease_until and self._database.is_shared:
            await self._database.write(lambda tx: give_up_lease(tx, LEASE, self._process_name))

    async def _step(self) -> None:
        """Hold the lease, and take up the work once it is held."""
        if not await self._holds_lease():
            self._stand_by()
        elif not self._running or any(task.done() for task in self._running):
            self._stand_by()
            self._queues = [await self._load(appservice) for appservice in self._appservices]
            self._running = [
                self._tasks.start(f"application service {queue.appservice.id}", self._run(queue))
                for queue in self._queues
            ]

    async def _holds_lease(self) -> bool:
        now = self._clock.now_ms()
        if not self._database.is_shared or self._lease_until - now > LEASE_MS // 2:
            return True
        try:
            fence = await self._database.write(lambda tx: take_lease(tx, LEASE, self._process_name, now, LEASE_MS))
        except LeaseTaken:
            fence = None
        self._lease_until = 0 if fence is None else now + LEASE_MS
        return fence is not None

    def _stand_by(self) -> None:
        for task in self._running:
            task.cancel()
        self._running = []

    async def _load(self, appservice: Appservice) -> _Queue:
        """Where it was left; one that was never told anything begins with what happens from now on."""
        async with self._database.read() as tx:
            row = await appservice_queues.queue_of(tx, appservice.id)
        if row is None:
            row = QueueRow(appservice.id, self._database.position)
        queue = _Queue(appservice, Interest(appservice, self._database, self._heads), row, row)
        queue.wake.set()
        return queue

    async def _run(self, queue: _Queue) -> None:
        while True:
            await queue.wake.wait()
            queue.wake.clear()
            while queue.row.pending_position is not None or queue.row.sent_position < self._database.position:
                await self._advance(queue)

    async def _advance(self, queue: _Queue) -> None:
        """Tell of the next events, or find that they concern it not."""
        row = queue.row
        is_repeated = row.pending_position is not None
        upto = self._database.position if row.pending_position is None else row.pending_position
        async with self._database.read() as tx:
            found = await appservice_queues.events_after(tx, row.sent_position, upto, MAX_EVENTS)
        if len(found) == MAX_EVENTS:
            upto = found[-1][0]
        stored = await self._events.get_many_by_nid([nid for _, nid in found])
        concerning = [stored[nid] for _, nid in found if nid in stored and await queue.interest.covers(stored[nid])]
        if concerning:
            if not is_repeated:
                queue.row = replace(row, pending_position=upto, txn_id=row.txn_id + 1)
                await self._store([queue])
            await self._deliver(queue, concerning)
        queue.row = replace(queue.row, sent_position=upto, pending_position=None)
        if upto - queue.written.sent_position > _UNWRITTEN:
            await self._store([queue])

    async def _deliver(self, queue: _Queue, events: Sequence[StoredEvent]) -> None:
        """Returns when the transaction has arrived, however long that takes."""
        appservice = queue.appservice
        url = f"{appservice.url}/_matrix/app/v1/transactions/{quote(str(queue.row.txn_id), safe='')}"
        body = b'{"events":[' + b",".join(serialise(stored) for stored in events) + b"]}"
        while True:
            try:
                answer = await self._http.send("PUT", url, body, token=appservice.hs_token)
                if answer.is_success:
                    queue.pause_s = 0.0
                    return
                fault = f"it answered with {answer.status}"
            except HttpFailure as error:
                fault = str(error)
            queue.pause_s = min(max(queue.pause_s * 2, RETRY_MIN_S), RETRY_MAX_S)
            log.warning(
                "application service %s did not take transaction %d (%s); again in %.0f s",
                appservice.id,
                queue.row.txn_id,
                fault,
                queue.pause_s,
            )
            await self._clock.sleep(self._randomness.jitter(queue.pause_s))

    async def _store(self, queues: Sequence[_Queue]) -> None:
        if not queues:
            return
        rows = [queue.row for queue in queues]

        async def operation(tx: Write) -> None:
            for row in rows:
                appservice_queues.store(tx, row)

        await self._database.write(operation)
        for queue, row in zip(queues, rows, strict=True):
            queue.written = row

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        if any(hint.stream == Stream.EVENTS for hint in hints):
            self._wake_all()

    def _wake_all(self) -> None:
        for queue in self._queues:
            queue.wake.set()
