"""Which rooms were joined without their members and are not whole yet, and waiting until they are.

In memory, as /sync asks without I/O; in step with the positions that the notifier shows.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Container, Sequence

from homeserver.errors import Unknown
from homeserver.runtime.bus import Hint
from homeserver.runtime.tasks import Tasks
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import PARTIAL, WHOLE, RoomHeads
from storage import partial_rooms
from storage.database import Database
from storage.streams import Stream

MAX_WAIT_S = 300.0


class PartialRooms:
    """Follows the log."""

    def __init__(
        self, database: Database, notifier: Notifier, heads: RoomHeads, tasks: Tasks, *, server_name: str
    ) -> None:
        self._database = database
        self._heads = heads
        self._tasks = tasks
        self._server_name = server_name
        self._partial: set[str] = set()
        # Room id → since when it is whole, the latest last.
        self._whole_at: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._news = 0
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._read_soon)

    async def load(self) -> None:
        """Read them. To be called before anybody asks."""
        while True:
            news = self._news
            async with self._database.read() as tx:
                progress = await partial_rooms.progress(tx)
            if news == self._news:  # otherwise what was read may be of before them
                break
        self._partial = {room_id for room_id, whole_at in progress.items() if whole_at is None}
        whole = [(room_id, whole_at) for room_id, whole_at in progress.items() if whole_at is not None]
        self._whole_at = OrderedDict(sorted(whole, key=lambda room: room[1]))
        for room_id in list(self._waiting):
            self._wake(room_id)

    @property
    def are_any(self) -> bool:
        """Whether any room is partial."""
        return bool(self._partial)

    def is_partial(self, room_id: str) -> bool:
        """Whether the members of the room are not all known."""
        return room_id in self._partial

    def whole_since(self, position: int, room_ids: Container[str]) -> list[str]:
        """Those of the rooms that became whole after a position."""
        found: list[str] = []
        for room_id in reversed(self._whole_at):
            if self._whole_at[room_id] <= position:
                break
            if room_id in room_ids:
                found.append(room_id)
        return found

    def became_whole(self, room_id: str, after: int) -> bool:
        """Whether the room became whole after a position."""
        return self._whole_at.get(room_id, 0) > after

    async def wait(self, room_id: str) -> None:
        """Returns when the room is whole, or this server is no longer in it. Raises `Unknown` when that takes long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_WAIT_S
        while await self._is_awaited(room_id):
            future: asyncio.Future[None] = loop.create_future()
            waiting = self._waiting.setdefault(room_id, set())
            waiting.add(future)
            try:
                await asyncio.wait_for(future, max(0.0, deadline - loop.time()))
            except TimeoutError as error:
                raise Unknown("The members of the room are still being read") from error
            finally:
                waiting.discard(future)
                if not waiting and self._waiting.get(room_id) is waiting:
                    del self._waiting[room_id]

    async def _is_awaited(self, room_id: str) -> bool:
        if room_id not in self._partial:
            return False
        head = await self._heads.get(room_id)
        # Looked at again: somebody may have been told of it while the head was read.
        return head is not None and bool(head.hosts.get(self._server_name)) and room_id in self._partial

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES:
                for key in hint.keys:
                    self._on_key(key, hint.position)
            elif hint.stream == Stream.EVENTS and self._waiting and hint.keys and hint.keys[0] in self._waiting:
                self._wake(hint.keys[0])

    def _on_key(self, key: str, position: int) -> None:
        if key.startswith(PARTIAL):
            room_id = key[len(PARTIAL) :]
            self._news += 1
            self._partial.add(room_id)
            self._whole_at.pop(room_id, None)
        elif key.startswith(WHOLE):
            room_id = key[len(WHOLE) :]
            self._news += 1
            self._partial.discard(room_id)
            self._whole_at[room_id] = position
            self._whole_at.move_to_end(room_id)
            self._wake(room_id)

    def _wake(self, room_id: str) -> None:
        for future in self._waiting.get(room_id, ()):
            if not future.done():
                future.set_result(None)

    def _read_soon(self) -> None:
        self._news += 1
        self._tasks.start("partial rooms are read again", self.load())
