"""Accounts: making, changing and closing them."""

from collections.abc import Awaitable, Callable, Container
from typing import Any, Protocol

from homeserver.core.identifiers import MAX_IDENTIFIER_BYTES, is_valid_new_localpart, is_valid_user_id, localpart_of
from homeserver.errors import Exclusive, Forbidden, InvalidParam, InvalidUsername, NotFound, UserInUse
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservices import Appservice, Appservices
from homeserver.services.email_pushers import forget_user as forget_email_pushers
from homeserver.services.logins import DeviceWish, Login, Logins
from homeserver.services.passwords import Passwords
from homeserver.services.profiles import first_name, forget_profile
from homeserver.services.sessions import Requester, sessions_changed
from storage import devices, third_party_ids, users
from storage.database import Database, Write
from storage.users import UserExists, UserRow


class Departures(Protocol):
    """Takes users out of rooms."""

    async def leave_all(self, user_id: str) -> None:
        """Leave every room that the user is joined to, and reject every invite. Failures are logged."""
        ...


class Arrivals(Protocol):
    """Shows new people around."""

    async def welcome(self, user_id: str) -> None:
        """An account was made for a person. Failures are logged."""
        ...


class NoDepartures:
    """Where users are in no rooms."""

    async def leave_all(self, user_id: str) -> None:
        return None


