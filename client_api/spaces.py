"""Spaces, summaries of rooms, rooms in common.

https://spec.matrix.org/v1.19/client-server-api/#spaces
"""

from typing import Any

from homeserver.services.mutual_rooms import MutualRooms
from homeserver.services.room_preview import RoomPreview
from homeserver.services.space_hierarchy import DEFAULT_LIMIT, SpaceHierarchy
from homeserver.web.request import Request


class SpaceHandlers:
    """Rooms as seen from outside."""

    def __init__(self, hierarchy: SpaceHierarchy, preview: RoomPreview, mutual: MutualRooms) -> None:
        self._hierarchy = hierarchy
        self._preview = preview
        self._mutual = mutual

    async def hierarchy(self, request: Request) -> dict[str, Any]:
        query = request.query
        return await self._hierarchy.page(
            request.user.user_id,
            request.path["roomId"],
            limit=query.int_("limit", DEFAULT_LIMIT, minimum=1),
            max_depth=query.int_("max_depth"),
            suggested_only=query.bool_("suggested_only", None),
            start=query.str_("from"),
        )

    async def room_summary(self, request: Request) -> dict[str, Any]:
        user_id = None if request.requester is None else request.requester.user_id
        via = [*request.query.all("via"), *request.query.all("server_name")]
        return await self._preview.of(user_id, request.path["roomIdOrAlias"], via)

    async def mutual_rooms(self, request: Request) -> dict[str, Any]:
        user_id, start = request.query.require("user_id"), request.query.str_("from")
        return await self._mutual.page(request.user.user_id, user_id, start)
