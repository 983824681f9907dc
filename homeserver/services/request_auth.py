"""Who sent a request: the X-Matrix signature of another server (server-server-api §Request Authentication)."""

from collections.abc import Callable, Mapping
from typing import Any

from federation.outbound.request_signing import InvalidAuthorization, require_x_matrix, signature_holds
from homeserver.errors import Forbidden, Unauthorized
from homeserver.runtime.clock import Clock
from homeserver.services.keyring import Keyring


class RequestAuth:
    """Verifies signatures of requests; called by the dispatcher for every row whose auth is FEDERATION."""

    def __init__(
        self,
        keyring: Keyring,
        clock: Clock,
        *,
        server_name: str,
        is_allowed: Callable[[str], bool],
        heard_from: Callable[[str], None],
    ) -> None:
        self._keyring = keyring
        self._clock = clock
        self._server_name = server_name
        self._is_allowed = is_allowed
        self._heard_from = heard_from

    async def __call__(self, method: str, uri: str, headers: Mapping[str, str], body: Any | None) -> str:
        """The server that signed the request. `uri` is path and query as they came; `body` is parsed.

        Raises Unauthorized, or Forbidden where the config shuts that server out.
        """
        try:
            signature = require_x_matrix(headers)
        except InvalidAuthorization as error:
            raise Unauthorized(str(error)) from error
        if signature.destination is not None and signature.destination != self._server_name:
            raise Unauthorized(f"The request was meant for {signature.destination}")
        if signature.origin == self._server_name:
            raise Unauthorized("The request claims to come from this server")
        if not self._is_allowed(signature.origin):
            raise Forbidden("This server does not talk with yours")
        key = await self._key(signature.origin, signature.key_id)
        if key is None:
            raise Unauthorized(f"The key {signature.key_id} of {signature.origin} could not be had, or is out of date")
        if not signature_holds(signature, method, uri, body, key):
            raise Unauthorized("The signature of the request is wrong")
        self._heard_from(signature.origin)
        return signature.origin

    async def _key(self, origin: str, key_id: str) -> bytes | None:
        now = self._clock.now_ms()
        cached = self._keyring.cached(origin, key_id, now)
        if cached is not None:
            return cached
        # Its request is a sign that it is back, however long it could not be reached.
        return (await self._keyring.keys(origin, [key_id], now, insistent=True)).get(key_id)
