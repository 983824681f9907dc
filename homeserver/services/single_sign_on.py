"""Single sign-on: people log in at an identity provider, and come back to an account of theirs here.

What is under way is in the database, bound by a cookie to the browser that it was begun in: each request of it may
reach another process, and nobody can be made to finish what somebody else began.

https://spec.matrix.org/v1.19/client-server-api/#sso-client-loginauthentication
"""

import hashlib
import hmac
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from homeserver.config.sign_on_sections import SignOn as SignOnConfig
from homeserver.errors import (
    Exclusive,
    Forbidden,
    InvalidParam,
    InvalidUsername,
    NotFound,
    Unknown,
    UserDeactivated,
    UserInUse,
    UserLocked,
)
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.accounts import Accounts
from homeserver.services.claim_mapping import filled_in, has_claim, localpart_from
from homeserver.services.email_addresses import EmailAddresses
from homeserver.services.identity_provider import IdentityProvider
from homeserver.services.logins import Logins
from homeserver.services.uia import InteractiveAuth
from storage import sign_on as storage
from storage.database import Database, Write
from storage.sign_on import AlreadyLinked, SignOnRow

log = logging.getLogger(__name__)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[^\s\x00-\x1f\x7f]*")
# What a browser would run or show by itself, rather than hand to a client.
_NO_CLIENTS: Final = frozenset(("about", "blob", "data", "file", "filesystem", "javascript", "vbscript", "view-source"))
_MAX_URL: Final = 4_096
_MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class Step:
    """What comes next: the browser is sent to `url` (client), or `sign_on_id` waits for an answer: which name, whether
    the client is trusted (confirm), whether what is under way is wanted (approve)."""

    kind: Literal["client", "name", "confirm", "approve"]
    sign_on_id: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom a provider knows."""

    provider: str
    subject: str
    localpart: str
    display_name: str | None
    email: str | None


class SingleSignOn:
    """`providers` in the order in which people are to see them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        accounts: Accounts,
        logins: Logins,
        uia: InteractiveAuth,
        emails: EmailAddresses,
        config: SignOnConfig,
        providers: Sequence[IdentityProvider],
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._accounts = accounts
        self._logins = logins
        self._uia = uia
        self._emails = emails
        self._config = config
        self._providers = {provider.options.id: provider for provider in providers}

    @property
    def is_enabled(self) -> bool:
        """Whether there is a provider."""
        return bool(self._providers)

    def flow(self) -> dict[str, Any]:
        """What GET /login says of it."""
        shown: list[dict[str, Any]] = []
        for provider in self._providers.values():
            options = provider.options
            entry = {"id": options.id, "name": options.name, "icon": options.icon, "brand": options.brand}
            shown.append({name: value for name, value in entry.items() if value is not None})
        return {"type": "m.login.sso", "identity_providers": shown}

    def names(self, provider_ids: Sequence[str] | None = None) -> dict[str, str]:
        """Provider id → what people call it; of some, or of all."""
        wanted = self._providers if provider_ids is None else [id_ for id_ in provider_ids if id_ in self._providers]
        return {id_: self._providers[id_].options.name for id_ in wanted}

    async def linked_providers(self, user_id: str) -> list[str]:
        """With which of the providers a user can log in."""
        async with self._database.read() as tx:
            found = await storage.providers_of(tx, user_id)
        return [provider for provider in found if provider in self._providers]

    # --- going there

    def new_browser(self) -> str:
        """A cookie for a browser that has none."""
        return self._randomness.token(24)

    async def begin_login(self, provider_id: str, browser: str, redirect_url: str) -> str:
        """Where to send a browser that is to log a client in. Raises NotFound, InvalidParam, ProviderFailed."""
        require_client_url(redirect_url)
        return await self._begin(provider_id, browser, {"redirect_url": redirect_url})

    async def begin_authentication(self, provider_id: str, browser: str, uia_session: str) -> str:
        """Where to send a browser for a stage of user-interactive authentication. Raises NotFound, Unknown…"""
        await self._uia.user_of_session(uia_session)
        return await self._begin(provider_id, browser, {"uia_session": uia_session})

    async def _begin(self, provider_id: str, browser: str, details: dict[str, Any]) -> str:
        provider = self._providers.get(provider_id)
        if provider is None:
            raise NotFound("There is no such login service")
        nonce, verifier = self._randomness.token(24), self._randomness.token(48)
        row = self._row("provider", browser, {"provider": provider_id, "nonce": nonce, "verifier": verifier} | details)
        url = await provider.authorization_url(row.sign_on_id, nonce, verifier)
        await self._put(row)
        return url

    # --- coming back

    async def come_back(self, state: str, code: str | None, issuer: str | None, browser: str | None) -> Step:
        """Somebody comes from the provider; without a `code`, they or it did not want to. Raises Forbidden…"""
        row = await self._take(state, "provider", browser)
        details = row.details
        provider = self._providers.get(details["provider"])
        if provider is None:
            raise NotFound("There is no such login service any more")
        provider.require_issuer(issuer)
        if code is None:
            raise Forbidden("The login service did not log you in")
        claims = await provider.claims(code, details["nonce"], details["verifier"])
        for claim, wanted in provider.options.required_claims.items():
            if not has_claim(claims, claim, wanted):
                raise Forbidden("The login service knows you, but you may not have an account here")
        person = _person(provider, claims)
        async with self._database.read() as tx:
            user_id = await storage.user_of(tx, person.provider, person.subject)
        if "uia_session" in details:
            wanted = await self._uia.user_of_session(details["uia_session"])
            if user_id is None or (wanted is not None and wanted != user_id):
                raise Forbidden("This is not the login of the account that you are using")
            # Somebody else may have sent them here: they are asked before it counts.
            waiting = self._row("approve", browser or "", {"uia_session": details["uia_session"], "user_id": user_id})
            await self._put(waiting)
            return Step("approve", waiting.sign_on_id)
        if user_id is None:
            user_id = await self._account_for(provider, person)
        if user_id is None:
            named = self._row("name", browser or "", _fields(person) | {"redirect_url": details["redirect_url"]})
            await self._put(named)
            return Step("name", named.sign_on_id)
        return await self._to_client(user_id, details["redirect_url"], browser or "")

    async def _account_for(self, provider: IdentityProvider, person: Person) -> str | None:
        """An account for somebody new; None where they have to choose a name first."""
        options = provider.options
        user_id = None
        try:
            user_id = self._accounts.user_id_for(person.localpart) if person.localpart else None
        except InvalidUsername:
            log.info("single sign-on: %s gives a user name that cannot be one", options.id)
        if options.link_existing_accounts and user_id is not None:
            existing = await self._accounts.find(user_id)
            if existing is not None and not (existing.deactivated or existing.is_guest or existing.appservice_id):
                return await self._link(person, user_id)
        if not options.register:
            raise Forbidden("You have no account on this server, and the login service may not make one")
        if options.ask_for_name or user_id is None:
            return None
        try:
            return await self._make(person, user_id)
        except (UserInUse, Exclusive):
            return None

    # --- choosing a name

    async def suggestion(self, sign_on_id: str, browser: str | None) -> str:
        """The user name that somebody who has to choose one might want. Raises Unknown, Forbidden."""
        row = await self._find(sign_on_id, "name", browser)
        return row.details["localpart"]

    async def choose(self, sign_on_id: str, browser: str | None, name: str) -> Step:
        """The account gets this name. Raises UserInUse, InvalidUsername, Exclusive: then another may be chosen."""
        row = await self._find(sign_on_id, "name", browser)
        person = _person_of(row.details)
        user_id = await self._make(person, self._accounts.user_id_for(name.strip().lower()))
        await self._take(sign_on_id, "name", browser)
        return await self._to_client(user_id, row.details["redirect_url"], browser or "")

    async def _make(self, person: Person, user_id: str) -> str:
        """An account of that name for somebody; if they got one in the meantime, that."""
        await self._accounts.require_free(user_id)

        async def within(tx: Write) -> None:
            await storage.link(tx, person.provider, person.subject, user_id)
            if person.email is not None:
                await self._emails.give_if_free(tx, user_id, person.email)

        try:
            await self._accounts.make(user_id, None, display_name=person.display_name, within=within)
        except AlreadyLinked:
            return await self._linked(person)
        log.info("single sign-on: %s is new, from %s", user_id, person.provider)
        return user_id

    async def _link(self, person: Person, user_id: str) -> str:
        try:
            await self._database.write(lambda tx: storage.link(tx, person.provider, person.subject, user_id))
        except AlreadyLinked:
            return await self._linked(person)
        log.info("single sign-on: %s is linked with %s", user_id, person.provider)
        return user_id

    async def _linked(self, person: Person) -> str:
        async with self._database.read() as tx:
            user_id = await storage.user_of(tx, person.provider, person.subject)
        assert user_id is not None
        return user_id

    # --- on to the client

    async def _to_client(self, user_id: str, redirect_url: str, browser: str) -> Step:
        user = await self._accounts.require(user_id)
        if user.deactivated:
            raise UserDeactivated
        if user.locked:
            raise UserLocked
        if redirect_url.startswith(self._config.allowed_redirects or ("\0",)):
            return Step("client", url=await self._client_url(user_id, redirect_url))
        row = self._row("confirm", browser, {"user_id": user_id, "redirect_url": redirect_url})
        await self._put(row)
        return Step("confirm", row.sign_on_id)

    async def confirmation(self, sign_on_id: str, browser: str | None) -> tuple[str, str]:
        """(user id, URL of the client) that somebody is asked about. Raises Unknown, Forbidden."""
        row = await self._find(sign_on_id, "confirm", browser)
        return row.details["user_id"], row.details["redirect_url"]

    async def confirm(self, sign_on_id: str, browser: str | None) -> str:
        """They trust the client: where to send them, with a login token. Raises Unknown, Forbidden."""
        row = await self._take(sign_on_id, "confirm", browser)
        return await self._client_url(row.details["user_id"], row.details["redirect_url"])

    # --- on with user-interactive authentication

    async def approval(self, sign_on_id: str, browser: str | None) -> tuple[str, str]:
        """(user id, operation) that somebody is asked about. Raises Unknown, Forbidden."""
        row = await self._find(sign_on_id, "approve", browser)
        operation, _ = await self._uia.state_of(row.details["uia_session"])
        return row.details["user_id"], operation

    async def approve(self, sign_on_id: str, browser: str | None) -> None:
        """They want it: the stage is completed. Raises Unknown, Forbidden."""
        row = await self._take(sign_on_id, "approve", browser)
        await self._uia.prove_sign_on(row.details["uia_session"], row.details["user_id"])

    async def _client_url(self, user_id: str, redirect_url: str) -> str:
        token, _ = await self._logins.login_token(user_id, self._config.login_token_lifetime)
        return with_login_token(redirect_url, token)

    # --- what is under way

    async def forget_old(self) -> None:
        """Forget what took too long. To be called now and then."""
        before = self._clock.now_ms() - self._lifetime_ms
        await self._database.write(lambda tx: storage.forget_old(tx, before))

    @property
    def _lifetime_ms(self) -> int:
        return round(self._config.lifetime * 1000)

    def _row(self, step: str, browser: str, details: dict[str, Any]) -> SignOnRow:
        return SignOnRow(self._randomness.token(24), step, _hash(browser), details, self._clock.now_ms())

    async def _put(self, row: SignOnRow) -> None:
        async def operation(tx: Write) -> None:
            storage.put(tx, row)

        await self._database.write(operation)

    async def _find(self, sign_on_id: str, step: str, browser: str | None) -> SignOnRow:
        async with self._database.read() as tx:
            row = await storage.find(tx, sign_on_id)
        if row is None or row.step != step or row.created_at + self._lifetime_ms < self._clock.now_ms():
            raise Unknown("This login has expired, or was used before: begin again")
        if browser is None or not hmac.compare_digest(row.browser, _hash(browser)):
            raise Forbidden("This login was begun in another browser, or your browser keeps no cookies")
        return row

    async def _take(self, sign_on_id: str, step: str, browser: str | None) -> SignOnRow:
        row = await self._find(sign_on_id, step, browser)
        if not await self._database.write(lambda tx: storage.take(tx, sign_on_id)):
            raise Unknown("This login has expired, or was used before: begin again")
        return row


