"""Full-text search over the rooms that a user is or was in.

https://spec.matrix.org/v1.19/client-server-api/#server-side-search
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from homeserver.core.filters import MAX_LIMIT, EventFilter, InvalidFilter
from homeserver.core.search_words import highlights_of, terms_of
from homeserver.errors import BadJson, Forbidden, InvalidParam
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import HistoryAccess
from homeserver.services.room_reading import RoomReading
from homeserver.services.search_context import ContextWish, SearchContexts
from homeserver.services.search_index import SearchIndex
from homeserver.services.sessions import Requester
from storage import search as storage
from storage.database import Database
from storage.search import Match, SearchQuery

DEFAULT_LIMIT: Final = 10
# How long a search waits for the index to hold what was just said.
_PATIENCE_S: Final = 3.0
_MAX_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page begins: after so many ranked results, or before a place in time. `group`: (key, value)."""

    offset: int = 0
    before: tuple[int, int] | None = None
    group: tuple[str, str] | None = None

    @classmethod
    def parse(cls, token: str | None) -> "Cursor":
        """Raises InvalidParam."""
        if not token:
            return cls()
        try:
            offset, before, group = orjson.loads(base64.urlsafe_b64decode(token.encode() + b"=="))
        except (binascii.Error, ValueError, TypeError):
            raise InvalidParam("next_batch is no token of an earlier search") from None
        numbers = (offset, *(before or ()))
        if not all(type(number) is int and abs(number) < 2**53 for number in numbers) or len(numbers) not in (1, 3):
            raise InvalidParam("next_batch is no token of an earlier search")
        if group is not None and not (isinstance(group, list) and len(group) == 2 and group[0] in _GROUPS):
            raise InvalidParam("next_batch is no token of an earlier search")
        return cls(offset, None if before is None else (before[0], before[1]), None if group is None else tuple(group))

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([self.offset, self.before, self.group])).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class _Found:
    stored: StoredEvent
    membership: str
    rank: float


