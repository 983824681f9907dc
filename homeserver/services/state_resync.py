"""Reads the state of rooms that were joined without their members, in the background, until they are whole."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.auth_errors import AuthError, MissingEvents
from homeserver.core.events import Event, StateMap
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.complete_room import CompleteRoom, NotNow
from homeserver.services.events import Events
from homeserver.services.fetch_missing import FetchMissing
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.room_heads import PARTIAL, RoomHeads
from homeserver.services.room_state import RoomState
from storage import partial_rooms
from storage.database import Database
from storage.leases import Lease
from storage.partial_rooms import PartialRoom
from storage.streams import Stream

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
SERVERS: Final = 20
"""Servers asked in one round."""
STEP_S: Final = 1.0
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 600.0
LONG_S: Final = 3600.0
"""After this long the operator is told."""
LEASE_MS: Final = 600_000


@dataclass(slots=True)
class _Trouble:
    """A room whose state nobody has told. Times are of the monotonic clock; `asked`: the servers of this round through
    all of the room's."""

    since: float
    tried_at: float
    pause: float
    asked: set[str] = field(default_factory=set)


class StateResync:
    """One per process; a room is read by one process at a time, which holds a lease."""

    def __init__(
        self,
        database: Database,
        client: FederationClient,
        heads: RoomHeads,
        events: Events,
        state: RoomState,
        fetch: FetchMissing,
        complete: CompleteRoom,
        partial: PartialRooms,
        clock: Clock,
        tasks: Tasks,
        *,
        server_name: str,
        process_name: str,
    ) -> None:
        self._database = database
        self._client = client
        self._heads = heads
        self._events = events
        self._state = state
        self._fetch = fetch
        self.complete = complete
        self._partial = partial
        self._clock = clock
        self._tasks = tasks
        self._server_name = server_name
        self._process_name = process_name
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[str] = set()
        self._troubles: dict[str, _Trouble] = {}

    def start(self) -> None:
        """Go on with what was begun before, and with every room that is joined from now on."""
        self._database.bus.subscribe(self._on_hints)
        self._tasks.start("partial rooms", self._look())
        self._tasks.loop("partial rooms", self._step, every_s=STEP_S, clock=self._clock)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES and any(key.startswith(PARTIAL) for key in hint.keys):
                self._tasks.start("partial rooms", self._look())

    async def _step(self) -> None:
        if self._partial.are_any:
            await self._look()

    async def _look(self) -> None:
        async with self._database.read() as tx:
            rooms = await partial_rooms.partial_ones(tx)
        now = self._clock.monotonic()
        for room in rooms:
            trouble = self._troubles.get(room.room_id)
            if room.room_id not in self._under_way and (trouble is None or trouble.tried_at <= now):
                self._under_way.add(room.room_id)
                self._tasks.start("state of a room", self._read(room))

    async def _read(self, room: PartialRoom) -> None:
        lease = Lease(self._database, _lease(room), self._process_name, LEASE_MS)
        try:
            async with self._slots:
                head = await self._heads.get(room.room_id)
                # Who has left the room does without: it goes on if somebody joins again.
                if head is None or not head.hosts.get(self._server_name) or not await lease.hold(self._clock.now_ms()):
                    return
                # Another process may have been quicker, and have given up its lease since.
                servers = self._next_servers(room, list(head.hosts))
                if await self._is_whole(room) or await self._read_from_any(room, servers):
                    self._troubles.pop(room.room_id, None)
                else:
                    self._pause(room, servers)
                await lease.give_up()
        except Exception:
            self._pause(room)
            raise
        finally:
            self._under_way.discard(room.room_id)

    async def _is_whole(self, room: PartialRoom) -> bool:
        async with self._database.read() as tx:
            return await partial_rooms.of_room(tx, room.room_nid) != room

    async def _read_from_any(self, room: PartialRoom, servers: Sequence[str]) -> bool:
        """Whether the room is whole now, or another process's affair."""
        join = await self._events.get(room.join_event_id)
        if join is None:
            return False
        for server in servers:
            try:
                await self.take_over(room, await self.states(server, join.event, vouches=server in room.servers[:1]))
            except (FederationError, MissingEvents, AuthError) as error:
                log.info("no state of %s from %s: %s", room.room_id, server, error)
            else:
                log.info("the state of %s is whole, as told by %s", room.room_id, server)
                return True
        return False

    def _next_servers(self, room: PartialRoom, hosts: Sequence[str]) -> list[str]:
        """The server that was joined through, and others that were not asked for longest: each comes to its turn."""
        others = [name for name in dict.fromkeys((*room.servers, *hosts)) if name != self._server_name]
        trouble = self._troubles.get(room.room_id)
        asked = set[str]() if trouble is None else trouble.asked
        if asked.issuperset(others):
            asked.clear()
        left = sorted((name for name in others[1:] if name not in asked), key=self._client.is_failing)
        return [*others[:1], *left][:SERVERS]

    async def take_over(self, room: PartialRoom, states: Sequence[StateMap]) -> None:
        """The room is whole when this returns. Raises `AuthError`, `MissingEvents`."""
        while True:
            try:
                await self._database.write(
                    lambda tx: self.complete.complete(tx, room, states), rooms=(room.room_nid,)
                )
            except NotNow:
                await asyncio.sleep(0)
            else:
                return

    async def states(self, server: str, join: Event, *, vouches: bool = False) -> list[StateMap]:
        """The states after the events that the join cites. Raises `FederationError`. `vouches`: its word is taken for
        the keys of servers that cannot be reached, as it was when the room was joined through it."""
        try:
            return await self._states_after(server, join, vouches)
        except FederationError as error:
            if error.kind not in ("refused", "malformed"):
                raise
            # Events from before the join need not be given to this server, though their state is.
            log.info("%s does not give what the join to %s cites: %s", server, join.room_id, error)
            return [await self._fetch.state_before(server, join, vouches=vouches)]

    async def _states_after(self, server: str, join: Event, vouches: bool) -> list[StateMap]:
        found = await self._events.get_many(join.prev_events)
        states: list[StateMap] = []
        for event_id in dict.fromkeys(join.prev_events):
            stored = found.get(event_id)
            known = None if stored is None else await self._state.after(stored)
            if known is None:
                known = await self._fetch.state_after(server, join, event_id, vouches=vouches)
            states.append(known)
        return states

    def _pause(self, room: PartialRoom, asked: Sequence[str] = ()) -> None:
        now = self._clock.monotonic()
        trouble = self._troubles.setdefault(room.room_id, _Trouble(now, now, FIRST_PAUSE_S / 2))
        trouble.asked.update(asked)
        trouble.pause = min(trouble.pause * 2, LONGEST_PAUSE_S)
        trouble.tried_at = now + trouble.pause
        if now - trouble.since >= LONG_S:
            hours = (now - trouble.since) / 3600
            log.warning("for %.1f hours no server has told who is in %s", hours, room.room_id)


def _lease(room: PartialRoom) -> str:
    return f"state of room {room.room_nid}"
