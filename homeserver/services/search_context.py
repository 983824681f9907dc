"""What was said around a message that a search has found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from homeserver.core.events import MEMBER
from homeserver.core.tokens import PaginationToken
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import HistoryAccess
from homeserver.services.room_state import RoomState
from storage import timeline
from storage.database import Database
from storage.timeline import Place

_DEFAULT: Final = 5
_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class ContextWish:
    """How many events before and after a result are wanted, and whether the profiles of their senders."""

    before: int
    after: int
    include_profile: bool

    @classmethod
    def parse(cls, body: Mapping[str, Any] | None) -> "ContextWish | None":
        """The `event_context` of a search; None where none is wanted."""
        if body is None:
            return None
        given = (body.get(name) for name in ("before_limit", "after_limit"))
        before, after = (_DEFAULT if limit is None else max(0, min(int(limit), _MAX)) for limit in given)
        return cls(before, after, bool(body.get("include_profile")))


class SearchContexts:
    """Reads the surroundings of results."""

    def __init__(self, database: Database, events: Events, access: HistoryAccess, state: RoomState) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._state = state

    async def around(self, user_id: str, stored: StoredEvent, wish: ContextWish) -> dict[str, Any]:
        """The events nearest to a result that the user may see, nearest first, and tokens for what is beyond them."""
        depth, position = stored.event.depth, stored.position or 0
        start, end = PaginationToken.before(depth, position), PaginationToken.after(depth, position)
        async with self._database.read() as tx:
            earlier = await timeline.page(tx, stored.room_nid, start, backwards=True, limit=wish.before)
            later = await timeline.page(tx, stored.room_nid, end, backwards=False, limit=wish.after)
        before = await self._shown(user_id, stored.event.room_id, earlier)
        after = await self._shown(user_id, stored.event.room_id, later)
        if earlier:
            start = PaginationToken.before(earlier[-1].depth, earlier[-1].position)
        if later:
            end = PaginationToken.after(later[-1].depth, later[-1].position)
        context: dict[str, Any] = {
            "start": str(start),
            "end": str(end),
            "events_before": [_written(*one) for one in before],
            "events_after": [_written(*one) for one in after],
        }
        if wish.include_profile:
            context["profile_info"] = await self._profiles([stored, *(one for one, _ in (*before, *after))])
        return context

    async def _shown(self, user_id: str, room_id: str, places: Sequence[Place]) -> list[tuple[StoredEvent, str]]:
        found = await self._events.get_many([place.event_id for place in places])
        stored = [found[place.event_id] for place in places if place.event_id in found]
        return await self._access.seen(user_id, await self._access.to_room(user_id, room_id), stored)

    async def _profiles(self, several: Iterable[StoredEvent]) -> dict[str, Any]:
        """What the senders were called when they sent these events; of several names the nearest to the result."""
        members: dict[str, str] = {}
        for stored in several:
            sender = stored.event.sender
            if sender not in members and (member := await self._state.entry_before(stored, (MEMBER, sender))):
                members[sender] = member
        found = await self._events.get_many(members.values())
        return {
            sender: {
                name: value
                for name in ("displayname", "avatar_url")
                if isinstance(value := found[event_id].shown.content.get(name), str)
            }
            for sender, event_id in members.items()
            if event_id in found
        }


def _written(stored: StoredEvent, membership: str) -> orjson.Fragment:
    return orjson.Fragment(serialise(stored, membership=membership))
