"""Profiles (client-server-api §Profiles)."""

from typing import Any

from homeserver.services.profiles import Profiles
from homeserver.web.request import Request


class ProfileHandlers:
    """Reads anybody's profile, changes one's own."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def profile(self, request: Request) -> dict[str, Any]:
        return await self._profiles.get(request.path["userId"], None)

    async def field(self, request: Request) -> dict[str, Any]:
        return await self._profiles.get(request.path["userId"], request.path["keyName"])

    async def set_field(self, request: Request) -> dict[str, Any]:
        path = request.path
        await self._profiles.set_field(request.user, path["userId"], path["keyName"], request.body)
        return {}

    async def remove_field(self, request: Request) -> dict[str, Any]:
        await self._profiles.remove_field(request.user, request.path["userId"], request.path["keyName"])
        return {}
