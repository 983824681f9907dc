"""The stream of events from before /sync: still the way to watch a room without joining it.

https://spec.matrix.org/v1.19/client-server-api/#room-previews
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import orjson

from homeserver.core.tokens import SyncToken
from homeserver.errors import NotFound
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import HistoryAccess
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import RoomHeads
from homeserver.services.visibility import Visibility
from storage import event_stream, memberships
from storage.database import Database

_AT_ONCE: Final = 100


class EventStream:
    """Waits for events of the rooms that a user is in, or of one that they may look into."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        events: Events,
        heads: RoomHeads,
        access: HistoryAccess,
        visibility: Visibility,
        *,
        max_wait_s: float,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._events = events
        self._heads = heads
        self._access = access
        self._visibility = visibility
        self._max_wait_s = max_wait_s

    async def wait(self, user_id: str, since: SyncToken | None, timeout_ms: int, room_id: str | None = None) -> bytes:
        """`start`, `end` and the `chunk` of events between them, as JSON text. Raises Forbidden."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(timeout_ms / 1000, self._max_wait_s)
        after = self._notifier.position if since is None else min(since.position, self._notifier.position)
        start = SyncToken(after)
        with self._watching(user_id, room_id):
            while True:
                upto = self._notifier.position
                after, seen = await self._read(user_id, room_id, after, upto)
                left = deadline - loop.time()
                if seen or (left <= 0 and after == upto):
                    break
                if after == self._notifier.position and not await self._notifier.wait(user_id, left):
                    break
        chunk = [orjson.Fragment(serialise(stored, membership=membership)) for stored, membership in seen]
        return orjson.dumps({"start": str(start), "end": str(SyncToken(after)), "chunk": chunk})

    async def room_of(self, event_id: str) -> str:
        """The room of an event; raises NotFound."""
        stored = await self._events.get(event_id)
        if stored is None:
            raise NotFound("There is no such event, or you may not see it")
        return stored.event.room_id

    async def _read(
        self, user_id: str, room_id: str | None, after: int, upto: int
    ) -> tuple[int, list[tuple[StoredEvent, str]]]:
        """What the user may see next, and up to where that is all."""
        access = None if room_id is None else await self._access.to_room(user_id, room_id)
        nids = await self._joined(user_id) if access is None else [access.head.room_nid]
        async with self._database.read() as tx:
            found = await event_stream.between(tx, nids, after, upto, _AT_ONCE)
        stored = await self._events.get_many([event_id for _, event_id in found])
        ordered = [stored[event_id] for _, event_id in found if event_id in stored]
        if access is not None:
            seen = await self._access.seen(user_id, access, ordered)
        else:
            visible = await self._visibility.memberships_of_visible(user_id, ordered, is_joined=True)
            seen = [(one, visible[one.event_id]) for one in ordered if one.event_id in visible]
        return found[-1][0] if len(found) == _AT_ONCE else upto, seen

    async def _joined(self, user_id: str) -> list[int]:
        async with self._database.read() as tx:
            members = await memberships.of_user(tx, user_id, ("join",))
        for member in members:
            self._notifier.follow(user_id, member.room_id)
        return [member.room_nid for member in members]

    @contextmanager
    def _watching(self, user_id: str, room_id: str | None) -> Iterator[None]:
        """Be woken by a room that the user is not in."""
        if room_id is None or user_id in self._notifier.followers(room_id):
            yield
            return
        self._notifier.follow(user_id, room_id)
        try:
            yield
        finally:
            head = self._heads.cached(room_id)
            if head is None or user_id not in head.joined:
                self._notifier.unfollow(user_id, room_id)
