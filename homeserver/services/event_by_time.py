"""The event closest to a time, for clients that jump to a date.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from typing import Any, Final, Protocol

from homeserver.errors import NotFound
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import Access, HistoryAccess
from homeserver.services.room_heads import RoomHead
from storage import event_times
from storage.database import Database
from storage.event_times import Moment

# How many events are looked at for one that the user may see: rounds, and events in each.
_ROUNDS: Final = 10
_AT_ONCE: Final = 50


class RemoteTimes(Protocol):
    """What other servers know of a room's history."""

    async def closest(self, head: RoomHead, timestamp: int, *, backwards: bool) -> str | None:
        """The id of the closest event that another server has, which is stored here when this returns."""
        ...


class NoRemoteTimes:
    """Where there are no other servers."""

    async def closest(self, head: RoomHead, timestamp: int, *, backwards: bool) -> str | None:
        return None


class EventByTime:
    """Looks at what this server has, then, where that has gaps, at what others have."""

    def __init__(self, database: Database, events: Events, access: HistoryAccess, remote: RemoteTimes) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._remote = remote

    async def find(self, user_id: str, room_id: str, timestamp: int, *, backwards: bool) -> dict[str, Any]:
        """The event at the time or next to it, and when it happened. Raises Forbidden, NotFound."""
        access = await self._access.to_room(user_id, room_id)
        found = await self._local(user_id, access, timestamp, backwards)
        if access.head.missing and not await self._is_certain(access.head, found, timestamp, backwards):
            remote = await self._remote_event(user_id, access, timestamp, backwards)
            if remote is not None and (found is None or _is_closer(remote, found, backwards)):
                found = remote
        if found is None:
            raise NotFound(f"There is no event {'before' if backwards else 'after'} {timestamp}")
        return {"event_id": found.event_id, "origin_server_ts": found.event.origin_server_ts}

    async def _local(self, user_id: str, access: Access, timestamp: int, backwards: bool) -> StoredEvent | None:
        beyond: Moment | None = None
        for _ in range(_ROUNDS):
            async with self._database.read() as tx:
                moments = await event_times.closest(
                    tx, access.head.room_nid, timestamp, backwards=backwards, limit=_AT_ONCE, beyond=beyond
                )
            stored = await self._events.get_many([moment.event_id for moment in moments])
            seen = await self._access.seen(
                user_id, access, [stored[m.event_id] for m in moments if m.event_id in stored]
            )
            if seen:
                return seen[0][0]
            if len(moments) < _AT_ONCE:
                return None
            beyond = moments[-1]
        return None

    async def _is_certain(self, head: RoomHead, found: StoredEvent | None, timestamp: int, backwards: bool) -> bool:
        """Whether nothing closer can be missing: all that this server lacks is older than what is around the time."""
        gap = max(head.missing.values())
        if backwards:
            return found is not None and found.event.depth >= gap
        async with self._database.read() as tx:
            before = await event_times.closest(tx, head.room_nid, timestamp - 1, backwards=True, limit=1)
        return bool(before) and before[0].depth >= gap

    async def _remote_event(self, user_id: str, access: Access, timestamp: int, backwards: bool) -> StoredEvent | None:
        event_id = await self._remote.closest(access.head, timestamp, backwards=backwards)
        stored = None if event_id is None else await self._events.get(event_id)
        if stored is None or stored.room_nid != access.head.room_nid or stored.position is None:
            return None
        is_beyond = (
            stored.event.origin_server_ts > timestamp if backwards else stored.event.origin_server_ts < timestamp
        )
        if is_beyond or not await self._access.seen(user_id, access, [stored]):
            return None
        return stored


def _is_closer(remote: StoredEvent, found: StoredEvent, backwards: bool) -> bool:
    if backwards:
        return remote.event.origin_server_ts > found.event.origin_server_ts
    return remote.event.origin_server_ts < found.event.origin_server_ts
