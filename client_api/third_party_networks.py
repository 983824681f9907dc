"""Lookups in bridged networks. client-server-api §Third-party Networks"""

from typing import Any

import orjson

from homeserver.services.third_party_networks import Kind, ThirdPartyNetworks
from homeserver.web.request import Request

# Parameters of the endpoint itself: all others are fields of the network.
_OWN = ("access_token", "user_id", "device_id", "org.matrix.msc3202.device_id")


class ThirdPartyNetworkHandlers:
    """What application services say of the networks that they bridge to."""

    def __init__(self, networks: ThirdPartyNetworks) -> None:
        self._networks = networks

    async def protocols(self, request: Request) -> dict[str, Any]:
        return await self._networks.protocols()

    async def protocol(self, request: Request) -> dict[str, Any]:
        return await self._networks.protocol(request.path["protocol"])

    async def locations(self, request: Request) -> bytes:
        return await self._search("location", request)

    async def users(self, request: Request) -> bytes:
        return await self._search("user", request)

    async def location_of_alias(self, request: Request) -> bytes:
        return orjson.dumps(await self._networks.reverse("location", "alias", request.query.require("alias")))

    async def user_of_id(self, request: Request) -> bytes:
        return orjson.dumps(await self._networks.reverse("user", "userid", request.query.require("userid")))

    async def _search(self, kind: Kind, request: Request) -> bytes:
        fields = {name: value for name, value in request.query.pairs() if name not in _OWN}
        return orjson.dumps(await self._networks.search(kind, request.path["protocol"], fields))
