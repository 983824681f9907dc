"""Networks that application services bridge to: what they are, and where somebody or something of them is found here.

https://spec.matrix.org/v1.19/application-service-api/#third-party-networks
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import orjson

from homeserver.errors import NotFound
from homeserver.runtime.http_client import HttpClient, HttpFailure
from homeserver.services.appservices import Appservice, Appservices
from homeserver.services.public_rooms import instance_id

Kind = Literal["location", "user"]
_TIMEOUT_S: Final = 10.0
_MAX_BYTES: Final = 1 << 20


class ThirdPartyNetworks:
    """Asks the application services. One that does not answer, or answers with nonsense, has nothing to say."""

    def __init__(self, appservices: Appservices, http: HttpClient) -> None:
        self._appservices = appservices
        self._http = http

    async def protocols(self) -> dict[str, Any]:
        """Every protocol that an application service speaks, by name."""
        names = sorted({name for appservice in self._appservices.all for name in appservice.protocols})
        found = await asyncio.gather(*(self._metadata(name) for name in names))
        return {name: metadata for name, metadata in zip(names, found, strict=True) if metadata is not None}

    async def protocol(self, name: str) -> dict[str, Any]:
        """One of them; where several bridges speak it, their instances together. Raises NotFound."""
        metadata = await self._metadata(name)
        if metadata is None:
            raise NotFound("No application service speaks this protocol")
        return metadata

    async def search(self, kind: Kind, protocol: str, fields: Mapping[str, str]) -> list[Any]:
        """Matrix rooms or users for a place or person of the network. Raises NotFound, also where there are none."""
        asked = self._speaking(protocol)
        return await self._listed(asked, f"{kind}/{quote(protocol, safe='')}", fields)

    async def reverse(self, kind: Kind, parameter: str, name: str) -> list[Any]:
        """The places or people of networks that a room alias or user id stands for. Raises NotFound."""
        asked = [appservice for appservice in self._appservices.all if appservice.url]
        return await self._listed(asked, kind, {parameter: name})

    async def _metadata(self, name: str) -> dict[str, Any] | None:
        asked = self._speaking(name)
        answers = await asyncio.gather(*(self._get(one, f"protocol/{quote(name, safe='')}", {}) for one in asked))
        found = [answer for answer in answers if isinstance(answer, dict)]
        if not found:
            return None
        instances = [
            _instance(one, entry)
            for one, answer in zip(asked, answers, strict=True)
            if isinstance(answer, dict)
            for entry in _list(answer.get("instances"))
            if isinstance(entry, dict)
        ]
        return {**found[0], "instances": instances}

    async def _listed(self, asked: Iterable[Appservice], path: str, fields: Mapping[str, str]) -> list[Any]:
        answers = await asyncio.gather(*(self._get(appservice, path, fields) for appservice in asked))
        found = [entry for answer in answers for entry in _list(answer) if isinstance(entry, dict)]
        if not found:
            raise NotFound("No application service knows of any")
        return found

    async def _get(self, appservice: Appservice, path: str, fields: Mapping[str, str]) -> Any:
        query = f"?{urlencode(fields)}" if fields else ""
        url = f"{appservice.url}/_matrix/app/v1/thirdparty/{path}{query}"
        try:
            answer = await self._http.send(
                "GET", url, b"", token=appservice.hs_token, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES
            )
            return orjson.loads(answer.body) if answer.is_success else None
        except (HttpFailure, orjson.JSONDecodeError):
            return None

    def _speaking(self, protocol: str) -> list[Appservice]:
        return [one for one in self._appservices.all if one.url and protocol in one.protocols]


def _instance(appservice: Appservice, entry: dict[str, Any]) -> dict[str, Any]:
    """With the name by which its directory of rooms is asked for."""
    network_id = entry.get("network_id")
    if not isinstance(network_id, str):
        return entry
    return {**entry, "instance_id": instance_id(appservice.id, network_id)}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
