"""Received events that could not be judged, as others could not be asked: they are tried again for a while.

Nobody sends them twice, and a room falls silent after its last event: a lost one would leave this server with another
state than the others. What their server cannot or does not tell, another in the room may. Only memory: what a restart
forgets comes with the next event of the room.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from homeserver.core.events import Event
from homeserver.runtime.clock import Clock
from homeserver.services.receive_pdu import ReceivePdu
from homeserver.services.room_heads import RoomHeads

MOST: Final = 1_000
MOST_OF_ONE: Final = 100
"""Of one server: events that build on nothing cost it little."""
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

    def __init__(self, receive: ReceivePdu, heads: RoomHeads, clock: Clock, *, server_name: str) -> None:
        self._receive = receive
        self._heads = heads
        self._clock = clock
        self._server_name = server_name
        self._waiting: dict[str, _Waiting] = {}
        self._of_servers: Counter[str] = Counter()
        receive.on_undecided = self.note

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, origin: str, event: Event) -> None:
        """An event that `origin` sent could not be judged."""
        if event.event_id in self._waiting:
            return
        if len(self._waiting) < MOST and self._of_servers[origin] < MOST_OF_ONE:
            due = self._clock.monotonic() + FIRST_PAUSE_S
            self._waiting[event.event_id] = _Waiting(origin, event, 0, due)
            self._of_servers[origin] += 1

    async def retry(self) -> None:
        """Tries those again whose pause is over."""
        now = self._clock.monotonic()
        for event_id, waiting in list(self._waiting.items()):
            if waiting.due > now:
                continue
            is_decided = await self._is_decided(waiting)
            waiting.tries += 1
            if is_decided or waiting.tries >= TRIES:
                self._forget(event_id)
            else:
                waiting.due = now + FIRST_PAUSE_S * FACTOR**waiting.tries

    async def _is_decided(self, waiting: _Waiting) -> bool:
        """Tries the event with its server, and with one other of the room, another one each time."""
        servers = [waiting.origin]
        head = await self._heads.get(waiting.event.room_id)
        others = [] if head is None else head.hosts_besides(waiting.origin, self._server_name)
        if others:
            servers.append(others[waiting.tries % len(others)])
        for server in servers:
            if (await self._receive.receive_event(server, waiting.event)).outcome != "undecided":
                return True
        return False

    def _forget(self, event_id: str) -> None:
        waiting = self._waiting.pop(event_id)
        self._of_servers[waiting.origin] -= 1
        if not self._of_servers[waiting.origin]:
            del self._of_servers[waiting.origin]
