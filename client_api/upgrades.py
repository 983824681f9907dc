"""Upgrading rooms. https://spec.matrix.org/v1.19/client-server-api/#room-upgrades"""

from typing import Any

from homeserver.services.upgrade_room import UpgradeRoom
from homeserver.web.request import Request


class UpgradeHandlers:
    """POST /rooms/{roomId}/upgrade"""

    def __init__(self, upgrade_room: UpgradeRoom) -> None:
        self._upgrade_room = upgrade_room

    async def upgrade(self, request: Request) -> dict[str, Any]:
        creators = request.given("additional_creators", ())
        new_id = await self._upgrade_room.upgrade(
            request.user, request.path["roomId"], request.body["new_version"], creators
        )
        return {"replacement_room": new_id}
