"""Received events that could not be judged, as others could not be asked: they are tried again for a while.

Nobody sends them twice, and a room falls silent after its last event: a lost one would leave this server with another
state than the others. Only memory: what a restart forgets comes with the next event of the room.
"""

from dataclasses import dataclass
from typing import Final

from homeserver.core.events import Event
from homeserver.runtime.clock import Clock
from homeserver.services.receive_pdu import ReceivePdu

MOST: Final = 1_000
TRIES: Final = 5
FIRST_PAUSE_S: Final = 10.0
FACTOR: Final = 4


@dataclass(slots=True)
class _Waiting:
    origin: str
    event: Event
    tries: int
    due: float


class Undecided:
    """Hears of events from `ReceivePdu`, and gives them back to it after pauses that grow."""

    def __init__(self, receive: ReceivePdu, clock: Clock) -> None:
        self._receive = receive
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        receive.on_undecided = self.note

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, origin: str, event: Event) -> None:
        """An event that `origin` sent could not be judged."""
        known = self._waiting.get(event.event_id)
        if known is None and len(self._waiting) < MOST:
            due = self._clock.monotonic() + FIRST_PAUSE_S
            self._waiting[event.event_id] = _Waiting(origin, event, 0, due)

    async def retry(self) -> None:
        """Tries those again whose pause is over."""
        now = self._clock.monotonic()
        for event_id, waiting in list(self._waiting.items()):
            if waiting.due > now:
                continue
            verdict = await self._receive.receive_event(waiting.origin, waiting.event)
            waiting.tries += 1
            if verdict.outcome != "undecided" or waiting.tries >= TRIES:
                del self._waiting[event_id]
            else:
                waiting.due = now + FIRST_PAUSE_S * FACTOR**waiting.tries
