"""Profiles: what users tell of themselves, in fields. https://spec.matrix.org/v1.19/client-server-api/#profiles"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from homeserver.core.canonical_json import encode
from homeserver.core.identifiers import is_valid_user_id
from homeserver.errors import (
    Forbidden,
    InvalidParam,
    KeyTooLarge,
    MissingParam,
    NotFound,
    ProfileTooLarge,
    UserSuspended,
)
from homeserver.runtime.bus import Hint
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservices import Appservices
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.sessions import Requester
from homeserver.services.unknown_names import NobodyKnows, UnknownNames
from storage import profiles, users
from storage.database import Database, Write
from storage.streams import Stream

MAX_PROFILE_BYTES: Final = 65_536
MAX_KEY_BYTES: Final = 255
MAX_DISPLAY_NAME: Final = 256
MAX_AVATAR_URL: Final = 1000
# Member events carry these two.
_IN_ROOMS: Final = ("displayname", "avatar_url")
_FIELD: Final = re.compile(r"avatar_url|displayname|m\.tz|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_PREFIX: Final = "profiles:"


class MemberUpdates(Protocol):
    """Carries profiles into rooms."""

    async def profile_changed(self, user_id: str) -> None:
        """Give the user's member event in each room that they are joined to the name and avatar of their profile as it
        is when that event is made. Rooms where that cannot be done are left out, and logged."""
        ...


class RemoteProfiles(Protocol):
    """Asks other servers."""

    async def query(self, user_id: str, field: str | None) -> dict[str, Any]:
        """A profile, or one field of it. Raises NotFound, Forbidden, BadGateway."""
        ...


class NoMemberUpdates:
    """Where users are in no rooms."""

    async def profile_changed(self, user_id: str) -> None:
        return None


class NoRemoteProfiles:
    """For a server that does not federate."""

    async def query(self, user_id: str, field: str | None) -> dict[str, Any]:
        raise NotFound("This server does not federate")


class Profiles:
    """Profiles of this server's users, and through `remote` those of others. `given` are those of users without an
    account, by user id."""

    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        appservices: Appservices,
        server_name: str,
        *,
        member_updates: MemberUpdates | None = None,
        remote: RemoteProfiles | None = None,
        given: Mapping[str, dict[str, Any]] | None = None,
        cache_size: int = 5000,
    ) -> None:
        self._database = database
        self._given = given or {}
        self._tasks = tasks
        self._appservices = appservices
        self._server_name = server_name
        self._remote = remote or NoRemoteProfiles()
        # Set later by the composition root where the rooms need the profiles first.
        self.member_updates = member_updates or NoMemberUpdates()
        self.unknown: UnknownNames = NobodyKnows()
        self._updating: dict[str, bool] = {}
        self._known: BoundedCache[str, dict[str, Any]] = BoundedCache(cache_size)
        self._changes = 0
        database.bus.subscribe(self._on_hints, self._forget_all)

    # --- reading

    async def get(self, user_id: str, field: str | None) -> dict[str, Any]:
        """A whole profile, or one field of it. Raises NotFound, InvalidParam."""
        if not is_valid_user_id(user_id):
            raise InvalidParam("This is not a user id")
        if user_id.partition(":")[2] == self._server_name:
            return await self.local(user_id, field)
        found = await self._remote.query(user_id, field)
        if field is None:
            return found
        if field not in found:
            raise NotFound("The profile has no such field")
        return {field: found[field]}

    async def local(self, user_id: str, field: str | None, *, may_ask: bool = True) -> dict[str, Any]:
        """The same of a user of this server."""
        profile = await self._profile(user_id)
        if not profile or (field is not None and field not in profile):
            async with self._database.read() as tx:
                user = await users.user_of(tx, user_id)
            is_sender = any(appservice.sender == user_id for appservice in self._appservices.all)
            if user is None and not is_sender and user_id not in self._given:
                if may_ask and await self.unknown.user(user_id):
                    return await self.local(user_id, field, may_ask=False)
                raise NotFound("There is no such user")
            if field is not None or (user is not None and user.deactivated):
                raise NotFound("The profile has no such field" if field else "There is no such user")
        return dict(profile) if field is None else {field: profile[field]}

    async def member_fields(self, user_id: str) -> dict[str, Any]:
        """`displayname` and `avatar_url` for the content of a member event; those that are not set are absent."""
        profile = await self._profile(user_id)
        return {name: profile[name] for name in _IN_ROOMS if name in profile}

    async def _profile(self, user_id: str) -> dict[str, Any]:
        known = self._given.get(user_id) or self._known.get(user_id)
        if known is None:
            changes = self._changes
            async with self._database.read() as tx:
                known = await profiles.profile_of(tx, user_id)
            if changes == self._changes:
                self._known.put(user_id, known)
        return known

    # --- changing

    async def set_field(self, requester: Requester, user_id: str, field: str, body: dict[str, Any]) -> None:
        """Set one field to `body[field]`.

        Raises Forbidden, MissingParam, InvalidParam, KeyTooLarge, ProfileTooLarge, UserSuspended.
        """
        _require_may_change(requester, user_id, field)
        if field not in body:
            raise MissingParam(f"The body has no {field!r}")
        value = body[field]
        if field in _IN_ROOMS and value in (None, ""):
            await self._change(user_id, field, None)
            return
        _require_valid(field, value)
        await self._change(user_id, field, value)

    async def remove_field(self, requester: Requester, user_id: str, field: str) -> None:
        """Forget one field; it may be absent. Raises Forbidden, InvalidParam, KeyTooLarge, UserSuspended."""
        _require_may_change(requester, user_id, field)
        await self._change(user_id, field, None)

    async def _change(self, user_id: str, field: str, value: Any) -> None:
        async def operation(tx: Write) -> bool:
            before = await profiles.profile_of(tx, user_id)
            if before.get(field) == value and type(before.get(field)) is type(value):
                return False
            if value is None:
                await profiles.remove(tx, user_id, field)
            else:
                _require_fits(before | {field: value})
                await profiles.put_now(tx, user_id, field, value)
            tx.position(Stream.CACHES, _PREFIX + user_id)
            return True

        if await self._database.write(operation) and field in _IN_ROOMS:
            self._tell_rooms(user_id)

    def _tell_rooms(self, user_id: str) -> None:
        """In the background, as there may be many rooms; one pass after the other, so that the last profile stays."""
        if user_id in self._updating:
            self._updating[user_id] = True
            return
        self._updating[user_id] = False
        self._tasks.start(f"profile of {user_id} to rooms", self._update_rooms(user_id))

    async def _update_rooms(self, user_id: str) -> None:
        try:
            again = True
            while again:
                self._updating[user_id] = False
                await self.member_updates.profile_changed(user_id)
                again = self._updating[user_id]
        finally:
            del self._updating[user_id]

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES:
                for key in hint.keys:
                    if key.startswith(_PREFIX):
                        self._changes += 1
                        self._known.drop(key[len(_PREFIX) :])

    def _forget_all(self) -> None:
        self._changes += 1
        self._known.clear()


def first_name(tx: Write, user_id: str, display_name: str) -> None:
    """Put off: name a user who has no profile yet, as a part of making the account."""
    profiles.put(tx, user_id, "displayname", display_name)
    tx.position(Stream.CACHES, _PREFIX + user_id)


def forget_profile(tx: Write, user_id: str) -> None:
    """Put off: remove a whole profile, as a part of closing an account."""
    profiles.remove_all(tx, user_id)
    tx.position(Stream.CACHES, _PREFIX + user_id)


def _require_may_change(requester: Requester, user_id: str, field: str) -> None:
    if len(field.encode(errors="replace")) > MAX_KEY_BYTES:
        raise KeyTooLarge
    if _FIELD.fullmatch(field) is None:
        raise InvalidParam("This is not the name of a profile field")
    if requester.user_id != user_id:
        raise Forbidden("You can only change your own profile")
    if requester.is_suspended:
        raise UserSuspended
    if requester.is_guest and field != "displayname":
        raise Forbidden("Guests can only change their display name")


def _require_valid(field: str, value: Any) -> None:
    if field in (*_IN_ROOMS, "m.tz") and not isinstance(value, str):
        raise InvalidParam(f"{field} must be a string")
    if field == "displayname" and len(value) > MAX_DISPLAY_NAME:
        raise InvalidParam(f"The display name has more than {MAX_DISPLAY_NAME} characters")
    # An avatar that is somewhere else would have everybody who sees the user fetch it from there.
    if field == "avatar_url" and (len(value) > MAX_AVATAR_URL or ("://" in value and not value.startswith("mxc://"))):
        raise InvalidParam("avatar_url must be an mxc:// URI")


def _require_fits(profile: dict[str, Any]) -> None:
    if len(encode(profile)) > MAX_PROFILE_BYTES:
        raise ProfileTooLarge
