"""Who has to look again, and up to where: positions, never data.

Hints arrive for every commit of this process and, over the bus, of others. Each durable fact has one place in the
log and one hint, so a missing number means that a hint is on its way or lost. What the notifier shows as `position` has
no such holes below it: whoever reads up to it misses nothing. Events of other processes come without their data; they
are read once, by position, before `position` passes them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from storage.database import Database
from storage.rooms import log_position
from storage.streams import Stream

log = logging.getLogger(__name__)

_PASSING = frozenset({Stream.TYPING, Stream.PRESENCE, Stream.APPSERVICE_SOCKETS, Stream.FEDERATION_CONTACT})
_OF_ROOMS = frozenset({Stream.EVENTS, Stream.RECEIPTS, Stream.TYPING})
_OF_USERS = frozenset(
    {Stream.ACCOUNT_DATA, Stream.PUSH_RULES, Stream.TO_DEVICE, Stream.THREAD_SUBSCRIPTIONS, Stream.MEMBERSHIPS}
)
# How long a hole in the positions may stay before everything is read anew.
_PATIENCE_S = 2.0

Listener = Callable[[Sequence[Hint]], None]
LoadEvents = Callable[[int, int], Awaitable[Sequence[Hint]]]
"""Reads the EVENTS hints of the positions (after, upto], with their StoredEvent as payload."""


class Notifier:
    """Positions, and the requests that wait for them.

    `listeners` hear the hints in the order of positions, before anybody is woken; `on_reset` says that hints were
    lost and that whatever was derived from them is void.
    """

    def __init__(self, db: Database, tasks: Tasks, clock: Clock, *, slow_poll_s: float = 30.0) -> None:
        self.position = db.position
        self.ephemeral = clock.now_us()
        self.is_closing = False
        self.listeners: list[Listener] = []
        self.on_reset: list[Callable[[], None]] = []
        self.load_events: LoadEvents | None = None
        self._db = db
        self._tasks = tasks
        self._clock = clock
        self._ahead: dict[int, Hint] = {}
        self._catching_up = False
        self._hole_task: asyncio.Task[None] | None = None
        self._users_of_room: dict[str, set[str]] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        db.on_commit.append(self._on_hints)
        db.bus.subscribe(_ignore, lambda: tasks.start("notifier reads after a gap", self._read_anew()) and None)
        if db.is_shared:
            tasks.loop("notifier slow poll", self._poll, every_s=slow_poll_s, clock=clock)

    def stamp(self) -> int:
        """The arrival stamp, in microseconds, for a passing fact (typing, presence) that has just been told of."""
        self.ephemeral = max(self.ephemeral + 1, self._clock.now_us())
        return self.ephemeral

    # --- who is interested in which rooms

    def follow(self, user_id: str, room_id: str) -> None:
        """Wake the user for news of the room from now on."""
        self._users_of_room.setdefault(room_id, set()).add(user_id)

    def unfollow(self, user_id: str, room_id: str) -> None:
        """The opposite."""
        users = self._users_of_room.get(room_id)
        if users is not None:
            users.discard(user_id)
            if not users:
                del self._users_of_room[room_id]

    def followers(self, room_id: str) -> set[str]:
        """Users of this process that follow the room. Not to be changed."""
        return self._users_of_room.get(room_id, _NOBODY)

    def followed_rooms(self) -> Iterable[str]:
        """Rooms that somebody in this process follows."""
        return self._users_of_room.keys()

    def is_waiting(self, user_id: str) -> bool:
        """Whether a request of the user waits right now."""
        return user_id in self._waiting

    # --- waiting

    async def wait(self, user_id: str, timeout_s: float) -> bool:
        """Wait until something may be new for the user; False when the time is over or the server stops.

        Nothing can be missed between a look at the memory and this call as long as no await stands between the two.
        """
        if self.is_closing:
            return False
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.setdefault(user_id, set())
        waiting.add(future)
        timer = loop.call_later(timeout_s, _give_up, future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled() and (task := asyncio.current_task()) is not None and not task.cancelling():
                return False
            raise
        finally:
            timer.cancel()
            waiting.discard(future)
            if not waiting and self._waiting.get(user_id) is waiting:
                del self._waiting[user_id]
        return not self.is_closing

    def wake_users(self, user_ids: Iterable[str]) -> None:
        """Have the requests of these users look again."""
        for user_id in user_ids:
            for future in self._waiting.get(user_id, ()):
                if not future.done():
                    future.set_result(None)

    def wake_room(self, room_id: str) -> None:
        """Have everybody look again who follows the room."""
        users = self._users_of_room.get(room_id)
        if users and self._waiting:
            self.wake_users(users & self._waiting.keys())

    def wake_everybody(self) -> None:
        """Have all waiting requests look again."""
        self.wake_users(list(self._waiting))

    def close(self) -> None:
        """End every wait at once, and allow no new ones."""
        self.is_closing = True
        self.wake_everybody()

    # --- hints

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        expected = self.position + 1
        durable = [hint for hint in hints if hint.stream not in _PASSING]
        if len(durable) < len(hints):
            self._apply([hint for hint in hints if hint.stream in _PASSING])
        if not durable:
            return
        in_order = not self._ahead and not self._catching_up
        for hint in durable:
            if not in_order or hint.position != expected or _lacks_data(hint):
                in_order = False
                break
            expected += 1
        if in_order:
            self.position = expected - 1
            self._apply(durable)
            return
        for hint in durable:
            if hint.position > self.position:
                self._ahead[hint.position] = hint
        self._advance()

    def _advance(self) -> None:
        """Take what follows the position without a hole; start reading what came without data."""
        if self._catching_up:
            return
        ready: list[Hint] = []
        while (hint := self._ahead.get(self.position + 1 + len(ready))) is not None:
            ready.append(hint)
        if not ready:
            if self._ahead and self._hole_task is None:
                self._hole_task = self._tasks.start("notifier waits for a hint", self._wait_for_hole(self.position))
            return
        for hint in ready:
            del self._ahead[hint.position]
        if any(_lacks_data(hint) for hint in ready) and self.load_events is not None:
            self._catching_up = True
            self._tasks.start("notifier reads events", self._catch_up(ready))
            return
        self.position = ready[-1].position
        self._apply(ready)
        self._advance()

    async def _catch_up(self, hints: list[Hint]) -> None:
        assert self.load_events is not None
        try:
            loaded = {h.position: h for h in await self.load_events(hints[0].position - 1, hints[-1].position)}
        except Exception:
            self._catching_up = False
            self.reset()
            raise
        self._catching_up = False
        if hints[-1].position > self.position:
            self.position = hints[-1].position
            self._apply([loaded.get(hint.position, hint) for hint in hints])
        self._advance()

    async def _wait_for_hole(self, position: int) -> None:
        await self._give_up_on_hints(position)
        self._hole_task = None

    async def _give_up_on_hints(self, position: int) -> None:
        """Where those after a position do not come: whoever else in this process listens has missed them, too."""
        await self._clock.sleep(_PATIENCE_S)
        if self.position == position and not self._catching_up:
            log.warning("hints after position %d were lost; reading anew", position)
            self._db.bus.gap()

    async def _read_anew(self) -> None:
        async with self._db.read() as tx:
            newest = await log_position(tx)
        self.reset(newest)

    async def _poll(self) -> None:
        before = self.position
        async with self._db.read() as tx:
            newest = await log_position(tx)
        if newest > self.position == before and not self._ahead and not self._catching_up:
            await self._give_up_on_hints(before)

    def reset(self, position: int = 0) -> None:
        """Hints were lost: forget what was derived from them, and have everybody read from the database."""
        self.position = max(self.position, position, self._db.position, *self._ahead, 0)
        self._ahead.clear()
        for forget in self.on_reset:
            forget()
        self.wake_everybody()

    def _apply(self, hints: Sequence[Hint]) -> None:
        for listener in self.listeners:
            listener(hints)
        if not self._waiting:
            return
        for hint in hints:
            if hint.stream in _OF_ROOMS:
                if hint.keys:
                    self.wake_room(hint.keys[0])
                if len(hint.keys) > 1:
                    self.wake_users(hint.keys[1:])
            elif hint.stream in _OF_USERS:
                self.wake_users(hint.keys)


def _lacks_data(hint: Hint) -> bool:
    return hint.stream == Stream.EVENTS and hint.payload is None


def _ignore(_hints: list[Hint]) -> None:
    """Hints are heard of by way of the database."""


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.cancel()


_NOBODY: set[str] = set()
