"""One application service's queue in this process: what it was told, what waits, and the way to it."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from homeserver.services.appservice_interest import Interest
from homeserver.services.appservice_news import NewsCollector
from homeserver.services.appservices import Appservice
from storage.appservice_queues import QueueRow
from storage.leases import Lease


class NotTaken(Exception):
    """The application service did not take a transaction; the message says why."""


class TransactionSocket(Protocol):
    """A connection that an application service has opened to be told over it."""

    async def deliver(self, txn_id: str, inside: bytes) -> None:
        """Send a transaction (`inside`: its JSON body without the braces) and wait until it is acknowledged. Raises
        NotTaken."""
        ...

    async def replaced(self) -> None:
        """Close it: the application service has opened another one."""
        ...


@dataclass(slots=True, eq=False)
class Queue:
    """`row` is what is true, `written` what the database knows; None: not read yet. `pause_s` grows while the other
    side fails."""

    appservice: Appservice
    interest: Interest
    news: NewsCollector
    lease: Lease
    row: QueueRow | None = None
    written: QueueRow | None = None
    socket: TransactionSocket | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # while it is taken up or left
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    pause: asyncio.Task[None] | None = None
    pause_s: float = 0.0
    volatile: int = 0
    stays_away_until: int = 0

    @property
    def has_way(self) -> bool:
        """Whether this process can reach it."""
        return self.socket is not None or self.appservice.url is not None

    @property
    def is_running(self) -> bool:
        return self.task is not None and not self.task.done()

    def end_pause(self) -> None:
        """Try again at once: there is a sign that it is back."""
        if self.pause is not None:
            self.pause.cancel()
