"""From outboxes to their servers: one transaction at a time for each, and a bounded number of them in all."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from federation.outbound.outbox import MAX_EDUS, MAX_PDUS, Outbox, WaitingEvent, edu, transaction
from federation.outbound.reachability import Reachability
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from storage import destinations as storage
from storage.database import Database, Write
from storage.destinations import OutboundEdu

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
"""Transactions that are under way at once; servers that wait for their turn are entries in a queue."""
TO_FAILING_AT_ONCE: Final = 50
"""How many of those may be to servers that failed the last time: they mostly time out, and must not hold up others."""
FAR_BEHIND: Final = 500
"""Events that a server may miss and still be sent each of them."""
# Answers that speak of the server rather than of the transaction: it is tried again later.
_LATER: Final = frozenset({None, "M_UNAUTHORIZED"})


class Delivery:
    """Sends what is in outboxes. `emptied` is called with one that has nothing more."""

    def __init__(
        self,
        database: Database,
        client: FederationClient,
        reachability: Reachability,
        clock: Clock,
        tasks: Tasks,
        *,
        server_name: str,
        emptied: Callable[[Outbox], None],
    ) -> None:
        self._database = database
        self._client = client
        self._reachability = reachability
        self._clock = clock
        self._tasks = tasks
        self._server_name = server_name
        self._emptied = emptied
        self._ready: deque[Outbox] = deque()
        self._doubtful: deque[Outbox] = deque()
        self._under_way = self._to_failing = 0
        self.is_open = False
        """Whether anything is sent: only by the process that holds the lease."""

    def open(self) -> None:
        """Begin to send."""
        self.is_open = True

    def close(self) -> None:
        """Send nothing more, but what is under way."""
        self.is_open = False
        for waiting in (self._ready, self._doubtful):
            for outbox in waiting:
                outbox.is_sending = False
            waiting.clear()

    def enqueue(self, outbox: Outbox) -> None:
        """The outbox has something for its server: it is sent when its turn comes."""
        if outbox.is_sending:
            return
        outbox.is_sending = True
        self._line_up(outbox)
        self._start()

    def _line_up(self, outbox: Outbox) -> None:
        is_failing = self._reachability.failing(outbox.server_name) is not None
        (self._doubtful if is_failing else self._ready).append(outbox)

    def _start(self) -> None:
        while self.is_open and self._under_way < AT_ONCE:
            if self._ready:
                outbox, is_doubtful = self._ready.popleft(), False
            elif self._doubtful and self._to_failing < TO_FAILING_AT_ONCE:
                outbox, is_doubtful = self._doubtful.popleft(), True
            else:
                return
            self._under_way += 1
            self._to_failing += is_doubtful
            self._tasks.start(f"sending to {outbox.server_name}", self._take_turn(outbox, is_doubtful))

    async def _take_turn(self, outbox: Outbox, is_doubtful: bool) -> None:
        goes_on = False
        try:
            goes_on = self.is_open and await self._send_one(outbox)
            # Others come first, if any wait.
            while goes_on and self.is_open and not outbox.is_empty and not self._ready:
                goes_on = await self._send_one(outbox)
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._under_way -= 1
            self._to_failing -= is_doubtful
            if goes_on and self.is_open and not outbox.is_empty:
                self._line_up(outbox)
            else:
                outbox.is_sending = False
                if outbox.is_empty:
                    self._emptied(outbox)
            self._start()

    async def _send_one(self, outbox: Outbox) -> bool:
        """Sends one transaction; whether it arrived (or never will) and the next may follow."""
        if outbox.from_database:
            await self._refill(outbox)
        events = [outbox.events[index] for index in range(min(MAX_PDUS, len(outbox.events)))]
        stored = await self._stored_edus(outbox)
        passing = outbox.take_passing(MAX_EDUS - len(stored))
        edus = [edu(item.edu_type, item.content) for item in stored] + passing
        if not events and not edus:
            return not outbox.is_empty
        if not await self._deliver(outbox.server_name, [event.body for event in events], edus):
            return False
        for event in events:
            # The deque may have been given up for the database meanwhile.
            if outbox.events and outbox.events[0] is event:
                outbox.events.popleft()
            outbox.sent_position = max(outbox.sent_position, event.position)
        noted = [event.nid for event in events if event.is_noted]
        if stored or noted:
            await self._database.write(_forgetting(outbox.server_name, noted, stored))
        return True

    async def _deliver(self, server_name: str, pdus: list[bytes], edus: list[bytes]) -> bool:
        now = self._clock.now_ms()
        body = transaction(self._server_name, now, pdus, edus)
        # No id is given out twice; where a backup was played back, the time differs.
        txn_id = f"{now}-{self._database.new_id('transaction')}"
        try:
            results = await self._client.send_transaction(server_name, txn_id, body)
        except FederationError as error:
            if error.kind == "refused" and error.errcode not in _LATER:
                log.warning("%s refused a transaction of %d events: %s", server_name, len(pdus), error.message)
                return True
            self._reachability.failed(server_name)
            log.info("could not send to %s: %s", server_name, error)
            return False
        for event_id, result in results.items():
            if isinstance(result, dict) and "error" in result:
                log.info("%s refused the event %s: %s", server_name, event_id, result["error"])
        return True

    async def _refill(self, outbox: Outbox) -> None:
        """Reads what waits from the database; when that is all, memory takes over."""
        outbox.events.clear()
        outbox.has_missed = False
        async with self._database.read() as tx:
            name, position = outbox.server_name, outbox.sent_position
            # The other server asks for what it missed, as far as it wants it: all of a long outage would take hours.
            outbox.catches_up = outbox.catches_up or await storage.is_far_behind(tx, name, position, FAR_BEHIND)
            read = storage.latest_events_for if outbox.catches_up else storage.events_for
            rows = await read(tx, name, position, MAX_PDUS)
            earlier = await storage.noted_earlier(tx, name, position, MAX_PDUS)
        for row in (*earlier, *rows):
            outbox.events.append(WaitingEvent(row.position, row.nid, row.event_id, row.body, is_noted=True))
        if len(rows) < MAX_PDUS:
            outbox.catches_up = False
            outbox.from_database = outbox.has_missed

    async def _stored_edus(self, outbox: Outbox) -> list[OutboundEdu]:
        if not outbox.has_edus:
            return []
        outbox.has_edus = False
        async with self._database.read() as tx:
            found = await storage.edus_for(tx, outbox.server_name, MAX_EDUS)
        # Asked again after these are gone; what fails to arrive is still there too.
        outbox.has_edus = bool(found) or outbox.has_edus
        return found


def _forgetting(server_name: str, event_nids: list[int], edus: list[OutboundEdu]) -> Any:
    async def forget(tx: Write) -> None:
        for event_nid in event_nids:
            storage.forget_event(tx, server_name, event_nid)
        if edus:
            await storage.forget_edus(tx, server_name, [item.position for item in edus])

    return forget
