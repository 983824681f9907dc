"""Dehydrated devices: what is sent to a user while no device of theirs is logged in can be read by the next one.

Proposal 3814. A dehydrated device is a device that nobody holds a token of; its owner keeps it here, encrypted.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from homeserver.errors import Forbidden, InvalidParam, NotFound, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.services.client_events import json_bytes
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.logins import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from storage import dehydrated_devices as storage
from storage import devices
from storage.database import Database, Write

_MAX_DATA = 256 * 1024


class DeviceRemover(Protocol):
    """`services.logins.Logins`."""

    async def remove_devices(self, tx: Write, user_id: str, device_ids: list[str]) -> None: ...


class DehydratedDevices:
    """Each user's one dehydrated device."""

    def __init__(self, database: Database, keys: DeviceKeys, remover: DeviceRemover, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._remover = remover
        self._clock = clock

    async def put(self, user_id: str, body: Mapping[str, Any]) -> str:
        """Keep a device in the place of the former one, with its keys (`body` as of uploadKeys). Returns its id.

        Raises InvalidParam where the id is that of another device, or the keys are another's; TooLarge.
        """
        device_id, name = body["device_id"], body.get("initial_device_display_name")
        if not device_id or len(device_id) > MAX_DEVICE_ID:
            raise InvalidParam(f"A device id has 1 to {MAX_DEVICE_ID} characters")
        if name is not None and len(name) > MAX_DISPLAY_NAME:
            raise InvalidParam(f"initial_device_display_name has more than {MAX_DISPLAY_NAME} characters")
        data = json_bytes(body["device_data"])
        if len(data) > _MAX_DATA:
            raise TooLarge("device_data is too large")
        prepared = self._keys.prepared(user_id, device_id, body)
        async with self._database.read() as tx:
            former = await storage.device_of(tx, user_id)
        if former is not None and former[0] == device_id:
            # Its old keys must be gone before the new ones come.
            await self._remove(user_id, device_id)

        async def operation(tx: Write) -> None:
            former = await storage.device_of(tx, user_id)
            if former is not None:
                await self._remover.remove_devices(tx, user_id, [former[0]])
            if await devices.device_of(tx, user_id, device_id) is not None:
                raise InvalidParam("You have another device of this id")
            if await devices.is_cross_signing_key(tx, user_id, device_id):
                raise InvalidParam("One of your cross-signing keys has this id")
            devices.put_silent(tx, user_id, device_id, name, self._clock.now_ms())
            storage.put(tx, user_id, device_id, data)
            await self._keys.put(tx, user_id, device_id, prepared)

        await self._database.write(operation)
        return str(device_id)

    async def get(self, user_id: str) -> dict[str, Any]:
        """Which device it is, and what its client needs to bring it back. Raises NotFound."""
        device_id, data = await self._require(user_id)
        return {"device_id": device_id, "device_data": orjson.Fragment(data)}

    async def delete(self, user_id: str) -> str:
        """Forget it; returns which it was. Raises NotFound."""
        device_id, _ = await self._require(user_id)
        await self._remove(user_id, device_id)
        return device_id

    async def events(self, user_id: str, device_id: str, after: int, limit: int) -> tuple[list[bytes], int | None]:
        """Messages that wait for it, as JSON text, and after which one to go on where there are more.

        Nothing is deleted by being read. Raises Forbidden where that is not the user's dehydrated device.
        """
        async with self._database.read() as tx:
            former = await storage.device_of(tx, user_id)
            if former is None or former[0] != device_id:
                raise Forbidden("That is not your dehydrated device")
            found = await storage.messages(tx, user_id, device_id, after, limit + 1)
        shown = found[:limit]
        return [message for _, message in shown], shown[-1][0] if len(found) > limit else None

    async def _require(self, user_id: str) -> tuple[str, bytes]:
        async with self._database.read() as tx:
            found = await storage.device_of(tx, user_id)
        if found is None:
            raise NotFound("You have no dehydrated device")
        return found

    async def _remove(self, user_id: str, device_id: str) -> None:
        await self._database.write(lambda tx: self._remover.remove_devices(tx, user_id, [device_id]))
