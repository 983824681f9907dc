"""The rooms of a space, and of the spaces in it.

https://spec.matrix.org/v1.19/client-server-api/#discovering-rooms-within-spaces
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.identifiers import InvalidIdentifier, server_name_of
from homeserver.errors import Forbidden, InvalidParam, NotFound
from homeserver.services.remote_summaries import RemoteRoom, RemoteSummaries
from homeserver.services.room_summaries import SPACE, RoomSummaries, is_child
from homeserver.services.server_access import ServerAccess
from storage import memberships
from storage.database import Database

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 100
MAX_DEPTH: Final = 50
# A walk ends here, however large the tree is that others have built.
_MAX_ROOMS: Final = 1_000
_MAX_CHILDREN: Final = 100
_TOKEN = re.compile(r"h(0|[1-9][0-9]{0,5})_([0-9]{1,3})_([01])")


@dataclass(frozen=True, slots=True)
class _Stop:
    """A room on the way: whom to ask for it, and what is known of it from the space it is in."""

    room_id: str
    depth: int
    via: Sequence[str] = ()
    told: Mapping[str, Any] | None = None


class SpaceHierarchy:
    """Walks down from a space, depth first. A page is a walk from the start of which only the end is shown: what is
    on the way is in memory, and a token that is only a number works on every process."""

    def __init__(self, database: Database, summaries: RoomSummaries, remote: RemoteSummaries) -> None:
        self._database = database
        self._summaries = summaries
        self._remote = remote

    async def page(
        self,
        user_id: str,
        room_id: str,
        *,
        limit: int = DEFAULT_LIMIT,
        max_depth: int | None = None,
        suggested_only: bool | None = None,
        start: str | None = None,
    ) -> dict[str, Any]:
        """The next rooms: `rooms` and, where there are more, `next_batch`. Raises Forbidden, InvalidParam."""
        skipped, max_depth, suggested_only = _position(start, max_depth, suggested_only)
        limit = min(limit, MAX_LIMIT)
        rooms = await self._walk(user_id, room_id, skipped + limit + 1, max_depth, suggested_only)
        if not rooms:
            raise Forbidden("You may not see this room, or it does not exist")
        answer: dict[str, Any] = {"rooms": rooms[skipped : skipped + limit]}
        if len(rooms) > skipped + limit:
            answer["next_batch"] = f"h{skipped + limit}_{max_depth}_{int(suggested_only)}"
        return answer

    async def _walk(
        self, user_id: str, room_id: str, count: int, max_depth: int, suggested_only: bool
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        waiting = [_Stop(room_id, 0, _own_server(room_id))]
        while waiting and len(found) < count and len(seen) < _MAX_ROOMS:
            stop = waiting.pop()
            if stop.room_id in seen:
                continue
            seen.add(stop.room_id)
            room, told = await self._look(user_id, stop, suggested_only)
            if room is None:
                continue
            found.append(room)
            if stop.depth < max_depth and room.get("room_type") == SPACE:
                closed = () if told is None else told.inaccessible
                children = [event for event in room["children_state"] if event["state_key"] not in closed]
                waiting += [_child(event, stop.depth + 1, told) for event in reversed(children)]
        return found

    async def _look(
        self, user_id: str, stop: _Stop, suggested_only: bool
    ) -> tuple[dict[str, Any] | None, RemoteRoom | None]:
        """The room, if the user may see it; and all that another server said of it."""
        head = await self._summaries.resident_head(stop.room_id)
        if head is not None:
            room = await self._summaries.of(head)
            if not await self._summaries.may_user_see(head, room, user_id):
                return None, None
            room["children_state"] = await self._summaries.children_of(head, suggested_only=suggested_only)
            return room, None
        remote = None if stop.told is not None else await self._remote.get(stop.room_id, stop.via)
        told = stop.told if remote is None else remote.room
        if told is None or not await self._may_see(user_id, told):
            return None, None
        children = [
            event for event in told["children_state"] if is_child(event["content"], suggested_only=suggested_only)
        ]
        return {**told, "children_state": children}, remote

    async def _may_see(self, user_id: str, room: Mapping[str, Any]) -> bool:
        if await self._summaries.is_open_to(room, user_id):
            return True
        async with self._database.read() as tx:
            member = await memberships.membership_of(tx, room["room_id"], user_id)
        return member is not None and member.membership == "invite"


class ServedHierarchy:
    """server-server-api §Spaces: what other servers are told of a space and the rooms in it."""

    def __init__(self, summaries: RoomSummaries, access: ServerAccess) -> None:
        self._summaries = summaries
        self._access = access

    async def of(self, origin: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        """`room`, `children`, `inaccessible_children`. Raises NotFound where the server may not see the room."""
        room = await self._shown(origin, room_id, suggested_only=suggested_only)
        if not room:
            raise NotFound("There is no such room here, or your server could not join it")
        children: list[dict[str, Any]] = []
        closed: list[str] = []
        for event in room["children_state"][:_MAX_CHILDREN]:
            child = await self._shown(origin, event["state_key"], suggested_only=suggested_only)
            if child is False:
                closed.append(event["state_key"])
            elif child is not None:
                children.append(child)
        return {"room": room, "children": children, "inaccessible_children": closed}

    async def _shown(self, origin: str, room_id: str, *, suggested_only: bool) -> Any:
        """The room; False where the server may not see it, None where this one is not in it."""
        head = await self._summaries.resident_head(room_id)
        if head is None:
            return None
        room = await self._summaries.of(head)
        allowed = await self._access.is_allowed(head, origin)
        if not allowed or not await self._summaries.may_server_see(head, room, origin):
            return False
        room["children_state"] = await self._summaries.children_of(head, suggested_only=suggested_only)
        return room


def _child(event: Mapping[str, Any], depth: int, told: RemoteRoom | None) -> _Stop:
    room_id, via = event["state_key"], [server for server in event["content"]["via"] if isinstance(server, str)]
    summary = None if told is None else told.children.get(room_id)
    # The children of a space that is itself a child have to be asked for.
    known = summary if summary is not None and summary.get("room_type") != SPACE else None
    return _Stop(room_id, depth, via, known)


def _own_server(room_id: str) -> Sequence[str]:
    """The server that a room's id names, which is likely to know it; room ids of today name none."""
    try:
        return [server_name_of(room_id)]
    except InvalidIdentifier:
        return []


def _position(start: str | None, max_depth: int | None, suggested_only: bool | None) -> tuple[int, int, bool]:
    """(rooms shown so far, depth, whether only suggested ones); a token holds on to what was asked for first."""
    depth = None if max_depth is None else min(max_depth, MAX_DEPTH)
    if not start:
        return 0, MAX_DEPTH if depth is None else depth, bool(suggested_only)
    match = _TOKEN.fullmatch(start)
    if match is None:
        raise InvalidParam("from is not a token of this server")
    skipped, first_depth, first_only = int(match[1]), int(match[2]), match[3] == "1"
    if depth not in (None, first_depth) or suggested_only not in (None, first_only):
        raise InvalidParam("max_depth and suggested_only cannot change from page to page")
    return skipped, first_depth, first_only
