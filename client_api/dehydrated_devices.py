"""Dehydrated devices, proposal 3814: as its experiment has it, which clients speak."""

from typing import Any

import orjson

from homeserver.errors import InvalidParam
from homeserver.services.dehydrated_devices import DehydratedDevices
from homeserver.web.request import Request

_MAX_EVENTS = 100


class DehydratedDeviceHandlers:
    """The dehydrated device of whoever asks."""

    def __init__(self, devices: DehydratedDevices) -> None:
        self._devices = devices

    async def get(self, request: Request) -> dict[str, Any]:
        return await self._devices.get(request.user.user_id)

    async def put(self, request: Request) -> dict[str, Any]:
        return {"device_id": await self._devices.put(request.user.user_id, request.body)}

    async def delete(self, request: Request) -> dict[str, Any]:
        return {"device_id": await self._devices.delete(request.user.user_id)}

    async def events(self, request: Request) -> dict[str, Any]:
        after = _token(request.query.str_("from"))
        events, following = await self._events(request, after)
        return {"events": events} if following is None else {"events": events, "next_batch": str(following)}

    async def events_by_post(self, request: Request) -> dict[str, Any]:
        """As earlier drafts of the proposal had it: clients ask until there are no events."""
        after = _token(request.body.get("next_batch"))
        events, following = await self._events(request, after)
        return {"events": events, "next_batch": str(_AT_END if following is None else following)}

    async def _events(self, request: Request, after: int) -> tuple[list[orjson.Fragment], int | None]:
        limit = request.query.int_("limit", _MAX_EVENTS, minimum=1, maximum=_MAX_EVENTS)
        found, following = await self._devices.events(request.user.user_id, request.path["deviceId"], after, limit)
        return [orjson.Fragment(message) for message in found], following


_AT_END = 10**18 - 1


def _token(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidParam("That is not a token of this endpoint")
    return int(text)
