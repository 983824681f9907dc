"""Logging in: proof of who somebody is becomes a device with tokens. And how these end.

https://spec.matrix.org/v1.19/client-server-api/#legacy-login, #refreshing-access-tokens
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from homeserver.config.account_sections import Sessions as SessionsConfig
from homeserver.errors import Forbidden, InvalidParam, UnknownToken, UserDeactivated, UserLocked
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.sessions import Requester, sessions_changed, token_hash
from storage import devices, tokens, users
from storage.database import Database, Write

MAX_DEVICE_ID = 512
MAX_DISPLAY_NAME = 100


class DeviceListUpdates(Protocol):
    """Tells those who share rooms with a local user, here and elsewhere, of changes in the user's devices."""

    async def changed(
        self,
        tx: Write,
        user_id: str,
        updated: Collection[str] = (),
        *,
        deleted: Collection[str] = (),
        renamed: Collection[str] = (),
    ) -> None:
        """As a part of a write: these devices are new or different, those are gone or have another name."""
        ...


class SettingsOfDevices(Protocol):
    """What users keep on the server for one of their devices."""

    async def forget(self, tx: Write, user_id: str, device_ids: Collection[str]) -> None:
        """As a part of a write: the devices are gone."""
        ...


class NoDeviceListUpdates:
    """Where nobody is told."""

    async def changed(
        self,
        tx: Write,
        user_id: str,
        updated: Collection[str] = (),
        *,
        deleted: Collection[str] = (),
        renamed: Collection[str] = (),
    ) -> None:
        return None


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """What a client wants to be known as. `refreshable`: it can use refresh tokens."""

    device_id: str | None = None
    display_name: str | None = None
    refreshable: bool = False
    ip: str = ""
    user_agent: str = ""

    @classmethod
    def of(cls, body: dict[str, Any], ip: str, user_agent: str) -> "DeviceWish":
        """From the body of a login or registration. Raises InvalidParam."""
        device_id, name = body.get("device_id"), body.get("initial_device_display_name")
        if device_id is not None and len(device_id) > MAX_DEVICE_ID:
            raise InvalidParam(f"device_id has more than {MAX_DEVICE_ID} characters")
        if name is not None and len(name) > MAX_DISPLAY_NAME:
            raise InvalidParam(f"initial_device_display_name has more than {MAX_DISPLAY_NAME} characters")
        return cls(device_id or None, name, bool(body.get("refresh_token")), ip, user_agent)


@dataclass(frozen=True, slots=True)
class Login:
    """A device with its tokens, as /login and /register answer."""

    user_id: str
    device_id: str
    access_token: str
    refresh_token: str | None = None
    expires_in_ms: int | None = None

    def body(self) -> dict[str, Any]:
        """The response; /refresh leaves out who it is."""
        answer: dict[str, Any] = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "access_token": self.access_token,
        }
        return answer | self.token_fields()

    def token_fields(self) -> dict[str, Any]:
        """The tokens alone."""
        answer: dict[str, Any] = {"access_token": self.access_token}
        if self.refresh_token is not None:
            answer["refresh_token"] = self.refresh_token
        if self.expires_in_ms is not None:
            answer["expires_in_ms"] = self.expires_in_ms
        return answer


