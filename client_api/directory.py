"""Room aliases and the directory of published rooms.

https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from typing import Any

from homeserver.errors import InvalidParam, MissingToken
from homeserver.services.directory import Directory
from homeserver.services.public_rooms import PublicRooms
from homeserver.web.request import Request


class DirectoryHandlers:
    """Aliases and published rooms."""

    def __init__(self, directory: Directory, public_rooms: PublicRooms, *, needs_login: bool = False) -> None:
        self._directory = directory
        self._public_rooms = public_rooms
        self._needs_login = needs_login

    async def resolve(self, request: Request) -> dict[str, Any]:
        room_id, servers = await self._directory.resolve(request.path["roomAlias"])
        return {"room_id": room_id, "servers": servers}

    async def create(self, request: Request) -> dict[str, Any]:
        await self._directory.create(request.user, request.path["roomAlias"], request.body["room_id"])
        return {}

    async def delete(self, request: Request) -> dict[str, Any]:
        await self._directory.delete(request.user, request.path["roomAlias"])
        return {}

    async def aliases(self, request: Request) -> dict[str, Any]:
        return {"aliases": await self._directory.aliases_of(request.user, request.path["roomId"])}

    async def visibility(self, request: Request) -> dict[str, Any]:
        is_public = await self._directory.is_public(request.path["roomId"])
        return {"visibility": "public" if is_public else "private"}

    async def set_visibility(self, request: Request) -> dict[str, Any]:
        visibility = request.given("visibility", "public")
        if visibility not in ("public", "private"):
            raise InvalidParam("visibility is neither public nor private")
        await self._directory.set_public(request.user, request.path["roomId"], visibility == "public")
        return {}

    async def public_rooms(self, request: Request) -> dict[str, Any]:
        if self._needs_login and request.requester is None:
            raise MissingToken
        query = request.query
        wanted = {"limit": query.int_("limit"), "since": query.str_("since")}
        return await self._public_rooms.of_server(query.str_("server"), wanted)

    async def search_public_rooms(self, request: Request) -> dict[str, Any]:
        return await self._public_rooms.of_server(request.query.str_("server"), request.body)
