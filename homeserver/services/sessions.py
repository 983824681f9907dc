"""Who a token stands for. Every request asks, so what was seen lately is answered from memory.

A change to a user's sessions is told of with a place in the log (stream CACHES), so every process forgets what it
remembered of that user before anybody is answered here, and as soon as the hint arrives elsewhere.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from homeserver.errors import Forbidden, UnknownDevice, UnknownToken, UserDeactivated
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservices import Appservice, Appservices
from storage import devices, tokens, users
from storage.database import Database, Write
from storage.streams import Stream
from storage.tokens import SessionRow

# A session is looked at again after so long: to note that it was used, and in case a hint was lost.
_FRESH_MS: Final = 60_000
_NOTE_EVERY_S: Final = 30.0
_PREFIX: Final = "sessions:"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks. `appservice` is set where an application service asks with its own token, in whosever name."""

    user_id: str
    device_id: str | None
    is_guest: bool = False
    is_admin: bool = False
    is_suspended: bool = False
    is_locked: bool = False
    appservice: Appservice | None = None
    token_hash: bytes | None = None
    rate_limited: bool = True


@dataclass(slots=True)
class _Session:
    """`fresh_until` in ms since the epoch: before, the session is known to be good; it never exceeds `expires_at`."""

    requester: Requester
    expires_at: int | None
    fresh_until: int


