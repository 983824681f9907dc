"""Reading a room's history: pages of it, an event with its surroundings, single events.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from homeserver.core.events import MEMBER, StateKey
from homeserver.core.filters import MAX_LIMIT, EventFilter
from homeserver.core.history_visibility import HISTORY_VISIBILITY, visibility_of
from homeserver.core.tokens import PaginationToken, SyncToken
from homeserver.errors import Forbidden, NotFound
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.room_state import RoomState
from homeserver.services.visibility import Visibility
from storage import memberships, timeline
from storage.database import Database
from storage.timeline import Place

Token = SyncToken | PaginationToken
DEFAULT_LIMIT = 10
_BEGINNING = PaginationToken(0, 0)
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


@dataclass(frozen=True, slots=True)
class _Access:
    """What lets a user read a room. `membership` is their last; `left_at`: the position of the event that ended it."""

    head: RoomHead
    membership: str
    left_at: int | None

    @property
    def was_joined(self) -> bool:
        return self.membership == "join" or self.left_at is not None


class Timeline:
    """Pages are in the order of (depth, position), as the event graph has it."""

    def __init__(
        self,
        db: Database,
        notifier: Notifier,
        events: Events,
        heads: RoomHeads,
        state: RoomState,
        visibility: Visibility,
        backfiller: Backfiller,
    ) -> None:
        self._db = db
        self._notifier = notifier
        self._events = events
        self._heads = heads
        self._state = state
        self._visibility = visibility
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
        access = await self._access(user_id, room_id)
        begin = await self._gap(access, start, backwards)
        end = None if stop is None else await self._gap(access, stop, backwards)
        if backwards:
            await self._backfill(access, begin, limit)
        shown: list[tuple[StoredEvent, str]] = []
        here, is_over = begin, False
        for _ in range(_MAX_ROUNDS):
            places = await self._page(access, here, end, backwards, limit, wanted)
            for stored, membership in await self._visible(user_id, access, places, wanted):
                if len(shown) < limit:
                    shown.append((stored, membership))
                    here = _beyond(stored.event.depth, stored.position or 0, backwards)
            is_over = len(places) < limit
            if len(shown) >= limit or is_over:
                break
            here = _beyond(places[-1].depth, places[-1].position, backwards)
        more = not is_over or len(shown) >= limit or (backwards and bool(access.head.missing))
        members = await self._members(access, [stored for stored, _ in shown], wanted)
        chunk = [_written(stored, membership, user_id, device_id) for stored, membership in shown]
        page: dict[str, Any] = {"chunk": chunk, "start": str(begin), "state": members}
        if more:
            page["end"] = str(here)
        return orjson.dumps(page)

    async def event(self, user_id: str, room_id: str, event_id: str, device_id: str | None = None) -> bytes:
        """One event as JSON text; raises NotFound also for what the user may not see."""
        stored, membership = await self._require_visible(user_id, room_id, event_id)
        return serialise(stored, txn_id=_transaction(stored, user_id, device_id), membership=membership)

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
        stored, membership = await self._require_visible(user_id, room_id, event_id)
        access = await self._access(user_id, room_id)
        limit = min(limit, MAX_LIMIT)
        depth, position = stored.event.depth, stored.position or 0
        at, after = PaginationToken.before(depth, position), PaginationToken.after(depth, position)
        earlier = await self._page(access, at, None, True, limit // 2, wanted) if limit > 1 else []
        later = await self._page(access, after, None, False, limit - limit // 2 - 1, wanted) if limit > 1 else []
        before = await self._visible(user_id, access, earlier, wanted)
        following = await self._visible(user_id, access, later, wanted)
        last = following[-1][0] if following else stored
        shown = [one for one, _ in (*before, (stored, membership), *following)]
        body = {
            "start": str(_beyond(earlier[-1].depth, earlier[-1].position, True) if earlier else at),
            "end": str(_beyond(later[-1].depth, later[-1].position, False) if later else after),
            "event": _written(stored, membership, user_id, device_id),
            "events_before": [_written(one, of, user_id, device_id) for one, of in before],
            "events_after": [_written(one, of, user_id, device_id) for one, of in following],
            "state": await self._state_at(last, shown, wanted),
        }
        return orjson.dumps(body)

    # --- who may read

    async def _access(self, user_id: str, room_id: str) -> _Access:
        head = await self._heads.get(room_id)
        if head is None or not head.state:
            raise Forbidden("You are not in this room")
        if user_id in head.joined:
            return _Access(head, "join", None)
        async with self._db.read() as tx:
            member = await memberships.membership_of(tx, room_id, user_id)
        if member is not None and member.membership in ("leave", "ban") and not member.forgotten:
            return _Access(head, member.membership, member.position)
        setting = await self._state.event(room_id, HISTORY_VISIBILITY)
        if setting is not None and visibility_of(setting.event.content) == "world_readable":
            return _Access(head, "leave" if member is None else member.membership, None)
        raise Forbidden("You are not in this room")

    async def _require_visible(self, user_id: str, room_id: str, event_id: str) -> tuple[StoredEvent, str]:
        stored = await self._events.get(event_id)
        if stored is None or stored.event.room_id != room_id or stored.position is None:
            raise NotFound("There is no such event, or you may not see it")
        try:
            access = await self._access(user_id, room_id)
        except Forbidden:
            raise NotFound("There is no such event, or you may not see it") from None
        seen = await self._seen(user_id, access, [stored])
        if not seen:
            raise NotFound("There is no such event, or you may not see it")
        return seen[0]

    async def _visible(
        self, user_id: str, access: _Access, places: Sequence[Place], wanted: EventFilter
    ) -> list[tuple[StoredEvent, str]]:
        found = await self._events.get_many([place.event_id for place in places])
        room_id = access.head.room_id
        stored = [
            one
            for place in places
            if (one := found.get(place.event_id)) is not None
            and wanted.allows_event(one.event.type, one.event.sender, one.shown.content, room_id)
        ]
        return await self._seen(user_id, access, stored)

    async def _seen(
        self, user_id: str, access: _Access, stored: Sequence[StoredEvent]
    ) -> list[tuple[StoredEvent, str]]:
        left_at = access.left_at
        if left_at is not None:
            later = [one for one in stored if (one.position or 0) > left_at]
            earlier = [one for one in stored if (one.position or 0) <= left_at]
            seen = await self._visibility.memberships_of_visible(user_id, earlier, is_joined=True)
            seen |= await self._visibility.memberships_of_visible(user_id, later, is_joined=False)
        else:
            seen = await self._visibility.memberships_of_visible(user_id, stored, is_joined=access.was_joined)
        return [(one, seen[one.event_id]) for one in stored if one.event_id in seen]

    # --- pages

    async def _gap(self, access: _Access, token: Token | None, backwards: bool) -> PaginationToken:
        """The gap in the timeline that a token means; without one the end (or the beginning)."""
        if isinstance(token, PaginationToken):
            return token
        if token is None and not backwards:
            return _BEGINNING
        async with self._db.read() as tx:
            if token is not None:
                place = await timeline.place_at(tx, access.head.room_nid, token.position)
            elif access.left_at is not None:
                place = await timeline.place_at(tx, access.head.room_nid, access.left_at)
            else:
                place = await timeline.last_place(tx, access.head.room_nid)
        return _BEGINNING if place is None else PaginationToken.after(place.depth, place.position)

    async def _page(
        self,
        access: _Access,
        start: PaginationToken,
        stop: PaginationToken | None,
        backwards: bool,
        limit: int,
        wanted: EventFilter,
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
                types=types,
                senders=wanted.senders,
            )

    async def _backfill(self, access: _Access, start: PaginationToken, limit: int) -> None:
        """Where a gap in what this server has lies within the page, ask others first."""
        missing = access.head.missing
        if not missing:
            return
        near = {event_id: depth for event_id, depth in missing.items() if depth <= start.depth + 1}
        if near and max(near.values()) >= start.depth - limit:
            await self._backfiller.backfill(access.head.room_id, near)

    async def _members(
        self, access: _Access, shown: Sequence[StoredEvent], wanted: EventFilter
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


def _transaction(stored: StoredEvent, user_id: str, device_id: str | None) -> str | None:
    if stored.transaction_id is None or stored.device_id != device_id or stored.event.sender != user_id:
        return None
    return stored.transaction_id


def _written(stored: StoredEvent, membership: str, user_id: str, device_id: str | None) -> orjson.Fragment:
    return orjson.Fragment(serialise(stored, txn_id=_transaction(stored, user_id, device_id), membership=membership))
