"""How a running server knows that an order comes from its operator: it is signed with what only who can read the
server's signing key can know, and it is new."""

import hashlib
import hmac
from typing import Any, Final

from signedjson.types import SigningKey

from homeserver.errors import Forbidden
from homeserver.runtime.clock import Clock

SCHEME: Final = "Hearth-Operator"
_LASTS_MS: Final = 60_000


class OperatorAccess:
    """Signs orders, and checks them: each counts once in a process, for a minute."""

    def __init__(self, key: SigningKey, clock: Clock, server_name: str) -> None:
        # Not the key itself: what is signed here can be no event, and no request between servers.
        purpose = f"orders of the operator of {server_name}"
        self._secret = hmac.new(key.encode(), purpose.encode(), hashlib.sha256).digest()
        self._clock = clock
        self._used: dict[str, int] = {}

    def authorization(self, body: bytes) -> str:
        """The Authorization header of an order."""
        return f"{SCHEME} {self._mac(body)}"

    def require(self, authorization: str | None, body: bytes, order: dict[str, Any]) -> None:
        """Raises Forbidden. `order` is what the body says; its `at` (ms since the epoch) and `nonce` make it new."""
        scheme, _, mac = (authorization or "").partition(" ")
        if scheme != SCHEME or not hmac.compare_digest(self._mac(body).encode(), mac.encode(errors="replace")):
            raise Forbidden("This is not an order of the server's operator")
        now, at, nonce = self._clock.now_ms(), order.get("at"), order.get("nonce")
        if not isinstance(at, int) or not isinstance(nonce, str) or abs(now - at) > _LASTS_MS or nonce in self._used:
            raise Forbidden("The order is too old, or was given before")
        self._used = {used: until for used, until in self._used.items() if until > now}
        self._used[nonce] = at + 2 * _LASTS_MS

    def _mac(self, body: bytes) -> str:
        return hmac.new(self._secret, body, hashlib.sha256).hexdigest()
