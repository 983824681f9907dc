"""Signing keys: this server's own, and as a notary those of others."""

from typing import Any

from homeserver.core.canonical_json import encode
from homeserver.services.keyring import Keyring
from homeserver.web.request import Request


class KeyHandlers:
    """server-server-api §Retrieving server keys"""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def get_server_key(self, request: Request) -> bytes:
        # In the form that is signed, for those who verify the bytes as they come.
        return encode(self._keyring.published())

    async def query_server(self, request: Request) -> dict[str, Any]:
        until = request.query.int_("minimum_valid_until_ts", 0, minimum=None)
        return {"server_keys": await self._keyring.notarised({request.path["serverName"]: {}}, until)}

    async def query_servers(self, request: Request) -> dict[str, Any]:
        wanted: dict[str, dict[str, int]] = {}
        for server_name, criteria in request.body["server_keys"].items():
            by_key = criteria if isinstance(criteria, dict) else {}
            wanted[server_name] = {key_id: _until(value) for key_id, value in by_key.items()}
        return {"server_keys": await self._keyring.notarised(wanted)}


def _until(criteria: object) -> int:
    until = criteria.get("minimum_valid_until_ts") if isinstance(criteria, dict) else None
    return until if type(until) is int else 0