def require_client_url(url: str) -> None:
    """Raises InvalidParam where a URL cannot be that of a client."""
    match = _SCHEME.fullmatch(url)
    if match is None or len(url) > _MAX_URL or match[1].lower() in _NO_CLIENTS:
        raise InvalidParam("redirectUrl is no URL of a client")


def with_login_token(url: str, token: str) -> str:
    """The URL with the token as its only `loginToken`."""
    rest, mark, fragment = url.partition("#")
    path, _, query = rest.partition("?")
    pairs = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != "loginToken"]
    return f"{path}?{'&'.join([*pairs, f'loginToken={quote(token)}'])}{mark}{fragment}"


def _person(provider: IdentityProvider, claims: Mapping[str, Any]) -> Person:
    options = provider.options
    name, display_name = filled_in(options.localpart, claims), filled_in(options.display_name, claims)
    email = filled_in(options.email, claims) if claims.get("email_verified") is True else None
    return Person(
        options.id,
        claims["sub"],
        localpart_from(name) if name else "",
        display_name[:_MAX_NAME] if display_name else None,
        email or None,
    )


def _fields(person: Person) -> dict[str, Any]:
    return {name: getattr(person, name) for name in Person.__slots__}


def _person_of(details: Mapping[str, Any]) -> Person:
    return Person(**{name: details[name] for name in Person.__slots__})


def _hash(browser: str) -> bytes:
    return hashlib.sha256(browser.encode()).digest()
