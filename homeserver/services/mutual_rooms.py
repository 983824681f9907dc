"""The rooms that two users are both in.

https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms
"""

from typing import Any, Final

from homeserver.core.identifiers import is_valid_room_id, is_valid_user_id
from homeserver.errors import InvalidParam
from storage import memberships
from storage.database import Database

_PAGE: Final = 100


class MutualRooms:
    """Pages are in the order of room ids, and the token is the last of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, user_id: str, other_id: str, start: str | None = None) -> dict[str, Any]:
        """`joined`, `count` of all, and `next_batch` where there are more. Raises InvalidParam."""
        if not is_valid_user_id(other_id) or other_id == user_id:
            raise InvalidParam("user_id must be the id of another user")
        if start and not is_valid_room_id(start):
            raise InvalidParam("from is not a token of this server")
        async with self._database.read() as tx:
            own, others = (
                await memberships.joined_room_ids(tx, user_id),
                await memberships.joined_room_ids(tx, other_id),
            )
        shared = sorted(set(own).intersection(others))
        rest = [room_id for room_id in shared if not start or room_id > start]
        answer: dict[str, Any] = {"joined": rest[:_PAGE], "count": len(shared)}
        if len(rest) > _PAGE:
            answer["next_batch"] = rest[_PAGE - 1]
        return answer