class Logins:
    """Gives tokens out, and takes them back."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        device_lists: DeviceListUpdates,
        config: SessionsConfig,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._device_lists = device_lists
        self._config = config
        self.settings: SettingsOfDevices | None = None  # set once there is account data

    async def log_in(self, user_id: str, wish: DeviceWish) -> Login:
        """A device of the user with new tokens. Raises Forbidden where the device id is that of a cross-signing key,
        UserDeactivated, UserLocked."""

        async def operation(tx: Write) -> Login:
            await _require_open(tx, user_id)
            return await self.issue(tx, user_id, wish)

        return await self._database.write(operation)

    async def issue(self, tx: Write, user_id: str, wish: DeviceWish, *, is_new_user: bool = False) -> Login:
        """The same as a part of another write."""
        now = self._clock.now_ms()
        device_id = wish.device_id or self._randomness.device_id()
        known = False
        if wish.device_id is not None and not is_new_user:
            known = await devices.device_of(tx, user_id, device_id) is not None
            if not known and await devices.is_cross_signing_key(tx, user_id, device_id):
                raise Forbidden("The device id is that of a cross-signing key")
        if known:
            tokens.remove_of_devices(tx, user_id, (device_id,))
            sessions_changed(tx, user_id)
            devices.note_seen(tx, user_id, device_id, now, wish.ip, wish.user_agent)
        else:
            devices.put(tx, user_id, device_id, wish.display_name, now, wish.ip, wish.user_agent)
        return await self._tokens(tx, user_id, device_id, wish.refreshable, now)

    async def refresh(self, refresh_token: str) -> Login:
        """New tokens for a refresh token. The old one stands until one of the new ones is used. Raises UnknownToken."""

        async def operation(tx: Write) -> Login:
            now = self._clock.now_ms()
            found = await tokens.refresh_token_of(tx, token_hash(refresh_token))
            if found is None:
                raise UnknownToken("The refresh token is not recognised", soft_logout=True)
            if found.expires_at is not None and found.expires_at <= now:
                raise UnknownToken("The refresh token has expired", soft_logout=True)
            await _require_open(tx, found.user_id)
            await tokens.remove_predecessors(tx, found.refresh_token_id)
            if found.next_token_id is not None:  # its answer was lost: those tokens were never used
                await tokens.remove_refresh_token(tx, found.next_token_id)
            sessions_changed(tx, found.user_id)
            return await self._tokens(
                tx, found.user_id, found.device_id, refreshable=True, now=now, replaces=found.refresh_token_id
            )

        return await self._database.write(operation)

    async def log_out(self, requester: Requester) -> None:
        """End the session of a requester, and its device."""

        async def operation(tx: Write) -> None:
            if requester.device_id is not None:
                await self.remove_devices(tx, requester.user_id, [requester.device_id])
            elif requester.token_hash is not None:
                tokens.remove_access_token(tx, requester.token_hash)
                sessions_changed(tx, requester.user_id)

        await self._database.write(operation)

    async def log_out_all(self, user_id: str) -> None:
        """End all sessions and devices of a user."""

        async def operation(tx: Write) -> None:
            await self.remove_all_devices(tx, user_id)

        await self._database.write(operation)

    async def remove_devices(self, tx: Write, user_id: str, device_ids: list[str]) -> None:
        """As a part of a write: forget devices with everything that is theirs."""
        known = (await devices.ids_of_users(tx, [user_id])).get(user_id, set())
        gone = [device_id for device_id in dict.fromkeys(device_ids) if device_id in known]
        tokens.remove_of_devices(tx, user_id, gone)
        devices.remove(tx, user_id, gone)
        sessions_changed(tx, user_id)
        if gone:
            await self._settings_go(tx, user_id, gone)
            await self._device_lists.changed(tx, user_id, deleted=gone)

    async def remove_all_devices(self, tx: Write, user_id: str, *, but: str | None = None) -> None:
        """As a part of a write: the same for all devices, or all but one."""
        await tokens.remove_all_but(tx, user_id, but)
        gone = await devices.remove_all_but(tx, user_id, but)
        sessions_changed(tx, user_id)
        if gone:
            await self._settings_go(tx, user_id, gone)
            await self._device_lists.changed(tx, user_id, deleted=gone)

    async def _settings_go(self, tx: Write, user_id: str, gone: Collection[str]) -> None:
        if self.settings is not None:
            await self.settings.forget(tx, user_id, gone)

    async def login_token(self, user_id: str, lifetime_s: float | None = None) -> tuple[str, int]:
        """A token that logs another device in, once: (token, ms that it lasts)."""
        token = self._new_token("hlt")
        lifetime = round((self._config.login_token_lifetime if lifetime_s is None else lifetime_s) * 1000)
        expires_at = self._clock.now_ms() + lifetime

        async def operation(tx: Write) -> None:
            tokens.put_login_token(tx, token_hash(token), user_id, expires_at)

        await self._database.write(operation)
        return token, lifetime

    async def user_of_login_token(self, token: str) -> str:
        """Use a login token up. Raises Forbidden where it does not stand."""

        async def operation(tx: Write) -> str | None:
            return await tokens.take_login_token(tx, token_hash(token), self._clock.now_ms())

        user_id = await self._database.write(operation)
        if user_id is None:
            raise Forbidden("The login token is not valid, or has expired")
        return user_id

    async def forget_expired(self) -> None:
        """Clean up what has expired. To be called now and then."""
        now = self._clock.now_ms()

        async def operation(tx: Write) -> None:
            await tokens.remove_expired(tx, now, access_before=now - 7 * 86_400_000)

        await self._database.write(operation)

    async def _tokens(
        self, tx: Write, user_id: str, device_id: str, refreshable: bool, now: int, replaces: int | None = None
    ) -> Login:
        lifetime = self._config.refreshable_access_token_lifetime if refreshable else self._config.access_token_lifetime
        expires_in = None if lifetime is None else round(lifetime * 1000)
        access_token, refresh_token, refresh_id = self._new_token("hat"), None, None
        if refreshable:
            refresh_token, refresh_id = self._new_token("hrt"), self._database.new_id("refresh token")
            until = self._config.refresh_token_lifetime
            expires_at = None if until is None else now + round(until * 1000)
            await tokens.put_refresh_token(tx, token_hash(refresh_token), refresh_id, user_id, device_id, expires_at)
            if replaces is not None:
                await tokens.set_next(tx, replaces, refresh_id)
        await tokens.put_access_token(
            tx,
            token_hash(access_token),
            user_id,
            device_id,
            now,
            expires_at=None if expires_in is None else now + expires_in,
            refresh_token_id=refresh_id,
        )
        return Login(user_id, device_id, access_token, refresh_token, expires_in)

    def _new_token(self, kind: str) -> str:
        """The kind is at the front so that tokens which leak can be told for what they are."""
        return f"{kind}_{self._randomness.token(32)}"


async def _require_open(tx: Write, user_id: str) -> None:
    """Users of application services need not have an account of their own."""
    user = await users.user_of(tx, user_id)
    if user is not None and user.deactivated:
        raise UserDeactivated
    if user is not None and user.locked:
        raise UserLocked
