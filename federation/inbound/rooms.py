"""Rooms as other servers see them: spaces, and the events of a time."""

from typing import Any

from homeserver.services.remote_times import ServedTimes
from homeserver.services.space_hierarchy import ServedHierarchy
from homeserver.web.request import Request


class RoomHandlers:
    """server-server-api §Spaces, and timestamp_to_event of §Retrieving events"""

    def __init__(self, hierarchy: ServedHierarchy, times: ServedTimes) -> None:
        self._hierarchy = hierarchy
        self._times = times

    async def hierarchy(self, request: Request) -> dict[str, Any]:
        suggested_only = request.query.bool_("suggested_only", False)
        return await self._hierarchy.of(request.signed_by, request.path["roomId"], suggested_only=suggested_only)

    async def timestamp_to_event(self, request: Request) -> dict[str, Any]:
        query = request.query
        query.require("ts")
        query.require("dir")
        backwards = query.choice("dir", ("b", "f")) == "b"
        timestamp = query.int_("ts", 0)
        return await self._times.closest(request.signed_by, request.path["roomId"], timestamp, backwards=backwards)
