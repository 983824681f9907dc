"""What other servers look up: aliases, profiles, the directory of rooms."""

from typing import Any, Protocol

from homeserver.errors import Forbidden, InvalidParam, NotFound, Unrecognized
from homeserver.services.directory import Directory
from homeserver.services.public_rooms import PublicRooms
from homeserver.web.request import Request


class LocalProfiles(Protocol):
    """Profiles of this server's users."""

    async def local(self, user_id: str, field: str | None) -> dict[str, Any]:
        """The whole profile, or one field of it. Raises NotFound where there is no such user or field."""
        ...


class QueryHandlers:
    """server-server-api §Querying for information, §Published Room Directory"""

    def __init__(
        self,
        directory: Directory,
        profiles: LocalProfiles,
        public_rooms: PublicRooms,
        *,
        server_name: str,
        serves_public_rooms: bool,
        serves_profiles: bool,
    ) -> None:
        self._directory = directory
        self._profiles = profiles
        self._public_rooms = public_rooms
        self._server_name = server_name
        self._serves_public_rooms = serves_public_rooms
        self._serves_profiles = serves_profiles

    async def directory(self, request: Request) -> dict[str, Any]:
        alias = request.query.require("room_alias")
        if alias.partition(":")[2] != self._server_name:
            raise NotFound("The alias is of another server")
        room_id, servers = await self._directory.resolve(alias)
        return {"room_id": room_id, "servers": servers}

    async def profile(self, request: Request) -> dict[str, Any]:
        user_id = request.query.require("user_id")
        if user_id.partition(":")[2] != self._server_name:
            raise InvalidParam("The user is of another server")
        if not self._serves_profiles:
            raise Forbidden("This server does not tell profiles")
        return await self._profiles.local(user_id, request.query.str_("field"))

    async def unknown(self, request: Request) -> dict[str, Any]:
        raise Unrecognized(f"There is no query of type {request.path['queryType']}")

    async def get_public_rooms(self, request: Request) -> dict[str, Any]:
        query: dict[str, Any] = {"limit": request.query.int_("limit"), "since": request.query.str_("since")}
        return await self._rooms({name: value for name, value in query.items() if value is not None})

    async def query_public_rooms(self, request: Request) -> dict[str, Any]:
        return await self._rooms(request.body)

    async def _rooms(self, query: dict[str, Any]) -> dict[str, Any]:
        if not self._serves_public_rooms:
            raise Forbidden("This server does not tell its directory of rooms")
        return await self._public_rooms.of_server(None, query)
