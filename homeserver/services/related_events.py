"""Pages of what relates to an event, and of a room's threads.

https://spec.matrix.org/v1.19/client-server-api/#relationships-api, #querying-threads-in-a-room
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from homeserver.core.tokens import PaginationToken
from homeserver.services.aggregations import Aggregations, Reader
from homeserver.services.client_events import own_request, serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import HistoryAccess, Token
from storage import relations
from storage.database import Database
from storage.relations import Child

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
# What relates to what relates to … the event, so many times.
RECURSION = 4


class RelatedEvents:
    """Answers are in the order of the timeline, filtered by what the user may see."""

    def __init__(self, database: Database, events: Events, access: HistoryAccess, aggregations: Aggregations) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._aggregations = aggregations

    async def page(
        self,
        user_id: str,
        room_id: str,
        event_id: str,
        *,
        rel_type: str | None = None,
        event_type: str | None = None,
        backwards: bool = True,
        start: Token | None = None,
        stop: Token | None = None,
        limit: int = DEFAULT_LIMIT,
        recurse: bool | None = None,
        device_id: str | None = None,
    ) -> bytes:
        """What relates to an event, as JSON text. Raises NotFound where there is no such event for the user."""
        access, parent, _ = await self._access.to_event(user_id, room_id, event_id)
        begin = await self._access.gap(access, start, backwards=backwards)
        end = None if stop is None else await self._access.gap(access, stop, backwards=backwards)
        limit = min(limit, MAX_LIMIT)
        async with self._database.read() as tx:
            children = await relations.page(
                tx,
                parent.room_nid,
                event_id,
                begin,
                backwards=backwards,
                limit=limit + 1,
                stop=end,
                rel_type=rel_type,
                event_type=event_type,
                levels=RECURSION if recurse else 1,
            )
        reader = await self._aggregations.reader(user_id, access)
        found = await self._events.get_many(
            [child.event_id for child in children[:limit] if child.sender not in reader.ignored]
        )
        seen = await self._access.seen(user_id, access, list(found.values()))
        answer: dict[str, Any] = {"chunk": await self._written(reader, seen, device_id)}
        if len(children) > limit:
            answer["next_batch"] = str(_beyond(children[limit - 1], backwards))
        if start is not None:
            answer["prev_batch"] = str(begin)
        if recurse is not None:
            answer["recursion_depth"] = RECURSION if recurse else 1
        return orjson.dumps(answer)

    async def threads(
        self,
        user_id: str,
        room_id: str,
        *,
        participated: bool = False,
        start: PaginationToken | None = None,
        limit: int = DEFAULT_LIMIT,
        device_id: str | None = None,
    ) -> bytes:
        """The roots of the room's threads, the thread with the latest event first. Raises Forbidden."""
        access = await self._access.to_room(user_id, room_id)
        reader = await self._aggregations.reader(user_id, access)
        limit = min(limit, MAX_LIMIT)
        async with self._database.read() as tx:
            last = await relations.threads(
                tx,
                access.head.room_nid,
                start,
                limit=limit + 1,
                upto=access.left_at,
                ignored=reader.ignored,
                participant=user_id if participated else None,
            )
        found = await self._events.get_many([child.relates_to for child in last[:limit]])
        roots = [stored for stored in found.values() if stored.room_nid == access.head.room_nid]
        order = {child.relates_to: place for place, child in enumerate(last)}
        seen = await self._access.seen(user_id, access, roots)
        seen.sort(key=lambda one: order[one[0].event_id])
        answer: dict[str, Any] = {"chunk": await self._written(reader, seen, device_id)}
        if len(last) > limit:
            answer["next_batch"] = str(_beyond(last[limit - 1], True))
        return orjson.dumps(answer)

    async def _written(
        self, reader: Reader, seen: Sequence[tuple[StoredEvent, str]], device_id: str | None
    ) -> list[orjson.Fragment]:
        related = await self._aggregations.of(reader, [stored for stored, _ in seen])
        return [
            orjson.Fragment(
                serialise(
                    _hidden(stored) if stored.event.sender in reader.ignored else stored,
                    own=own_request(stored, reader.user_id, device_id),
                    membership=membership,
                    relations=related.get(stored.event_id),
                )
            )
            for stored, membership in seen
        ]


def _beyond(child: Child, backwards: bool) -> PaginationToken:
    if backwards:
        return PaginationToken.before(child.depth, child.position)
    return PaginationToken.after(child.depth, child.position)


def _hidden(stored: StoredEvent) -> StoredEvent:
    """The root of a thread by somebody whom the reader ignores: nothing of what they said."""
    return replace(stored, event=stored.event.redacted(), client_json={})
