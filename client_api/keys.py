"""Keys for end-to-end encryption. client-server-api §Key management API, §Cross-signing"""

from typing import Any

from homeserver.core.tokens import InvalidToken, parse_sync_token
from homeserver.errors import InvalidParam
from homeserver.services.cross_signing import CrossSigning
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.device_lists import DeviceLists
from homeserver.services.key_claims import KeyClaims
from homeserver.services.key_queries import KeyQueries
from homeserver.services.key_signatures import KeySignatures
from homeserver.services.remote_keys import DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS
from homeserver.services.uia import PASSWORDS, InteractiveAuth
from homeserver.web.request import Request


class KeyHandlers:
    """Uploading, querying and claiming keys."""

    def __init__(
        self,
        device_keys: DeviceKeys,
        queries: KeyQueries,
        claims: KeyClaims,
        lists: DeviceLists,
        cross_signing: CrossSigning,
        signatures: KeySignatures,
        uia: InteractiveAuth,
    ) -> None:
        self._device_keys = device_keys
        self._queries = queries
        self._claims = claims
        self._lists = lists
        self._cross_signing = cross_signing
        self._signatures = signatures
        self._uia = uia

    async def upload(self, request: Request) -> dict[str, Any]:
        user = request.user
        return {"one_time_key_counts": await self._device_keys.upload(user.user_id, user.device_id, request.body)}

    async def query(self, request: Request) -> dict[str, Any]:
        body = request.body
        return await self._queries.query(request.user.user_id, body["device_keys"], _timeout_of(body))

    async def claim(self, request: Request) -> dict[str, Any]:
        claimed, failures = await self._claims.claim(request.body["one_time_keys"], _timeout_of(request.body))
        return {"one_time_keys": claimed, "failures": failures}

    async def changes(self, request: Request) -> dict[str, Any]:
        after, upto = _position_of(request, "from"), _position_of(request, "to")
        changed, left = await self._lists.changed_for(request.user.user_id, after, upto)
        return {"changed": changed, "left": left}

    async def upload_cross_signing(self, request: Request) -> dict[str, Any]:
        user, body = request.user, request.body
        is_proven = user.appservice is not None
        if not is_proven and await self._cross_signing.needs_proof(user.user_id, body):
            await self._uia.require("uploadCrossSigningKeys", body, [[PASSWORDS]], user_id=user.user_id)
            is_proven = True
        await self._cross_signing.upload(user.user_id, body, is_proven=is_proven)
        return {}

    async def upload_signatures(self, request: Request) -> dict[str, Any]:
        return {"failures": await self._signatures.upload(request.user.user_id, request.body)}


def _timeout_of(body: dict[str, Any]) -> int:
    timeout = body.get("timeout")
    if timeout is None:
        return DEFAULT_TIMEOUT_MS
    if timeout < 0:
        raise InvalidParam("The timeout cannot be negative")
    return int(min(timeout, MAX_TIMEOUT_MS))


def _position_of(request: Request, name: str) -> int:
    try:
        return parse_sync_token(request.query.require(name)).position
    except InvalidToken as error:
        raise InvalidParam(f"{name!r}: {error}") from None
