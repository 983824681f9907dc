"""Who is typing where. Never stored; ends by itself. https://spec.matrix.org/v1.19/client-server-api/#typing-notifications"""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.events import StoredEvent
from homeserver.services.notifier import Notifier
from storage.streams import Stream

DEFAULT_TIMEOUT_MS = 30_000
_MAX_TIMEOUT_MS = 120_000


@dataclass(slots=True)
class _RoomTyping:
    until: dict[str, float] = field(default_factory=dict)  # user id → end, on the monotonic clock
    stamp: int = 0
    json: bytes = b""


class Typing:
    """One task sleeps until the next end while anybody types; nobody typing costs nothing."""

    def __init__(self, notifier: Notifier, bus: Bus, clock: Clock, tasks: Tasks) -> None:
        self._notifier = notifier
        self._bus = bus
        self._clock = clock
        self._tasks = tasks
        self._rooms: dict[str, _RoomTyping] = {}
        self._ends: list[tuple[float, str, str]] = []
        self.listeners: list[Callable[[str], None]] = []  # told of each room where somebody begins or stops to type
        self._sleeper: asyncio.Task[None] | None = None
        notifier.listeners.append(self._on_hints)

    def set(self, user_id: str, room_id: str, typing: bool, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> None:
        """A local user, who is in the room, types or stops to."""
        timeout_ms = min(max(timeout_ms, 0), _MAX_TIMEOUT_MS)
        self._publish(user_id, room_id, typing, timeout_ms, is_local=True)

    def receive(self, room_id: str, user_id: str, typing: bool) -> None:
        """Another server says that its user, who is in the room, types or stops to."""
        self._publish(user_id, room_id, typing, DEFAULT_TIMEOUT_MS, is_local=False)

    def left(self, room_id: str, user_id: str) -> None:
        """Who leaves the room does not type in it any more."""
        room = self._rooms.get(room_id)
        if room is not None and user_id in room.until:
            self._apply(room_id, user_id, None)

    def users(self, room_id: str) -> list[str]:
        """Who types in the room at the moment."""
        room = self._rooms.get(room_id)
        return [] if room is None else sorted(room.until)

    def changed_since(self, stamp: int, room_ids: Iterable[str]) -> list[str]:
        """Those of the rooms where somebody began or stopped typing after the stamp."""
        if not self._rooms:
            return []
        if len(self._rooms) < 50 and isinstance(room_ids, dict):
            return [room_id for room_id, room in self._rooms.items() if room.stamp > stamp and room_id in room_ids]
        rooms = self._rooms
        return [room_id for room_id in room_ids if room_id in rooms and rooms[room_id].stamp > stamp]

    def event(self, room_id: str) -> bytes:
        """The m.typing event of the room as JSON text."""
        room = self._rooms[room_id]
        if not room.json:
            room.json = orjson.dumps({"type": "m.typing", "content": {"user_ids": sorted(room.until)}})
        return room.json

    def is_anybody_typing(self, room_id: str) -> bool:
        """Whether somebody types in the room at the moment."""
        room = self._rooms.get(room_id)
        return room is not None and bool(room.until)

    def _publish(self, user_id: str, room_id: str, typing: bool, timeout_ms: int, *, is_local: bool) -> None:
        payload = {"user_id": user_id, "typing": typing, "timeout_ms": timeout_ms, "is_local": is_local}
        self._bus.publish([Hint(Stream.TYPING, 0, (room_id,), payload)])

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS and isinstance(hint.payload, StoredEvent) and self._rooms:
                event = hint.payload.event
                if event.state_key is not None and event.membership in ("leave", "ban"):
                    self.left(event.room_id, event.state_key)
            if hint.stream == Stream.TYPING and isinstance(hint.payload, dict):
                end = None
                if hint.payload["typing"]:
                    end = self._clock.monotonic() + hint.payload["timeout_ms"] / 1000
                self._apply(hint.keys[0], hint.payload["user_id"], end)

    def _apply(self, room_id: str, user_id: str, end: float | None) -> None:
        room = self._rooms.get(room_id)
        if room is None:
            if end is None:
                return
            room = self._rooms[room_id] = _RoomTyping()
        was_typing = user_id in room.until
        if end is None:
            room.until.pop(user_id, None)
        else:
            room.until[user_id] = end
            heapq.heappush(self._ends, (end, room_id, user_id))
            if self._sleeper is None or self._sleeper.done():
                self._sleeper = self._tasks.start("typing ends", self._end_typing())
        if was_typing != (end is not None):
            room.stamp = self._notifier.stamp()
            room.json = b""
            self._notifier.wake_room(room_id)
            for listener in self.listeners:
                listener(room_id)
        if len(self._rooms) > 10_000:
            self._forget_quiet_rooms()

    async def _end_typing(self) -> None:
        while self._ends:
            end, room_id, user_id = self._ends[0]
            left = end - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(min(left, 1.0))  # an earlier end may be added meanwhile
                continue
            heapq.heappop(self._ends)
            room = self._rooms.get(room_id)
            if room is not None and room.until.get(user_id) == end:
                self._apply(room_id, user_id, None)

    def _forget_quiet_rooms(self) -> None:
        quiet = [room_id for room_id, room in self._rooms.items() if not room.until]
        for room_id in quiet[: len(quiet) // 2]:
            del self._rooms[room_id]