def token_hash(token: str) -> bytes:
    """What the database knows of a token."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def sessions_changed(tx: Write, user_id: str) -> None:
    """Have every process forget the sessions that it remembers of a user, when this write is committed."""
    tx.position(Stream.CACHES, _PREFIX + user_id)


class Sessions:
    """Looks tokens up. `size` sessions are remembered; those not used for longest go first."""

    def __init__(
        self, database: Database, clock: Clock, tasks: Tasks, appservices: Appservices, *, size: int = 20_000
    ) -> None:
        self._database = database
        self._clock = clock
        self._appservices = appservices
        self._size = size
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._tokens_of_user: dict[str, set[str]] = {}
        self._changes = 0
        self._masquerades: dict[str, set[str | None]] = {}
        # Told whose sessions are not what they were; None: anybody's may not be.
        self.on_change: list[Callable[[str | None], None]] = []
        self._seen: dict[tuple[str, str], tuple[int, str, str]] = {}
        database.bus.subscribe(self._on_hints, self._forget_all)
        tasks.loop("note which devices were seen", self.note_seen, every_s=_NOTE_EVERY_S, clock=clock)

    def cached(self, token: str) -> Requester | None:
        """The requester of a token that was looked up within the last minute; None: ask `requester_for`."""
        session = self._sessions.get(token)
        if session is None or session.fresh_until <= self._clock.now_ms():
            return None
        return session.requester

    async def requester_for(
        self,
        token: str,
        masquerade_user: str | None = None,
        masquerade_device: str | None = None,
        ip: str = "",
        user_agent: str = "",
    ) -> Requester:
        """The requester of a token.

        The masquerades are whom an application service says it acts for (application-service-api §Identity assertion);
        they mean nothing with users' tokens. Raises UnknownToken, and for application services Forbidden,
        UnknownDevice, UserDeactivated. That a user is locked is for the caller to mind.
        """
        appservice = self._appservices.by_token(token)
        if appservice is not None:
            if not appservice.may_ask_from(ip):
                raise Forbidden("The application service may not ask from this address")
            return await self._appservice_requester(appservice, masquerade_user, masquerade_device)
        now = self._clock.now_ms()
        session = self._sessions.get(token)
        if (
            session is not None
            and (session.expires_at is None or session.expires_at > now)
            and not self._database.is_shared
        ):
            # Nothing but this process can have changed it.
            session.fresh_until = _fresh_until(now, session.expires_at)
            self._sessions.move_to_end(token)
        else:
            session = await self._load(token, now)
        requester = session.requester
        if requester.device_id is not None and not requester.is_guest:
            self._seen[(requester.user_id, requester.device_id)] = (now, ip, user_agent)
        return requester

    async def note_seen(self) -> None:
        """Write down when, and from where, devices were seen since the last time."""
        if not self._seen:
            return
        seen, self._seen = self._seen, {}

        async def operation(tx: Write) -> None:
            for (user_id, device_id), (at, ip, user_agent) in seen.items():
                devices.note_seen(tx, user_id, device_id, at, ip, user_agent)

        await self._database.write(operation)

    def seen_of(self, user_id: str, device_id: str) -> tuple[int, str, str] | None:
        """When, and from where, a device was seen, where that is not yet written down: (ms, address, user agent)."""
        return self._seen.get((user_id, device_id))

    def forget_user(self, user_id: str) -> None:
        """Look the sessions of a user up anew from now on."""
        self._changes += 1
        self._masquerades.pop(user_id, None)
        for token in self._tokens_of_user.pop(user_id, ()):
            self._sessions.pop(token, None)
        for listener in self.on_change:
            listener(user_id)

    async def _load(self, token: str, now: int) -> _Session:
        changes = self._changes
        hashed = token_hash(token)
        async with self._database.read() as tx:
            row = await tokens.session_of(tx, hashed)
            replaces = (
                row is not None
                and row.refresh_token_id is not None
                and await tokens.has_predecessor(tx, row.refresh_token_id)
            )
        if row is None:
            raise UnknownToken
        _require_usable(row, now)
        if replaces:
            await self._retire_predecessor(row)
        session = _Session(
            _requester(row, hashed, self._appservices), row.expires_at, _fresh_until(now, row.expires_at)
        )
        if changes == self._changes:
            self._remember(token, session)
        return session

    async def _retire_predecessor(self, row: SessionRow) -> None:
        """A refreshed token is used for the first time: what it replaces is no longer needed.

        https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
        """

        async def operation(tx: Write) -> None:
            assert row.refresh_token_id is not None
            await tokens.remove_predecessors(tx, row.refresh_token_id)
            sessions_changed(tx, row.user_id)

        await self._database.write(operation)

    def _remember(self, token: str, session: _Session) -> None:
        self._sessions[token] = session
        self._sessions.move_to_end(token)
        self._tokens_of_user.setdefault(session.requester.user_id, set()).add(token)
        if len(self._sessions) > self._size:
            oldest, dropped = self._sessions.popitem(last=False)
            mine = self._tokens_of_user.get(dropped.requester.user_id)
            if mine is not None:
                mine.discard(oldest)
                if not mine:
                    del self._tokens_of_user[dropped.requester.user_id]

    async def _appservice_requester(
        self, appservice: Appservice, user_id: str | None, device_id: str | None
    ) -> Requester:
        user_id = user_id or appservice.sender
        if not appservice.may_act_as(user_id):
            raise Forbidden("The application service has no claim on this user")
        if user_id != appservice.sender or device_id is not None:
            known = self._masquerades.get(user_id)
            if known is None or device_id not in known:
                await self._require_user(appservice, user_id, device_id)
        is_limited = appservice.rate_limited and user_id != appservice.sender
        return Requester(user_id, device_id, appservice=appservice, rate_limited=is_limited)

    async def _require_user(self, appservice: Appservice, user_id: str, device_id: str | None) -> None:
        changes = self._changes
        async with self._database.read() as tx:
            user = await users.user_of(tx, user_id)
            if user is None and user_id != appservice.sender:
                raise Forbidden("The application service has not registered this user")
            if user is not None and user.deactivated:
                raise UserDeactivated
            if device_id is not None and await devices.device_of(tx, user_id, device_id) is None:
                raise UnknownDevice("The user has no such device")
        if changes == self._changes:
            if len(self._masquerades) >= self._size:
                self._masquerades.clear()
            self._masquerades.setdefault(user_id, set()).add(device_id)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES:
                for key in hint.keys:
                    if key.startswith(_PREFIX):
                        self.forget_user(key[len(_PREFIX) :])

    def _forget_all(self) -> None:
        self._changes += 1
        self._sessions.clear()
        self._tokens_of_user.clear()
        self._masquerades.clear()
        for listener in self.on_change:
            listener(None)


def _fresh_until(now: int, expires_at: int | None) -> int:
    return now + _FRESH_MS if expires_at is None else min(now + _FRESH_MS, expires_at)


def _require_usable(row: SessionRow, now: int) -> None:
    if row.deactivated:
        raise UnknownToken("The account has been deactivated")
    if row.expires_at is not None and row.expires_at <= now:
        raise UnknownToken("The access token has expired", soft_logout=True)


def _requester(row: SessionRow, hashed: bytes, appservices: Appservices) -> Requester:
    appservice = None if row.appservice_id is None else appservices.by_id(row.appservice_id)
    return Requester(
        row.user_id,
        row.device_id,
        is_guest=row.is_guest,
        is_admin=row.is_admin,
        is_suspended=row.suspended,
        is_locked=row.locked,
        token_hash=hashed,
        rate_limited=appservice is None or appservice.rate_limited,
    )
