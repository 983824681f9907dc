"""Hints between processes: "stream S has reached position P, and these keys changed". The database holds the truth.

Every subscriber hears a hint of its own process once, at once and in order. Hints of other processes (`bus_redis`)
arrive at most once: one that is lost delays, since whoever waits also looks by itself now and then, but never
corrupts.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hint:
    """Something became visible in the database at `position` of `stream`.

    `keys` are the room ids, user ids or whatever the stream is read by. `payload` as JSON data only for what is never
    stored: typing and presence. Any other object is seen by its own process alone: it spares that process a read.
    """

    stream: str
    position: int
    keys: tuple[str, ...] = ()
    payload: Any = None


HintCallback = Callable[[list[Hint]], None]
GapCallback = Callable[[], None]


class Bus:
    """The bus of a single process: publishing calls the subscribers, there and then."""

    def __init__(self) -> None:
        self._subscribers: list[tuple[HintCallback, GapCallback | None]] = []

    def subscribe(self, callback: HintCallback, on_gap: GapCallback | None = None) -> Callable[[], None]:
        """Have `callback` called with every list of hints; returns what ends the subscription.

        `on_gap` is called after hints may have been lost (a reconnection): look at the database now.
        """
        entry = (callback, on_gap)
        self._subscribers.append(entry)

        def unsubscribe() -> None:
            if entry in self._subscribers:
                self._subscribers.remove(entry)

        return unsubscribe

    def publish(self, hints: list[Hint]) -> None:
        """Tell everybody. Never blocks and never raises: the write it follows has happened."""
        if hints:
            self._deliver(hints)

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Forget the subscribers."""
        self._subscribers.clear()

    def _deliver(self, hints: list[Hint]) -> None:
        for callback, _ in tuple(self._subscribers):
            try:
                callback(hints)
            except Exception:
                log.exception("a subscriber of the bus failed")

    def gap(self) -> None:
        """Hints may have been lost: have every subscriber look at the database."""
        for _, on_gap in tuple(self._subscribers):
            if on_gap is not None:
                on_gap()
