"""Devices (client-server-api §Device Management)."""

from typing import Any

from homeserver.errors import Forbidden
from homeserver.services.devices import DeviceRow, Devices
from homeserver.services.uia import PASSWORDS, InteractiveAuth
from homeserver.web.request import Request
from homeserver.web.responses import Json


class DeviceHandlers:
    """The devices of whoever asks."""

    def __init__(self, devices: Devices, uia: InteractiveAuth) -> None:
        self._devices = devices
        self._uia = uia

    async def devices(self, request: Request) -> dict[str, Any]:
        return {"devices": [_device(row) for row in await self._devices.of_user(request.user.user_id)]}

    async def device(self, request: Request) -> dict[str, Any]:
        return _device(await self._devices.require(request.user.user_id, request.path["deviceId"]))

    async def update(self, request: Request) -> dict[str, Any] | Json:
        is_new = await self._devices.rename(request.user, request.path["deviceId"], request.body)
        return Json({}, status_name="created") if is_new else {}

    async def delete(self, request: Request) -> dict[str, Any]:
        device_id = request.path["deviceId"]
        await self._prove(f"delete_device {device_id}", request)
        await self._devices.remove(request.user.user_id, [device_id])
        return {}

    async def delete_several(self, request: Request) -> dict[str, Any]:
        await self._prove("delete_devices", request)
        await self._devices.remove(request.user.user_id, request.body["devices"])
        return {}

    async def whois(self, request: Request) -> dict[str, Any]:
        user_id = request.path["userId"]
        if not request.user.is_admin and request.user.user_id != user_id:
            raise Forbidden("You can only ask for yourself")
        devices = {}
        for row in await self._devices.of_user(user_id):
            seen = {"ip": row.last_seen_ip, "last_seen": row.last_seen_at, "user_agent": row.last_seen_user_agent}
            connection = {name: value for name, value in seen.items() if value is not None}
            devices[row.device_id] = {"sessions": [{"connections": [connection]}]}
        return {"user_id": user_id, "devices": devices}

    async def _prove(self, operation: str, request: Request) -> None:
        """Application services need no interactive authentication."""
        if request.user.appservice is None:
            await self._uia.require(operation, request.body, [[PASSWORDS]], user_id=request.user.user_id)


def _device(row: DeviceRow) -> dict[str, Any]:
    fields = {
        "device_id": row.device_id,
        "display_name": row.display_name,
        "last_seen_ip": row.last_seen_ip,
        "last_seen_ts": row.last_seen_at,
    }
    return {name: value for name, value in fields.items() if value is not None}
