"""Who somebody is, told by user name and password."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from homeserver.core.identifiers import is_valid_user_id
from homeserver.errors import Forbidden, InvalidParam, MissingParam, UserDeactivated, UserLocked
from homeserver.services.email_addresses import EMAIL, EmailAddresses
from homeserver.services.passwords import Passwords
from storage import users
from storage.database import Database, Write
from storage.users import UserRow

_WRONG: Final = "The user name or the password is wrong"
LimitAttempts = Callable[[str], None]
"""Raises LimitExceeded where there were too many attempts for this key lately."""


def without_limit(key: str) -> None:
    """For servers without rate limits."""


class PasswordLogin:
    """Checks names and passwords. `limit` counts the attempts for each account, whoever makes them."""

    def __init__(
        self, database: Database, passwords: Passwords, server_name: str, limit: LimitAttempts = without_limit
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._server_name = server_name
        self._limit = limit
        self.emails: EmailAddresses | None = None  # set where people may log in with their e-mail addresses

    async def user_of(self, credentials: Mapping[str, Any]) -> str:
        """The user whom `identifier` (or the older `user`) and `password` prove to be there.

        The same fields make up a login and the stage `m.login.password`. Raises MissingParam, InvalidParam, Forbidden,
        UserDeactivated, UserLocked.
        """
        user_id = await self._user_of_address(credentials)
        if user_id is None:
            user_id = self.named_user(credentials)
        password = credentials.get("password")
        if not isinstance(password, str):
            raise MissingParam("The password is missing")
        self._limit(user_id)
        user = await self._find(user_id)
        if user is not None and user.deactivated:
            raise UserDeactivated
        if not await self._passwords.is_right(None if user is None else user.password_hash, password) or user is None:
            raise Forbidden(_WRONG)
        if user.locked:
            raise UserLocked
        await self._renew(user, password)
        return user.user_id

    def named_user(self, credentials: Mapping[str, Any]) -> str:
        """The user id that credentials name. https://spec.matrix.org/v1.19/client-server-api/#identifier-types"""
        identifier = credentials.get("identifier")
        if isinstance(identifier, dict):
            kind = identifier.get("type")
            if kind in ("m.id.thirdparty", "m.id.phone"):
                raise Forbidden(_WRONG)
            if kind != "m.id.user":
                raise InvalidParam("This type of identifier is not known")
            name = identifier.get("user")
        else:
            name = credentials.get("user")
        if not isinstance(name, str) or not name:
            raise MissingParam("The user name is missing")
        user_id = name if name.startswith("@") else f"@{name}:{self._server_name}"
        if not is_valid_user_id(user_id) or user_id.partition(":")[2] != self._server_name:
            raise Forbidden(_WRONG)
        return user_id

    async def has_password(self, user_id: str) -> bool:
        """Whether the user could log in with a password."""
        async with self._database.read() as tx:
            user = await users.user_of(tx, user_id)
        return user is not None and user.password_hash is not None

    async def _user_of_address(self, credentials: Mapping[str, Any]) -> str | None:
        """The user whose e-mail address is given; None where something else is. Of an address that nobody has
        something is made up, so that finding this out takes as long as a wrong password."""
        identifier = credentials.get("identifier")
        medium, address = None, None
        if isinstance(identifier, dict) and identifier.get("type") == "m.id.thirdparty":
            medium, address = identifier.get("medium"), identifier.get("address")
        elif "identifier" not in credentials and "medium" in credentials:  # as older clients have it
            medium, address = credentials.get("medium"), credentials.get("address")
        if medium != EMAIL or self.emails is None:
            return None
        if not isinstance(address, str):
            raise MissingParam("The address is missing")
        try:
            owner = await self.emails.owner_of(address)
        except InvalidParam:
            owner = None
        return owner or f"@:{address.strip().casefold()[:255]}"

    async def _find(self, user_id: str) -> UserRow | None:
        """New accounts have lower-case names, and many people write theirs with a capital."""
        async with self._database.read() as tx:
            user = await users.user_of(tx, user_id)
            if user is None and user_id != user_id.lower():
                localpart, _, server = user_id.partition(":")
                user = await users.user_of(tx, f"{localpart.lower()}:{server}")
        return user

    async def _renew(self, user: UserRow, password: str) -> None:
        """Hash the password anew where the configured cost has changed since."""
        if user.password_hash is None or not self._passwords.is_outdated(user.password_hash):
            return
        password_hash = await self._passwords.hash(password)

        async def operation(tx: Write) -> None:
            await users.set_password(tx, user.user_id, password_hash)

        await self._database.write(operation)
