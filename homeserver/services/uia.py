"""User-interactive authentication: an operation goes ahead once the stages of one of its flows are completed.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn, Protocol

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
TERMS: Final = "m.login.terms"
CAPTCHAS: Final = "m.login.recaptcha"
SIGN_ON: Final = "m.login.sso"
# What a page of this server can complete; single sign-on ends at a page of its own.
WITH_PAGES: Final = frozenset((PASSWORDS, DUMMY, REGISTRATION_TOKENS, EMAILS, TERMS, CAPTCHAS))

Flows = Sequence[Sequence[str]]
_GONE: Final = "This authentication session is not known, or has expired"


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
        """Who proved to be there, by password or by single sign-on."""
        return self.completed.get(PASSWORDS) or self.completed.get(SIGN_ON)


class Captchas(Protocol):
    """Tells people from programs."""

    site_key: str

    async def check(self, answer: Any) -> None:
        """Raises CaptchaNeeded, CaptchaInvalid, BadGateway."""
        ...


class SignOn(Protocol):
    """Knows who can log in elsewhere."""

    async def linked_providers(self, user_id: str) -> list[str]:
        """With which identity providers a user can log in."""
        ...


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
        # Set by the composition root, where flows have these stages.
        self.emails: EmailAddresses | None = None
        self.captchas: Captchas | None = None
        self.sign_on: SignOn | None = None
        self.policies: Mapping[str, Any] = {}
        self.has_passwords = True

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
        if user_id is not None:
            flows = await self._flows_of(user_id, flows)
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

    # --- stages that are completed on a page of this server (§Fallback)

    async def user_of_session(self, session_id: str) -> str | None:
        """Whom a session is for, None where that is to be found out. Raises Unknown."""
        return _user_of((await self._session(session_id)).operation)

    async def complete(self, session_id: str, stage: str, auth: Mapping[str, Any]) -> None:
        """Complete a stage of a session with what somebody entered. Raises Unrecognized, Unauthorized, Forbidden…"""
        if stage not in WITH_PAGES:
            raise Unrecognized("There is no page for this stage")
        session = await self._session(session_id)
        attempt = _Attempt(session, [[stage]], _user_of(session.operation), is_new=False, done=dict(session.completed))
        if stage in attempt.done:
            return
        result = await self._check(attempt, stage, auth)
        await self._note(session_id, stage, result)

    async def state_of(self, session_id: str) -> tuple[str, set[str]]:
        """(the operation that a session is for, the stages that are completed). Raises Unknown."""
        session = await self._session(session_id)
        user_id = _user_of(session.operation)
        operation = session.operation if user_id is None else session.operation.removesuffix(" " + user_id)
        return operation, set(session.completed)

    async def request_mail(self, session_id: str, address: str) -> dict[str, str]:
        """Send a link to an address for the stage of e-mail; returns the credentials that stand for it then.

        Raises ThreepidInUse, ThreepidNotFound, InvalidParam…
        """
        session = await self._session(session_id)
        if self.emails is None:
            raise Unrecognized("There is no page for this stage")
        secret = self._randomness.token(24)
        wish = {"email": address, "client_secret": secret, "send_attempt": 1}
        return {"sid": await self.emails.request_token(_purpose_of(session), wish), "client_secret": secret}

    async def prove_sign_on(self, session_id: str, user_id: str) -> None:
        """A user came from their identity provider. Raises Forbidden where the session is another user's."""
        session = await self._session(session_id)
        wanted = _user_of(session.operation)
        if wanted is not None and wanted != user_id:
            raise Forbidden("This is not the login of the account that you are using")
        await self._note(session_id, SIGN_ON, user_id)

    async def _note(self, session_id: str, stage: str, result: Any) -> None:
        async def operation(tx: Write) -> None:
            session = await uia_sessions.session_of(tx, session_id)
            if session is None:
                raise Unknown(_GONE)
            uia_sessions.put(tx, replace(session, completed=session.completed | {stage: result}))

        await self._database.write(operation)

    async def _session(self, session_id: str) -> UiaSession:
        async with self._database.read() as tx:
            found = await uia_sessions.session_of(tx, session_id)
        if found is None or found.created_at + self._lifetime_ms < self._clock.now_ms():
            raise Unknown(_GONE)
        return found

    async def _flows_of(self, user_id: str, flows: Flows) -> Flows:
        """Where a password is wanted: also single sign-on, or that alone, as the user can log in."""
        if self.sign_on is None or [PASSWORDS] not in [list(flow) for flow in flows]:
            return flows
        if not await self.sign_on.linked_providers(user_id):
            return flows
        others = [flow for flow in flows if list(flow) != [PASSWORDS]]
        has_password = self.has_passwords and await self._password_login.has_password(user_id)
        return [*([[PASSWORDS]] if has_password else []), [SIGN_ON], *others]

    # ---

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
        found = await self._session(session_id)
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
            if not any(_is_next(stage, flow, attempt.done) for flow in attempt.flows):
                raise Unauthorized("Another stage comes first")
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
            credentials = auth.get("threepid_creds", auth.get("threepidCreds"))
            return list(await self.emails.prove(_purpose_of(attempt.session), credentials))
        if stage == CAPTCHAS and self.captchas is not None:
            await self.captchas.check(auth.get("response"))
        if stage == SIGN_ON:
            raise Unauthorized("Log in at the page of this stage first")
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
            "params": self._parameters(attempt.flows),
            "session": session.session_id,
        }
        if attempt.done or error is not None:
            answer["completed"] = list(attempt.done)
        if error is not None:
            answer |= error.body()
        raise InteractiveAuthRequired(answer)

    def _parameters(self, flows: Flows) -> dict[str, Any]:
        stages = {stage for flow in flows for stage in flow}
        found: dict[str, Any] = {}
        if TERMS in stages:
            found[TERMS] = {"policies": self.policies}
        if CAPTCHAS in stages and self.captchas is not None:
            found[CAPTCHAS] = {"public_key": self.captchas.site_key}
        return found

    async def _end(self, session_id: str) -> None:
        async def operation(tx: Write) -> None:
            if not await uia_sessions.take(tx, session_id):
                raise Forbidden("This authentication has been used already")

        await self._database.write(operation)


def _is_next(stage: str, flow: Sequence[str], done: Mapping[str, Any]) -> bool:
    """Whether everything before the stage is completed: flows have an order."""
    return stage in flow and all(earlier in done for earlier in flow[: list(flow).index(stage)])


def _purpose_of(session: UiaSession) -> Purpose:
    return "register" if session.operation == "register" else "password"


def _user_of(operation: str) -> str | None:
    """The user whom an operation's session is for: the user id is the last word of its name."""
    _, _, last = operation.rpartition(" ")
    return last if last.startswith("@") else None


def _hash_of(body: Mapping[str, Any]) -> bytes:
    rest = {name: value for name, value in body.items() if name != "auth"}
    return hashlib.sha256(encode_lenient(rest)).digest()
