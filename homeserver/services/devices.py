"""A user's devices, as their owner sees and changes them.

https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from dataclasses import replace
from typing import Any

from homeserver.errors import InvalidParam, NotFound
from homeserver.runtime.clock import Clock
from homeserver.services.logins import MAX_DEVICE_ID, MAX_DISPLAY_NAME, DeviceListUpdates, Logins
from homeserver.services.sessions import Requester, Sessions
from storage import devices
from storage.database import Database, Write
from storage.devices import DeviceRow

__all__ = ["DeviceRow", "Devices"]


class Devices:
    """Lists, names and removes devices."""

    def __init__(
        self, database: Database, clock: Clock, sessions: Sessions, logins: Logins, device_lists: DeviceListUpdates
    ) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._logins = logins
        self._device_lists = device_lists

    async def of_user(self, user_id: str) -> list[DeviceRow]:
        """All devices of a user, the oldest first."""
        async with self._database.read() as tx:
            rows = await devices.of_user(tx, user_id)
        return [self._seen_lately(row) for row in rows]

    async def require(self, user_id: str, device_id: str) -> DeviceRow:
        """One device. Raises NotFound."""
        async with self._database.read() as tx:
            row = await devices.device_of(tx, user_id, device_id)
        if row is None:
            raise NotFound("You have no such device")
        return self._seen_lately(row)

    async def rename(self, requester: Requester, device_id: str, body: dict[str, Any]) -> bool:
        """Name a device; an application service makes one of this id where there is none. True where it is new.

        Raises NotFound, InvalidParam.
        """
        name = body.get("display_name")
        if name is not None and len(name) > MAX_DISPLAY_NAME:
            raise InvalidParam(f"display_name has more than {MAX_DISPLAY_NAME} characters")
        if not device_id or len(device_id) > MAX_DEVICE_ID:
            raise InvalidParam(f"A device id has 1 to {MAX_DEVICE_ID} characters")
        user_id = requester.user_id

        async def operation(tx: Write) -> bool:
            if await devices.device_of(tx, user_id, device_id) is None:
                if requester.appservice is None:
                    raise NotFound("You have no such device")
                devices.put(tx, user_id, device_id, name, self._clock.now_ms(), "", "")
                return True
            if "display_name" in body:
                await devices.rename(tx, user_id, device_id, name)
                await self._device_lists.changed(tx, user_id, [device_id], renamed=[device_id])
            return False

        return await self._database.write(operation)

    async def remove(self, user_id: str, device_ids: list[str]) -> None:
        """Log devices out and forget them. Those that are not there are left out."""

        async def operation(tx: Write) -> None:
            await self._logins.remove_devices(tx, user_id, device_ids)

        await self._database.write(operation)

    def _seen_lately(self, row: DeviceRow) -> DeviceRow:
        seen = self._sessions.seen_of(row.user_id, row.device_id)
        if seen is None:
            return row
        at, ip, user_agent = seen
        return replace(row, last_seen_at=at, last_seen_ip=ip, last_seen_user_agent=user_agent)
