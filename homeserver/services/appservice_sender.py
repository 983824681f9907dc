"""Tells application services what happens: transactions, one after the other, until each has arrived.

How far each has got is durable, and a transaction with events that was once tried is tried again with the same events
under the same id, also by another process. They go to its URL, or over the WebSocket that it has opened to any of the
processes. https://spec.matrix.org/v1.19/application-service-api/#pushing-events
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import HttpClient, HttpFailure
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservice_interest import Interest
from homeserver.services.appservice_news import News, NewsCollector
from homeserver.services.appservice_queue import NotTaken, Queue, TransactionSocket
from homeserver.services.appservice_transactions import Transaction, Transactions
from homeserver.services.appservices import Appservice, Appservices
from storage import appservice_queues
from storage.appservice_queues import QueueRow
from storage.database import Database, Write
from storage.leases import Lease
from storage.rooms import log_position
from storage.streams import Stream

log = logging.getLogger(__name__)

LEASE_MS: Final = 10_000
STEP_S: Final = 1.0
RETRY_MIN_S: Final = 1.0
RETRY_MAX_S: Final = 300.0
# How long a process that was asked to leave an application service to another one does so before it tries again.
_AWAY_MS: Final = 3_000
# How far an application service that nothing concerns may get ahead of what is written down.
_UNWRITTEN: Final = 5_000
# How much may happen that surely does not concern it before it is looked at.
_UNNOTED: Final = 1_000


class AppserviceSender:
    """One per process. Each application service is told by the process that holds its lease: that to which it has
    connected, or else any that can reach its URL."""

    def __init__(
        self,
        database: Database,
        appservices: Appservices,
        transactions: Transactions,
        http: HttpClient,
        clock: Clock,
        randomness: Randomness,
        tasks: Tasks,
        *,
        process_name: str = "main",
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._http = http
        self._clock = clock
        self._randomness = randomness
        self._tasks = tasks
        self._process_name = process_name
        self._queues = {one.id: self._queue(one, transactions.interest(one)) for one in appservices.all}

    async def start(self) -> None:
        """Take up the work where it was left, or stand by. Without application services there is none."""
        if self._queues:
            self._database.bus.subscribe(self._on_hints, self._look_at_everything)
            await self._step()
            self._tasks.loop("application services", self._step, every_s=STEP_S, clock=self._clock)

    async def stop(self) -> None:
        """Note how far each has got, and let another process go on."""
        for queue in self._queues.values():
            async with queue.lock:
                await self._stand_by(queue)

    def try_again(self, appservice: Appservice) -> None:
        """It shows that it is there: do not wait longer for it."""
        self._queues[appservice.id].end_pause()

    def somebody_typed(self, room_id: str) -> None:
        """Somebody began or stopped to type in a room."""
        for queue in self._queues.values():
            if queue.is_running and queue.news.note_typing(room_id):
                queue.wake.set()

    # --- WebSockets

    async def connected(self, appservice: Appservice, socket: TransactionSocket) -> None:
        """It has opened a connection to this process, which is the way to it from now on."""
        queue = self._queues[appservice.id]
        old, queue.socket = queue.socket, socket
        queue.stays_away_until = 0
        if old is not None:
            await old.replaced()
        queue.end_pause()
        await self._step_of(queue)

    async def disconnected(self, appservice: Appservice, socket: TransactionSocket) -> None:
        """That connection is closed."""
        queue = self._queues[appservice.id]
        if queue.socket is socket:
            queue.socket = None
            if appservice.url is None:
                async with queue.lock:
                    await self._stand_by(queue)

    async def _leave_to(self, queue: Queue) -> None:
        """It has connected to another process."""
        socket, queue.socket = queue.socket, None
        queue.stays_away_until = self._clock.now_ms() + _AWAY_MS
        if socket is not None:
            await socket.replaced()
        async with queue.lock:
            await self._stand_by(queue)

    # --- who sends

    async def _step(self) -> None:
        for queue in self._queues.values():
            await self._step_of(queue)

    async def _step_of(self, queue: Queue) -> None:
        """Hold the lease where there is a way to the application service, and take up the work once it is held."""
        if queue.is_running and not self._database.is_shared:
            return
        async with queue.lock:
            if not queue.has_way or not await self._holds_lease(queue):
                await self._stand_by(queue)
            elif not queue.is_running:
                row = queue.row or await self._load(queue.appservice)
                queue.row, queue.news.waiting.is_whole = row, True
                queue.task = self._tasks.start(f"application service {queue.appservice.id}", self._run(queue, row))

    async def _load(self, appservice: Appservice) -> QueueRow:
        """Where it was left; one that was never told anything begins with what happens from now on."""
        async with self._database.read() as tx:
            row = await appservice_queues.queue_of(tx, appservice.id)
        if row is None:
            row = QueueRow(appservice.id, self._database.position)
            await self._database.write(lambda tx: _put(tx, row))
        return row

    async def _holds_lease(self, queue: Queue) -> bool:
        now = self._clock.now_ms()
        if now < queue.stays_away_until:
            return False
        is_held = await queue.lease.hold(now)
        if not is_held and queue.socket is not None:
            hint = Hint(Stream.APPSERVICE_SOCKETS, 0, (queue.appservice.id,), {"fence": queue.lease.fence})
            self._database.bus.publish([hint])
        return is_held

    async def _stand_by(self, queue: Queue) -> None:
        task, queue.task = queue.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._store(queue)
        queue.row = queue.written = None
        await queue.lease.give_up()

    # --- sending

    async def _run(self, queue: Queue, row: QueueRow) -> None:
        queue.interest.begin_anew()
        if row.pending_position is not None:
            transaction = await self._transactions.repeated(row, queue.interest)
            if transaction.events:
                await self._deliver(queue, str(row.txn_id), transaction)
            row = queue.row = replace(row, sent_position=transaction.upto, pending_position=None)
        while True:
            while row.sent_position < self._database.position or queue.news.waiting:
                row = await self._advance(queue, row)
            await queue.wake.wait()
            queue.wake.clear()

    async def _advance(self, queue: Queue, row: QueueRow) -> QueueRow:
        """Tell of what comes next, or find that it concerns it not. Returns how far it is then."""
        news = queue.news.take()
        upto = await self._newest(row, news)
        transaction, left = await self._transactions.next(queue.appservice, row, upto, queue.interest, news)
        queue.news.put_back(left)
        if transaction.events:
            row = replace(row, pending_position=transaction.upto, txn_id=row.txn_id + 1)
            queue.row = row
            await self._store(queue)
            await self._deliver(queue, str(row.txn_id), transaction)
        elif not transaction.is_empty:
            # Nothing here is told again after a restart, so that its id need not be remembered.
            queue.volatile += 1
            await self._deliver(queue, f"{self._process_name}-{queue.volatile}", transaction)
        queue.row = row = replace(row, sent_position=transaction.upto, pending_position=None)
        if queue.written is None or transaction.upto - queue.written.sent_position > _UNWRITTEN:
            await self._store(queue)
        return row

    async def _newest(self, row: QueueRow, news: News) -> int:
        """How far there may be something to tell of: never before what another process told of already."""
        if not news.is_whole:
            return max(row.sent_position, self._database.position)
        async with self._database.read() as tx:
            return await log_position(tx)

    async def _deliver(self, queue: Queue, txn_id: str, transaction: Transaction) -> None:
        """Returns when the transaction has arrived, however long that takes."""
        inside = transaction.inside()
        while True:
            try:
                await self._attempt(queue, txn_id, inside)
                break
            except (NotTaken, HttpFailure) as error:
                fault = error
            queue.pause_s = min(max(queue.pause_s * 2, RETRY_MIN_S), RETRY_MAX_S)
            log.warning(
                "application service %s did not take transaction %s (%s); again in %.0f s",
                queue.appservice.id,
                txn_id,
                fault,
                queue.pause_s,
            )
            await self._pause(queue)
        queue.pause_s = 0.0
        await self._transactions.arrived(queue.appservice, transaction.messages)

    async def _attempt(self, queue: Queue, txn_id: str, inside: bytes) -> None:
        """Raises NotTaken, HttpFailure."""
        appservice = queue.appservice
        if queue.socket is not None:
            await queue.socket.deliver(txn_id, inside)
            return
        if appservice.url is None:
            raise NotTaken("it is not connected")
        url = f"{appservice.url}/_matrix/app/v1/transactions/{quote(txn_id, safe='')}"
        answer = await self._http.send("PUT", url, b"{%b}" % inside, token=appservice.hs_token)
        if not answer.is_success:
            raise NotTaken(f"it answered with {answer.status}")

    async def _pause(self, queue: Queue) -> None:
        """A while, or until there is a sign that it is back."""
        sleep = self._clock.sleep(self._randomness.jitter(queue.pause_s))
        queue.pause = self._tasks.start(f"pause of application service {queue.appservice.id}", sleep)
        try:
            await asyncio.wait([queue.pause])
        finally:
            queue.pause.cancel()
            queue.pause = None

    async def _store(self, queue: Queue) -> None:
        row = queue.row
        if row is None or row == queue.written:
            return
        await self._database.write(lambda tx: _put(tx, row))
        queue.written = row

    # --- news

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        position = self._database.position
        for queue in self._queues.values():
            found = queue.news.note(hints)
            if queue.is_running and (found or _is_behind(queue, position)):
                queue.wake.set()
        for hint in hints:
            if hint.stream == Stream.APPSERVICE_SOCKETS:
                queue = self._queues.get(hint.keys[0])
                # Word that comes late was for whoever had it then: a newer connection is not closed for it.
                if queue is not None and queue.lease.is_held_as(hint.payload["fence"]):
                    self._tasks.start("leave an application service to another process", self._leave_to(queue))

    def _queue(self, appservice: Appservice, interest: Interest) -> Queue:
        lease = Lease(self._database, f"appservice {appservice.id}", self._process_name, LEASE_MS)
        return Queue(appservice, interest, NewsCollector(appservice, interest), lease)

    def _look_at_everything(self) -> None:
        for queue in self._queues.values():
            queue.news.waiting.is_whole = True
            queue.interest.aliases_changed()
            queue.wake.set()


def _is_behind(queue: Queue, position: int) -> bool:
    """Whether so much has passed it by that it should be noted."""
    return queue.row is not None and position - queue.row.sent_position > _UNNOTED


async def _put(tx: Write, row: QueueRow) -> None:
    appservice_queues.store(tx, row)
