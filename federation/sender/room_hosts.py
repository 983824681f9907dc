"""Which servers are in a room: kept for the rooms that were sent to lately."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol

from homeserver.core.events import Event, StateKey
from homeserver.runtime.bus import Hint
from storage import destinations as storage
from storage.database import Database

KNOWN_ROOMS: Final = 5_000


class Committed(Protocol):
    """What a hint of `Stream.EVENTS` carries in the process that wrote the event."""

    event: Event
    nid: int
    room_nid: int
    position: int | None
    rejected: str | None
    is_local: bool
    told_too: tuple[str, ...]
    changed: dict[StateKey, tuple[str | None, str | None]]


class RoomHosts:
    """The servers of rooms, by integer id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hosts: OrderedDict[int, Mapping[str, int]] = OrderedDict()
        self._room_nids: OrderedDict[str, int] = OrderedDict()
        self._times_forgotten = 0

    def clear(self) -> None:
        """Look all of them up again."""
        self._hosts.clear()
        self._times_forgotten += 1

    async def of(self, room_nid: int) -> Mapping[str, int]:
        """The servers that are in the room, this one too, and since which place in the log."""
        hosts = self._hosts.get(room_nid)
        if hosts is None:
            forgotten = self._times_forgotten
            async with self._database.read() as tx:
                hosts = await storage.hosts_of_room(tx, room_nid)
            # What changed while it was read may not be in it: that is not kept for the events to come.
            if forgotten == self._times_forgotten:
                self._hosts[room_nid] = hosts
                if len(self._hosts) > KNOWN_ROOMS:
                    self._hosts.popitem(last=False)
        return hosts

    async def of_room(self, room_id: str) -> tuple[str, ...]:
        """As `of`, by the room's id; empty for a room that is not known."""
        room_nid = self._room_nids.get(room_id)
        if room_nid is None:
            async with self._database.read() as tx:
                room_nid = await storage.room_nid_of(tx, room_id)
            if room_nid is None:
                return ()
            self._room_nids[room_id] = room_nid
            if len(self._room_nids) > KNOWN_ROOMS:
                self._room_nids.popitem(last=False)
        return tuple(await self.of(room_nid))

    def heard(self, hint: Hint) -> None:
        """Who is in a room may have changed: any event may make the state another one."""
        if not carries_event(hint):
            self._hosts.clear()
        elif self._may_move(hint.payload):
            self._hosts.pop(hint.payload.room_nid, None)
        else:
            return
        self._times_forgotten += 1

    def _may_move(self, stored: Committed) -> bool:
        event = stored.event
        if not stored.is_local:
            return True
        if event.type != "m.room.member":
            return False
        # Somebody more of a server that is there changes nothing, if nothing but that has changed.
        server = (event.state_key or "").partition(":")[2]
        is_known = server in self._hosts.get(stored.room_nid, ())
        return not (is_known and event.membership == "join" and stored.changed.keys() <= {event.key})


def carries_event(hint: Hint) -> bool:
    """Whether the hint brings the event itself, as it does in the process that wrote it."""
    return getattr(hint.payload, "event", None) is not None
