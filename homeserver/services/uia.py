"""User-interactive authentication: an operation goes ahead once the stages of one of its flows are completed.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

from homeserver.core.canonical_json import encode_lenient
from homeserver.errors import (
    Forbidden,
    InteractiveAuthRequired,
    LimitExceeded,
    MatrixError,
    MissingParam,
    Unauthorized,
    Unknown,
    Unrecognized,
)
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.email_addresses import EmailAddresses, Purpose
from homeserver.services.password_login import PasswordLogin
from storage import uia_sessions
from storage.database import Database, Write
from storage.uia_sessions import UiaSession

PASSWORDS: Final = "m.login.password"
DUMMY: Final = "m.login.dummy"
REGISTRATION_TOKENS: Final = "m.login.registration_token"
EMAILS: Final = "m.login.email.identity"

Flows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was completed: stage → the user id (password), the token (registration token), the address and the id of its
    proof (e-mail), or True (dummy).

    `session_id` is None where the request completed everything by itself.
    """

    completed: Mapping[str, Any]
    session_id: str | None

    @property
    def user_id(self) -> str | None:
        """Whose password was given."""
        return self.completed.get(PASSWORDS)


class _AnotherUser(Forbidden):
    """Somebody proved to be who they are, who is not who may do this: trying again will not help."""


@dataclass(slots=True)
class _Attempt:
    """One request: the session is stored only if it is needed again. `is_new`: it is not stored yet."""

    session: UiaSession
    flows: Flows
    user_id: str | None
    is_new: bool
    done: dict[str, Any] = field(default_factory=dict)


