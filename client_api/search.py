"""Searching messages and people. client-server-api §Server Side Search, §User Directory"""

from typing import Any

from homeserver.services.search import Search
from homeserver.services.user_directory import DEFAULT_LIMIT, UserDirectory
from homeserver.web.request import Request


class SearchHandlers:
    """What somebody may find."""

    def __init__(self, search: Search, directory: UserDirectory) -> None:
        self._search = search
        self._directory = directory

    async def search(self, request: Request) -> dict[str, Any]:
        """Search the categories that are asked for; there is one."""
        criteria = request.body["search_categories"].get("room_events")
        if criteria is None:
            return {"search_categories": {}}
        found = await self._search.room_events(request.user, criteria, request.query.str_("next_batch"))
        return {"search_categories": {"room_events": found}}

    async def users(self, request: Request) -> dict[str, Any]:
        """Search people."""
        limit = int(request.given("limit", DEFAULT_LIMIT))
        return await self._directory.search(request.user.user_id, request.body["search_term"], limit)
