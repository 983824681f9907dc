"""Making accounts with a secret that the operator and a program share: the endpoint that many tools for tests and
administration know (`/_synapse/admin/v1/register`)."""

import hashlib
import hmac
from typing import Any, Final

from homeserver.config.account_sections import Registration as RegistrationConfig
from homeserver.errors import Forbidden, InvalidParam, MissingParam, Unrecognized
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.accounts import Accounts
from homeserver.services.logins import DeviceWish

_NONCE_LIFETIME_MS: Final = 60_000


class SharedSecretRegistration:
    """Nonces prove by themselves that, and when, a process of this server made them."""

    def __init__(
        self, accounts: Accounts, clock: Clock, randomness: Randomness, config: RegistrationConfig, server_name: str
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._randomness = randomness
        self._secret = None if config.shared_secret is None else config.shared_secret.encode()
        self._server_name = server_name
        self._used: dict[str, int] = {}

    def nonce(self) -> str:
        """To be used once, within a minute. Raises Unrecognized where there is no shared secret."""
        secret = self._require_secret()
        text = f"{self._clock.now_ms() + _NONCE_LIFETIME_MS:x}.{self._randomness.token(16)}"
        return f"{text}.{_mac(secret, [b'nonce', text.encode()])}"

    async def register(self, body: dict[str, Any], ip: str, user_agent: str) -> dict[str, Any]:
        """Make an account, that of an administrator where `admin` is set, and log it in.

        `mac` is the HMAC-SHA1, in hex, of nonce, user name, password and "admin" or "notadmin" (and the user type, if
        any), with a NUL between them. Raises Forbidden where it is wrong.
        """
        secret = self._require_secret()
        texts = {name: _text(body, name) for name in ("nonce", "username", "password", "mac")}
        is_admin = body.get("admin", False)
        if not isinstance(is_admin, bool):
            raise InvalidParam("admin must be a boolean")
        parts = [texts["nonce"], texts["username"], texts["password"], "admin" if is_admin else "notadmin"]
        if body.get("user_type") is not None:
            parts.append(_text(body, "user_type"))
        expected = _mac(secret, [part.encode(errors="replace") for part in parts])
        if not hmac.compare_digest(expected.encode(), texts["mac"].lower().encode(errors="replace")):
            raise Forbidden("The HMAC is not right")
        self._use(secret, texts["nonce"])
        display_name = _text(body, "displayname") if body.get("displayname") is not None else None
        user_id, login = await self._accounts.make(
            self._accounts.user_id_for(texts["username"].lower()),
            texts["password"],
            wish=DeviceWish(ip=ip, user_agent=user_agent),
            is_admin=is_admin,
            display_name=display_name,
        )
        assert login is not None, user_id
        return login.body() | {"home_server": self._server_name}

    def _use(self, secret: bytes, nonce: str) -> None:
        now = self._clock.now_ms()
        text, _, mac = nonce.rpartition(".")
        if not hmac.compare_digest(_mac(secret, [b"nonce", text.encode()]).encode(), mac.encode()):
            raise Forbidden("The nonce was not given out by this server")
        expires_at = int(text.partition(".")[0], 16)
        if expires_at < now or nonce in self._used:
            raise Forbidden("The nonce has expired, or was used before")
        self._used = {used: until for used, until in self._used.items() if until >= now}
        self._used[nonce] = expires_at

    def _require_secret(self) -> bytes:
        if self._secret is None:
            raise Unrecognized("Registration with a shared secret is turned off")
        return self._secret


def _mac(secret: bytes, parts: list[bytes]) -> str:
    return hmac.new(secret, b"\0".join(parts), hashlib.sha1).hexdigest()


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise MissingParam(f"{name} is missing")
    if not isinstance(value, str) or len(value) > 512 or not value or "\0" in value:
        raise InvalidParam(f"{name} must be a string of 1 to 512 characters")
    return value
