"""Making accounts by oneself: people, guests, and users of application services.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
"""

from typing import Any

from homeserver.config.account_sections import Registration as RegistrationConfig
from homeserver.errors import AppserviceLoginUnsupported, Exclusive, Forbidden, MissingParam
from homeserver.services.accounts import Accounts
from homeserver.services.appservices import Appservice
from homeserver.services.email_addresses import EmailAddresses
from homeserver.services.logins import DeviceWish, Login
from homeserver.services.uia import CAPTCHAS, DUMMY, EMAILS, REGISTRATION_TOKENS, TERMS, InteractiveAuth
from storage.database import Write


class Registration:
    """Who may have an account, and how they get it."""

    def __init__(
        self,
        accounts: Accounts,
        uia: InteractiveAuth,
        config: RegistrationConfig,
        server_name: str,
        emails: EmailAddresses | None = None,
    ) -> None:
        self._accounts = accounts
        self._uia = uia
        self._config = config
        self._server_name = server_name
        self._emails = emails
        wanted = {
            CAPTCHAS: config.captcha.site_key is not None,
            TERMS: bool(config.terms),
            REGISTRATION_TOKENS: config.requires_token,
            EMAILS: config.requires_email and emails is not None,
        }
        self._flows = [[stage for stage, is_wanted in wanted.items() if is_wanted] or [DUMMY]]

    async def register_user(self, body: dict[str, Any], ip: str, user_agent: str) -> dict[str, Any]:
        """An account for a person; capitals in the name become small letters, as at logging in.

        Raises InteractiveAuthRequired, UserInUse, InvalidUsername, WeakPassword…
        """
        if not self._config.enabled:
            raise Forbidden("This server does not let people register")
        username, password = body.get("username"), body.get("password")
        wish = DeviceWish.of(body, ip, user_agent)
        user_id = None
        if username is not None:
            user_id = self._accounts.user_id_for(username.lower())
            await self._accounts.require_free(user_id)
        if password is not None:
            self._accounts.require_strong(password)
        # The first request is often made without a name, just to learn the flows.
        proof = await self._uia.require("register", body, self._flows, any_body=True, keep=True)
        if password is None:
            raise MissingParam("The password is missing")
        chosen = user_id or self._accounts.any_user_id()

        async def finish(tx: Write) -> None:
            await self._uia.finish(tx, proof)
            if self._emails is not None and EMAILS in proof.completed:
                await self._emails.claim(tx, chosen, *proof.completed[EMAILS])

        wished = None if body.get("inhibit_login") else wish
        return self._answer(*await self._accounts.make(chosen, password, wish=wished, within=finish))

    async def register_guest(self, body: dict[str, Any], ip: str, user_agent: str) -> dict[str, Any]:
        """An account for a guest, which nobody can log in to again."""
        if not self._config.allow_guests:
            raise Forbidden("This server does not take guests")
        name = DeviceWish.of(body, ip, user_agent).display_name
        wish = DeviceWish(display_name=name, ip=ip, user_agent=user_agent)
        return self._answer(*await self._accounts.make(self._accounts.any_user_id(), None, wish=wish, is_guest=True))

    async def register_for_appservice(
        self, appservice: Appservice, body: dict[str, Any], ip: str, user_agent: str
    ) -> dict[str, Any]:
        """A user of an application service. Raises Exclusive where it has no claim on the name,
        AppserviceLoginUnsupported where it wants a device that it should make itself."""
        username = body.get("username")
        if username is None:
            raise MissingParam("The username is missing")
        user_id = self._accounts.user_id_for(username)
        if not appservice.may_act_as(user_id):
            raise Exclusive("This name lies outside the namespaces of the application service")
        if appservice.manages_devices and body.get("inhibit_login") is not True:
            raise AppserviceLoginUnsupported("Who makes devices itself registers with inhibit_login")
        wish = None if body.get("inhibit_login") else DeviceWish.of(body, ip, user_agent)
        return self._answer(*await self._accounts.make(user_id, None, wish=wish, appservice=appservice))

    async def is_available(self, username: str) -> bool:
        """True; raises UserInUse, InvalidUsername, Exclusive where the name cannot be had."""
        if not self._config.enabled:
            raise Forbidden("This server does not let people register")
        await self._accounts.require_free(self._accounts.user_id_for(username.lower()))
        return True

    def _answer(self, user_id: str, login: Login | None) -> dict[str, Any]:
        answer: dict[str, Any] = {"user_id": user_id} if login is None else login.body()
        return answer | {"home_server": self._server_name}
