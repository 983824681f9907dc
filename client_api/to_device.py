"""Messages to devices. client-server-api §Send-to-Device messaging"""

from typing import Any

from homeserver.services.to_device import ToDevice
from homeserver.web.request import Request


class ToDeviceHandlers:
    """Sending; receiving is part of /sync."""

    def __init__(self, to_device: ToDevice) -> None:
        self._to_device = to_device

    async def send(self, request: Request) -> dict[str, Any]:
        user, path, messages = request.user, request.path, request.body["messages"]
        await self._to_device.send(user.user_id, user.device_id, path["eventType"], path["txnId"], messages)
        return {}