class Search:
    """Answers searches of messages, names and topics."""

    def __init__(
        self,
        database: Database,
        events: Events,
        access: HistoryAccess,
        index: SearchIndex,
        contexts: SearchContexts,
        rooms: RoomReading,
    ) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._index = index
        self._contexts = contexts
        self._rooms = rooms

    async def room_events(
        self, requester: Requester, criteria: Mapping[str, Any], next_batch: str | None
    ) -> dict[str, Any]:
        """The `room_events` of the answer. Raises BadJson, InvalidParam."""
        wanted = _filter(criteria.get("filter") or {})
        limit = min(wanted.limit or DEFAULT_LIMIT, MAX_LIMIT)
        by_time = criteria.get("order_by") == "recent"
        terms = terms_of(criteria["search_term"])
        cursor = Cursor.parse(next_batch)
        answer: dict[str, Any] = {"count": 0, "highlights": highlights_of(terms), "results": []}
        query = _query(requester.user_id, terms, criteria.get("keys"), wanted, cursor)
        if not terms or query is None:
            return answer
        await self._index.be_fresh(_PATIENCE_S)
        async with self._database.read() as tx:
            answer["count"] = await storage.count(tx, self._database.engine, query)
        found, after = await self._page(query, wanted, cursor, limit, by_time)
        wish = ContextWish.parse(criteria.get("event_context"))
        answer["results"] = [await self._result(requester.user_id, one, wish) for one in found]
        if after is not None:
            answer["next_batch"] = str(after)
        if criteria.get("include_state"):
            answer["state"] = await self._states(requester, found)
        if keys := _group_keys(criteria.get("groupings")):
            answer["groups"] = {key: _groups(key, found, after) for key in keys}
        return answer

    async def _page(
        self, query: SearchQuery, wanted: EventFilter, cursor: Cursor, limit: int, by_time: bool
    ) -> tuple[list[_Found], Cursor | None]:
        """The results, and where the next page begins: None where there is none."""
        found: list[_Found] = []
        at_once = 2 * limit
        for _ in range(_MAX_ROUNDS):
            async with self._database.read() as tx:
                if by_time:
                    matches = await storage.by_time(tx, self._database.engine, query, cursor.before, at_once)
                else:
                    matches = await storage.by_rank(tx, self._database.engine, query, cursor.offset, at_once)
            shown = await self._visible(query.user_id, matches, wanted)
            for match in matches:
                before = (match.sent_at, match.event_nid) if by_time else None
                cursor = replace(cursor, offset=cursor.offset + 1, before=before)
                if match.event_nid in shown:
                    found.append(_Found(*shown[match.event_nid], match.rank))
                    if len(found) == limit:
                        return found, cursor
            if len(matches) < at_once:
                return found, None
        return found, cursor

    async def _visible(
        self, user_id: str, matches: Sequence[Match], wanted: EventFilter
    ) -> dict[int, tuple[StoredEvent, str]]:
        """Those of the matches that the user may see, by nid, with their membership at the event."""
        by_room: dict[str, list[StoredEvent]] = {}
        for stored in (await self._events.get_many_by_nid([match.event_nid for match in matches])).values():
            event = stored.event
            passes = wanted.allows_event(event.type, event.sender, event.content, event.room_id)
            if passes and stored.redacted_because is None:
                by_room.setdefault(event.room_id, []).append(stored)
        shown: dict[int, tuple[StoredEvent, str]] = {}
        for room_id, several in by_room.items():
            try:
                access = await self._access.to_room(user_id, room_id)
            except Forbidden:
                continue
            for stored, membership in await self._access.seen(user_id, access, several):
                shown[stored.nid] = (stored, membership)
        return shown

    async def _result(self, user_id: str, found: _Found, wish: ContextWish | None) -> dict[str, Any]:
        result: dict[str, Any] = {
            "rank": found.rank,
            "result": orjson.Fragment(serialise(found.stored, membership=found.membership)),
        }
        if wish is not None:
            result["context"] = await self._contexts.around(user_id, found.stored, wish)
        return result

    async def _states(self, requester: Requester, found: Sequence[_Found]) -> dict[str, Any]:
        states: dict[str, Any] = {}
        for room_id in dict.fromkeys(one.stored.event.room_id for one in found):
            states[room_id] = orjson.Fragment(await self._rooms.state(requester, room_id))
        return states


_GROUPS: Final = ("room_id", "sender")


def _filter(definition: Mapping[str, Any]) -> EventFilter:
    try:
        return EventFilter.parse(definition)
    except InvalidFilter as error:
        raise BadJson(f"Not a filter: {error}") from None


def _query(
    user_id: str, terms: Sequence[tuple[str, ...]], keys: Sequence[str] | None, wanted: EventFilter, cursor: Cursor
) -> SearchQuery | None:
    """The filter as far as the database narrows it down; None where nothing can be found."""
    rooms, senders = wanted.rooms, wanted.senders
    if cursor.group is not None:
        key, value = cursor.group
        one = frozenset((value,))
        if key == "room_id":
            rooms = one if rooms is None else rooms & one
        else:
            senders = one if senders is None else senders & one
    if any(names is not None and not names for names in (keys, rooms, senders)):
        return None
    return SearchQuery(user_id, terms, keys, rooms, wanted.not_rooms, senders, wanted.not_senders)


def _group_keys(groupings: Mapping[str, Any] | None) -> list[str]:
    groups = (groupings or {}).get("group_by") or []
    return list(dict.fromkeys(group["key"] for group in groups if "key" in group))


def _groups(key: str, found: Sequence[_Found], after: Cursor | None) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for one in found:
        event = one.stored.event
        value = event.room_id if key == "room_id" else event.sender
        group = groups.setdefault(value, {"order": len(groups), "results": []})
        group["results"].append(event.event_id)
        # Ranked results are counted over all groups, so only pages in time can go on within one of them.
        if after is not None and after.before is not None and after.group is None:
            group["next_batch"] = str(replace(after, group=(key, value)))
    return groups