class InteractiveAuth:
    """Sessions are in the database, so that each request of one may reach another process."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        password_login: PasswordLogin,
        *,
        lifetime_s: float = 900,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._password_login = password_login
        self._lifetime_ms = round(lifetime_s * 1000)
        self.emails: EmailAddresses | None = None  # set where flows have the stage of e-mail addresses

    async def require(
        self,
        operation: str,
        body: Mapping[str, Any],
        flows: Flows,
        *,
        user_id: str | None = None,
        any_body: bool = False,
        keep: bool = False,
    ) -> Proof:
        """Returns once a flow is completed; raises InteractiveAuthRequired until then.

        `user_id`: nobody else's password will do. A session belongs to its operation and user, and to the body that it
        was begun with unless `any_body`. With `keep` it stands until `finish`; otherwise it ends here.
        """
        attempt = await self._begin(operation, body, flows, user_id, any_body)
        auth = body.get("auth")
        stage = auth.get("type") if isinstance(auth, dict) else None
        if isinstance(auth, dict) and stage is not None and stage not in attempt.done:
            await self._try(attempt, stage, auth)
        if not isinstance(auth, dict) or not self._is_complete(attempt):
            await self._ask(attempt)
        if not attempt.is_new and not keep:
            await self._end(attempt.session.session_id)
        return Proof(attempt.done, None if attempt.is_new else attempt.session.session_id)

    async def finish(self, tx: Write, proof: Proof) -> None:
        """As a part of a write: a kept session has served its purpose. Raises Forbidden where it had already."""
        if proof.session_id is not None and not await uia_sessions.take(tx, proof.session_id):
            raise Forbidden("This authentication has been used already")
        token = proof.completed.get(REGISTRATION_TOKENS)
        if token is not None:
            if proof.session_id is None and not await uia_sessions.reserve(tx, token, self._clock.now_ms()):
                raise Unauthorized("The registration token is not valid")
            await uia_sessions.release(tx, token, used=True)

    async def is_registration_token_usable(self, token: str) -> bool:
        """Whether somebody could register with this token now."""
        async with self._database.read() as tx:
            return await uia_sessions.is_usable(tx, token, self._clock.now_ms())

    async def forget_expired(self) -> None:
        """End what has taken too long. To be called now and then."""

        async def operation(tx: Write) -> None:
            for session in await uia_sessions.take_expired(tx, self._clock.now_ms() - self._lifetime_ms):
                token = session.completed.get(REGISTRATION_TOKENS)
                if token is not None:
                    await uia_sessions.release(tx, token, used=False)

        await self._database.write(operation)

    async def _begin(
        self, operation: str, body: Mapping[str, Any], flows: Flows, user_id: str | None, any_body: bool
    ) -> _Attempt:
        name = operation if user_id is None else f"{operation} {user_id}"
        body_hash = b"" if any_body else _hash_of(body)
        auth = body.get("auth")
        session_id = auth.get("session") if isinstance(auth, dict) else None
        if session_id is None:
            session = UiaSession(self._randomness.token(18), name, body_hash, {}, self._clock.now_ms())
            return _Attempt(session, flows, user_id, is_new=True)
        async with self._database.read() as tx:
            found = await uia_sessions.session_of(tx, session_id)
        if found is None or found.created_at + self._lifetime_ms < self._clock.now_ms():
            raise Unknown("This authentication session is not known, or has expired")
        if found.operation != name:
            raise Forbidden("This authentication session is for another operation")
        if found.body_hash != body_hash:
            raise Forbidden("The request is not the one that this authentication session was begun with")
        return _Attempt(found, flows, user_id, is_new=False, done=dict(found.completed))

    async def _try(self, attempt: _Attempt, stage: Any, auth: Mapping[str, Any]) -> None:
        """Complete a stage, or say why it failed."""
        try:
            if not any(stage in flow for flow in attempt.flows):
                raise Unrecognized("This stage is not part of any flow")
            attempt.done[stage] = await self._check(attempt, stage, auth)
        except (LimitExceeded, _AnotherUser):
            raise
        except MatrixError as error:
            await self._ask(attempt, error)

    async def _check(self, attempt: _Attempt, stage: str, auth: Mapping[str, Any]) -> Any:
        if stage == PASSWORDS:
            user_id = await self._password_login.user_of(auth)
            if attempt.user_id is not None and user_id != attempt.user_id:
                raise _AnotherUser("This is the password of another account")
            return user_id
        if stage == EMAILS and self.emails is not None:
            purpose: Purpose = "register" if attempt.session.operation == "register" else "password"
            return list(await self.emails.prove(purpose, auth.get("threepid_creds", auth.get("threepidCreds"))))
        if stage == REGISTRATION_TOKENS:
            token = auth.get("token")
            if not isinstance(token, str):
                raise MissingParam("The registration token is missing")
            await self._check_registration_token(attempt, token)
            return token
        return True

    async def _check_registration_token(self, attempt: _Attempt, token: str) -> None:
        now = self._clock.now_ms()
        if attempt.is_new:  # counted when the account is made, or when the session is stored
            if not await self.is_registration_token_usable(token):
                raise Unauthorized("The registration token is not valid")
            return

        async def operation(tx: Write) -> None:
            if not await uia_sessions.reserve(tx, token, now):
                raise Unauthorized("The registration token is not valid")
            done = attempt.done | {REGISTRATION_TOKENS: token}
            uia_sessions.put(tx, replace(attempt.session, completed=done))

        await self._database.write(operation)

    def _is_complete(self, attempt: _Attempt) -> bool:
        return any(all(stage in attempt.done for stage in flow) for flow in attempt.flows)

    async def _ask(self, attempt: _Attempt, error: MatrixError | None = None) -> NoReturn:
        """Store where things stand and say what is still wanted."""
        session = attempt.session
        if attempt.is_new or attempt.done != session.completed:

            async def operation(tx: Write) -> None:
                token = attempt.done.get(REGISTRATION_TOKENS)
                if (
                    attempt.is_new
                    and token is not None
                    and not await uia_sessions.reserve(tx, token, session.created_at)
                ):
                    del attempt.done[REGISTRATION_TOKENS]
                uia_sessions.put(tx, replace(session, completed=attempt.done))

            await self._database.write(operation)
        answer: dict[str, Any] = {
            "flows": [{"stages": list(flow)} for flow in attempt.flows],
            "params": {},
            "session": session.session_id,
        }
        if attempt.done or error is not None:
            answer["completed"] = list(attempt.done)
        if error is not None:
            answer |= error.body()
        raise InteractiveAuthRequired(answer)

    async def _end(self, session_id: str) -> None:
        async def operation(tx: Write) -> None:
            if not await uia_sessions.take(tx, session_id):
                raise Forbidden("This authentication has been used already")

        await self._database.write(operation)


def _hash_of(body: Mapping[str, Any]) -> bytes:
    rest = {name: value for name, value in body.items() if name != "auth"}
    return hashlib.sha256(encode_lenient(rest)).digest()
