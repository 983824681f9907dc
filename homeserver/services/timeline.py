"""Reading a room's history: pages of it, an event with its surroundings, single events.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from homeserver.core.events import MEMBER, StateKey
from homeserver.core.filters import MAX_LIMIT, EventFilter
from homeserver.core.tokens import PaginationToken, SyncToken
from homeserver.services.aggregations import Aggregations
from homeserver.services.client_events import own_request, serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import Access, HistoryAccess, Token
from homeserver.services.room_state import RoomState
from storage import relations, timeline
from storage.database import Database
from storage.timeline import Place

DEFAULT_LIMIT = 10
# How many pages are read for one answer where a filter or the visibility lets little through.
_MAX_ROUNDS = 5


class Backfiller(Protocol):
    """Fetches history that this server lacks from others in the room."""

    async def backfill(self, room_id: str, extremities: Mapping[str, int]) -> None:
        """Store events before these backward extremities (event id → depth), as far as others hand them out in time."""
        ...


class NoBackfill:
    """Where there are no other servers."""

    async def backfill(self, room_id: str, extremities: Mapping[str, int]) -> None:
        return None


class Timeline:
    """Pages are in the order of (depth, position), as the event graph has it."""

    def __init__(
        self,
        db: Database,
        events: Events,
        state: RoomState,
        access: HistoryAccess,
        aggregations: Aggregations,
        backfiller: Backfiller,
    ) -> None:
        self._db = db
        self._events = events
        self._state = state
        self._access = access
        self._aggregations = aggregations
        self._backfiller = backfiller

    async def messages(
        self,
        user_id: str,
        room_id: str,
        *,
        backwards: bool,
        start: Token | None = None,
        stop: Token | None = None,
        limit: int = DEFAULT_LIMIT,
        wanted: EventFilter | None = None,
        device_id: str | None = None,
    ) -> bytes:
        """A page as JSON text. Raises Forbidden for who may not read the room."""
        wanted = wanted or EventFilter()
        limit = min(limit if wanted.limit is None else min(limit, wanted.limit), MAX_LIMIT)
        access = await self._access.to_room(user_id, room_id)
        begin = await self._access.gap(access, start, backwards=backwards)
        # From a point of /sync back: what was received later comes down /sync, however deep in the graph it is.
        upto = start.position if backwards and isinstance(start, SyncToken) else None
        end = None if stop is None else await self._access.gap(access, stop, backwards=backwards)
        if backwards:
            await self._backfill(access, begin, limit)
        shown: list[tuple[StoredEvent, str]] = []
        here, is_over = begin, False
        for _ in range(_MAX_ROUNDS):
            places = await self._page(access, here, end, backwards, limit, wanted, upto)
            for stored, membership in await self._visible(user_id, access, places, wanted):
                if len(shown) < limit:
                    shown.append((stored, membership))
                    here = _beyond(stored.event.depth, stored.position or 0, backwards)
            is_over = len(places) < limit
            if len(shown) >= limit or is_over:
                break
            here = _beyond(places[-1].depth, places[-1].position, backwards)
        # Where a filter leaves events out, only the next page tells that there is nothing more.
        is_filtered = not wanted.is_unrestricted and bool(shown)
        more = not is_over or len(shown) >= limit or is_filtered or (backwards and bool(access.head.missing))
        members = await self._members(access, [stored for stored, _ in shown], wanted)
        chunk = await self._written(shown, access, user_id, device_id)
        page: dict[str, Any] = {"chunk": chunk, "start": str(begin), "state": members}
        if more:
            page["end"] = str(here)
        return orjson.dumps(page)

    async def require_readable(self, user_id: str, room_id: str) -> None:
        """Raises Forbidden for who may read nothing of the room."""
        await self._access.to_room(user_id, room_id)

    async def event(self, user_id: str, room_id: str, event_id: str, device_id: str | None = None) -> bytes:
        """One event as JSON text; raises NotFound also for what the user may not see."""
        access, stored, membership = await self._access.to_event(user_id, room_id, event_id)
        (written,) = await self._written([(stored, membership)], access, user_id, device_id)
        return orjson.dumps(written)

    async def context(
        self,
        user_id: str,
        room_id: str,
        event_id: str,
        *,
        limit: int = DEFAULT_LIMIT,
        wanted: EventFilter | None = None,
        device_id: str | None = None,
    ) -> bytes:
        """An event with what is around it, and the state after the last of it, as JSON text. Raises NotFound."""
        wanted = wanted or EventFilter()
        access, stored, membership = await self._access.to_event(user_id, room_id, event_id)
        limit = min(limit, MAX_LIMIT)
        depth, position = stored.event.depth, stored.position or 0
        at, after = PaginationToken.before(depth, position), PaginationToken.after(depth, position)
        earlier = await self._page(access, at, None, True, limit // 2, wanted) if limit > 1 else []
        later = await self._page(access, after, None, False, limit - limit // 2 - 1, wanted) if limit > 1 else []
        before = await self._visible(user_id, access, earlier, wanted)
        following = await self._visible(user_id, access, later, wanted)
        last = following[-1][0] if following else stored
        shown = [(stored, membership), *before, *following]
        written = await self._written(shown, access, user_id, device_id)
        body = {
            "start": str(_beyond(earlier[-1].depth, earlier[-1].position, True) if earlier else at),
            "end": str(_beyond(later[-1].depth, later[-1].position, False) if later else after),
            "event": written[0],
            "events_before": written[1 : 1 + len(before)],
            "events_after": written[1 + len(before) :],
            "state": await self._state_at(last, [one for one, _ in shown], wanted),
        }
        return orjson.dumps(body)

    async def _visible(
        self, user_id: str, access: Access, places: Sequence[Place], wanted: EventFilter
    ) -> list[tuple[StoredEvent, str]]:
        found = await self._events.get_many([place.event_id for place in places])
        room_id = access.head.room_id
        stored = [
            one
            for place in places
            if (one := found.get(place.event_id)) is not None
            and wanted.allows_event(one.event.type, one.event.sender, one.shown.content, room_id)
        ]
        if wanted.is_about_related and stored:
            ids = [one.event_id for one in stored]
            async with self._db.read() as tx:
                related = await relations.related_by(tx, ids, wanted.related_by_rel_types, wanted.related_by_senders)
            stored = [one for one in stored if one.event_id in related]
        return await self._access.seen(user_id, access, stored)

    # --- pages

    async def _page(
        self,
        access: Access,
        start: PaginationToken,
        stop: PaginationToken | None,
        backwards: bool,
        limit: int,
        wanted: EventFilter,
        upto: int | None = None,
    ) -> list[Place]:
        if limit <= 0:
            return []
        types = wanted.types.patterns if wanted.types is not None and wanted.types.is_exact else None
        async with self._db.read() as tx:
            return await timeline.page(
                tx,
                access.head.room_nid,
                start,
                backwards=backwards,
                limit=limit,
                stop=stop,
                upto=upto,
                types=types,
                senders=wanted.senders,
            )

    async def _backfill(self, access: Access, start: PaginationToken, limit: int) -> None:
        """Where a gap in what this server has lies within the page, ask others first."""
        missing = access.head.missing
        if not missing:
            return
        near = {event_id: depth for event_id, depth in missing.items() if depth <= start.depth + 1}
        if near and max(near.values()) >= start.depth - limit:
            await self._backfiller.backfill(access.head.room_id, near)

    async def _written(
        self, shown: Sequence[tuple[StoredEvent, str]], access: Access, user_id: str, device_id: str | None
    ) -> list[orjson.Fragment]:
        """Events with the reader's memberships at them, as JSON, along with what relates to them."""
        events = [stored for stored, _ in shown]
        related = await self._aggregations.of(await self._aggregations.reader(user_id, access), events)
        return [
            orjson.Fragment(
                serialise(
                    stored,
                    own=own_request(stored, user_id, device_id),
                    membership=membership,
                    relations=related.get(stored.event_id),
                )
            )
            for stored, membership in shown
        ]

    async def _members(
        self, access: Access, shown: Sequence[StoredEvent], wanted: EventFilter
    ) -> list[orjson.Fragment]:
        """Member events of the senders, where members are loaded lazily."""
        if not wanted.lazy_load_members:
            return []
        senders = {stored.event.sender for stored in shown}
        ids = [access.head.state[MEMBER, sender] for sender in senders if (MEMBER, sender) in access.head.state]
        found = await self._events.get_many(ids)
        return [orjson.Fragment(serialise(stored)) for stored in found.values()]

    async def _state_at(
        self, last: StoredEvent, shown: Sequence[StoredEvent], wanted: EventFilter
    ) -> list[orjson.Fragment]:
        state = await self._state.after(last) or {}
        keep: dict[StateKey, str] = dict(state)
        if wanted.lazy_load_members:
            senders = {stored.event.sender for stored in shown}
            keep = {key: event_id for key, event_id in state.items() if key[0] != MEMBER or key[1] in senders}
        found = await self._events.get_many(keep.values())
        return [
            orjson.Fragment(serialise(stored))
            for stored in found.values()
            if wanted.allows_event(stored.event.type, stored.event.sender, stored.shown.content)
        ]


def _beyond(depth: int, position: int, backwards: bool) -> PaginationToken:
    return PaginationToken.before(depth, position) if backwards else PaginationToken.after(depth, position)
