"""Devices and keys of local users, for the servers of those who write to them."""

from typing import Any, Protocol

from homeserver.web.request import Request


class LocalKeys(Protocol):
    """Keys of this server's users; others are left out of every answer."""

    async def devices(self, user_id: str) -> dict[str, Any]:
        """The body of GET user/devices: user_id, stream_id, devices, master_key, self_signing_key. Raises NotFound."""
        ...

    async def query(self, device_keys: dict[str, list[str]]) -> dict[str, Any]:
        """The body of POST user/keys/query: device_keys, master_keys, self_signing_keys; no device ids mean all."""
        ...

    async def claim(self, one_time_keys: dict[str, dict[str, str]]) -> dict[str, Any]:
        """The body of POST user/keys/claim: one_time_keys, by user id, device id and key id. Each is given once."""
        ...


class DeviceHandlers:
    """server-server-api §Device Management, §End-to-End Encryption"""

    def __init__(self, keys: LocalKeys) -> None:
        self._keys = keys

    async def get_devices(self, request: Request) -> dict[str, Any]:
        return await self._keys.devices(request.path["userId"])

    async def query_keys(self, request: Request) -> dict[str, Any]:
        return await self._keys.query(request.body["device_keys"])

    async def claim_keys(self, request: Request) -> dict[str, Any]:
        return await self._keys.claim(request.body["one_time_keys"])