class Accounts:
    """Accounts of this server."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        passwords: Passwords,
        logins: Logins,
        appservices: Appservices,
        server_name: str,
        *,
        tasks: Tasks | None = None,
        departures: Departures | None = None,
        reserved: Container[str] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._passwords = passwords
        self._logins = logins
        self._appservices = appservices
        self._server_name = server_name
        self._tasks = tasks
        self._reserved = reserved  # user ids of the server itself
        # Set later by the composition root: the rooms need the accounts first.
        self.departures = departures or NoDepartures()
        self.arrivals: Arrivals | None = None

    # --- names

    def user_id_for(self, username: str) -> str:
        """The user id of a new user name. Raises InvalidUsername."""
        user_id = f"@{username}:{self._server_name}"
        if not is_valid_new_localpart(username):
            raise InvalidUsername("A user name consists of a-z, 0-9 and the characters . _ = - / +")
        if len(user_id) > MAX_IDENTIFIER_BYTES:
            raise InvalidUsername(f"The user id would be longer than {MAX_IDENTIFIER_BYTES} characters")
        return user_id

    def any_user_id(self) -> str:
        """A user id for somebody who did not choose a name."""
        return f"@{self._randomness.alphanumeric(12).lower()}:{self._server_name}"

    async def require_free(self, user_id: str, appservice: Appservice | None = None) -> None:
        """Raises UserInUse, and Exclusive where the name is an application service's (another's than `appservice`)."""
        self._refuse_reserved(user_id)
        await self.require_unclaimed(user_id, appservice)

    async def require_unclaimed(self, user_id: str, appservice: Appservice | None = None) -> None:
        """As `require_free`, for a name that the server has reserved, too."""
        owner = self._appservices.owner_of("users", user_id)
        if owner is not None and owner is not appservice:
            raise Exclusive("This user name is reserved by an application service")
        async with self._database.read() as tx:
            if await users.user_of(tx, user_id) is not None:
                raise UserInUse

    def _refuse_reserved(self, user_id: str) -> None:
        if user_id in self._reserved:
            raise UserInUse("This user name is reserved by the server itself")

    # --- making

    async def make(
        self,
        user_id: str,
        password: str | None,
        *,
        wish: DeviceWish | None = None,
        is_admin: bool = False,
        is_guest: bool = False,
        appservice: Appservice | None = None,
        display_name: str | None = None,
        within: Callable[[Write], Awaitable[None]] | None = None,
        is_waited_for: bool = False,
    ) -> tuple[str, Login | None]:
        """Make an account and, with a `wish`, its first device. `within` runs in the same write, first.

        People are called what stands before the colon of their id, where there is no `display_name`. `is_waited_for`:
        come back only when they are in the rooms that are for everybody. Raises UserInUse.
        """
        is_person = not is_guest and appservice is None
        if display_name is None and is_person:
            display_name = localpart_of(user_id)
        self._refuse_reserved(user_id)
        password_hash = None if password is None else await self._passwords.hash(password)

        async def operation(tx: Write) -> Login | None:
            if within is not None:
                await within(tx)
            await users.create(
                tx,
                user_id,
                self._clock.now_ms(),
                password_hash=password_hash,
                is_admin=is_admin,
                is_guest=is_guest,
                appservice_id=None if appservice is None else appservice.id,
            )
            if display_name is not None:
                first_name(tx, user_id, display_name)
            return None if wish is None else await self._logins.issue(tx, user_id, wish, is_new_user=True)

        try:
            login = await self._database.write(operation)
        except UserExists:
            raise UserInUse from None
        if self.arrivals is not None and is_person:
            welcome = self.arrivals.welcome(user_id)
            if is_waited_for or self._tasks is None:
                await welcome
            else:
                self._tasks.start(f"{user_id} arrives", welcome)
        return user_id, login

    # --- changing

    async def find(self, user_id: str) -> UserRow | None:
        """The account, closed ones too."""
        async with self._database.read() as tx:
            return await users.user_of(tx, user_id)

    async def require(self, user_id: str) -> UserRow:
        """The account. Raises NotFound."""
        user = await self.find(user_id)
        if user is None:
            raise NotFound("There is no such user on this server")
        return user

    def require_strong(self, password: str) -> None:
        """Raises WeakPassword, InvalidParam."""
        self._passwords.require_strong(password)

    async def change_password(self, user_id: str, password: str, *, log_out_but: str | None, log_out: bool) -> None:
        """Set a password. With `log_out` every other device than `log_out_but` has to log in again."""
        self.require_strong(password)
        password_hash = await self._passwords.hash(password)

        async def operation(tx: Write) -> None:
            if not await users.set_password(tx, user_id, password_hash):
                raise Forbidden("The account does not exist any more")
            if log_out:
                await self._logins.remove_all_devices(tx, user_id, but=log_out_but)

        await self._database.write(operation)

    async def deactivate(self, user_id: str, *, erase: bool = False) -> None:
        """Close an account for good: log everything out, forget its keys and profile, and leave its rooms.

        https://spec.matrix.org/v1.19/client-server-api/#account-deactivation
        """
        await self._close(user_id, erase=erase)
        if self._tasks is None:
            await self.departures.leave_all(user_id)
        else:
            self._tasks.start(f"{user_id} leaves", self.departures.leave_all(user_id))

    async def _close(self, user_id: str, *, erase: bool) -> None:
        async def operation(tx: Write) -> None:
            if not await users.deactivate(tx, user_id, erase=erase):
                raise Forbidden("The account has been deactivated already")
            await self._logins.remove_all_devices(tx, user_id)
            devices.remove_cross_signing(tx, user_id)
            forget_profile(tx, user_id)
            await third_party_ids.remove_all(tx, user_id)
            await forget_email_pushers(tx, user_id)

        await self._database.write(operation)

    # --- what administrators do (client-server-api §Server administration)

    async def flags(self, requester: Requester, user_id: str) -> UserRow:
        """An open account, for an administrator to look at: an own one, or of somebody who is none.

        Raises Forbidden, InvalidParam (of another server), NotFound.
        """
        if not requester.is_admin:
            raise Forbidden("Only administrators may do this")
        if not is_valid_user_id(user_id) or user_id.partition(":")[2] != self._server_name:
            raise InvalidParam("This is no user of this server")
        user = await self.require(user_id)
        if user.deactivated:
            raise NotFound("The account is closed")
        if user.is_admin and user_id != requester.user_id:
            raise Forbidden("Administrators do not lock or suspend each other")
        return user

    async def set_locked(self, requester: Requester, user_id: str, locked: bool) -> None:
        """Lock an account, or unlock it. Raises Forbidden, NotFound."""
        await self._set_flag(requester, user_id, users.set_locked, locked)

    async def set_suspended(self, requester: Requester, user_id: str, suspended: bool) -> None:
        """Suspend an account, or end that. Raises Forbidden, NotFound."""
        await self._set_flag(requester, user_id, users.set_suspended, suspended)

    async def _set_flag(
        self, requester: Requester, user_id: str, set_flag: Callable[[Write, str, bool], Awaitable[Any]], value: bool
    ) -> None:
        user = await self.flags(requester, user_id)
        if user.is_admin:
            raise Forbidden("Administrators cannot be locked or suspended")
        await self._store_flag(user_id, set_flag, value)

    # --- what the operator does, who may do everything

    async def create(self, localpart: str, password: str, *, is_admin: bool = False) -> str:
        """Make an account, and wait until it has joined the rooms of new people; returns its user id.

        Raises InvalidUsername, UserInUse, WeakPassword, InvalidParam (the password).
        """
        user_id = self.user_id_for(localpart)
        self._passwords.require_strong(password)
        await self.make(user_id, password, is_admin=is_admin, is_waited_for=True)
        return user_id

    async def put_locked(self, user_id: str, locked: bool) -> None:
        """Lock any account, or unlock it. Raises NotFound."""
        await self.require(user_id)
        await self._store_flag(user_id, users.set_locked, locked)

    async def put_suspended(self, user_id: str, suspended: bool) -> None:
        """Suspend any account, or end that. Raises NotFound."""
        await self.require(user_id)
        await self._store_flag(user_id, users.set_suspended, suspended)

    async def put_admin(self, user_id: str, is_admin: bool) -> None:
        """Let somebody administer this server, or no longer. Raises NotFound."""
        await self.require(user_id)
        await self._store_flag(user_id, users.set_admin, is_admin)

    async def close(self, user_id: str, *, erase: bool) -> None:
        """Deactivate an account, and wait until it has left its rooms; one that is closed can still be erased.

        Raises NotFound, Forbidden.
        """
        user = await self.require(user_id)
        if not user.deactivated:
            await self._close(user_id, erase=erase)
        elif erase and not user.erased:
            await self._database.write(lambda tx: users.set_erased(tx, user_id))
        else:
            raise Forbidden("The account has been deactivated already")
        await self.departures.leave_all(user_id)

    async def list_after(self, user_id: str, limit: int) -> list[UserRow]:
        """Accounts in the order of their user ids, from beyond one on; closed ones too."""
        async with self._database.read() as tx:
            return await users.listed(tx, user_id, limit)

    async def _store_flag(
        self, user_id: str, set_flag: Callable[[Write, str, bool], Awaitable[Any]], value: bool
    ) -> None:
        async def operation(tx: Write) -> None:
            await set_flag(tx, user_id, value)
            sessions_changed(tx, user_id)

        await self._database.write(operation)
