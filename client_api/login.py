"""Registering, logging in and out, refreshing tokens (client-server-api §Legacy API)."""

from typing import Any

from homeserver.config.account_sections import Sessions as SessionsConfig
from homeserver.errors import (
    AppserviceLoginUnsupported,
    Exclusive,
    Forbidden,
    InvalidParam,
    MissingParam,
    MissingToken,
    Unknown,
    UnknownToken,
)
from homeserver.services.accounts import Accounts
from homeserver.services.appservices import Appservice, Appservices
from homeserver.services.logins import DeviceWish, Logins
from homeserver.services.password_login import PasswordLogin
from homeserver.services.registration import Registration
from homeserver.services.shared_secret_registration import SharedSecretRegistration
from homeserver.services.single_sign_on import SingleSignOn
from homeserver.services.uia import PASSWORDS, InteractiveAuth
from homeserver.web.request import Request
from homeserver.web.requester import access_token

_APPSERVICE = "m.login.application_service"
_LOGIN_TOKENS = "m.login.token"


class LoginHandlers:
    """Ways to get an access token, and to be rid of it."""

    def __init__(
        self,
        accounts: Accounts,
        registration: Registration,
        shared_secret: SharedSecretRegistration,
        logins: Logins,
        password_login: PasswordLogin,
        uia: InteractiveAuth,
        appservices: Appservices,
        config: SessionsConfig,
        sso: SingleSignOn | None = None,
    ) -> None:
        self._accounts = accounts
        self._registration = registration
        self._shared_secret = shared_secret
        self._logins = logins
        self._password_login = password_login
        self._uia = uia
        self._appservices = appservices
        self._config = config
        self._sso = sso

    async def register(self, request: Request) -> dict[str, Any]:
        kind = request.query.str_("kind", "user")
        body, ip, agent = request.body, request.client_ip, request.user_agent
        if kind == "guest":
            return await self._registration.register_guest(body, ip, agent)
        if kind != "user":
            raise InvalidParam("kind must be user or guest")
        if body.get("type") == _APPSERVICE:
            return await self._registration.register_for_appservice(self._appservice(request), body, ip, agent)
        return await self._registration.register_user(body, ip, agent)

    async def availability(self, request: Request) -> dict[str, Any]:
        return {"available": await self._registration.is_available(request.query.require("username"))}

    async def registration_token_validity(self, request: Request) -> dict[str, Any]:
        return {"valid": await self._uia.is_registration_token_usable(request.query.require("token"))}

    async def shared_secret_nonce(self, request: Request) -> dict[str, Any]:
        return {"nonce": self._shared_secret.nonce()}

    async def register_with_shared_secret(self, request: Request) -> dict[str, Any]:
        return await self._shared_secret.register(request.body, request.client_ip, request.user_agent)

    async def login_flows(self, request: Request) -> dict[str, Any]:
        flows: list[dict[str, Any]] = [{"type": _LOGIN_TOKENS, "get_login_token": True}, {"type": _APPSERVICE}]
        if self._sso is not None and self._sso.is_enabled:
            flows.insert(0, self._sso.flow())
        if self._config.password_login:
            flows.insert(0, {"type": PASSWORDS})
        return {"flows": flows}

    async def login(self, request: Request) -> dict[str, Any]:
        body, kind = request.body, request.body["type"]
        wish = DeviceWish.of(body, request.client_ip, request.user_agent)
        if kind == PASSWORDS and self._config.password_login:
            user_id = await self._password_login.user_of(body)
        elif kind == _LOGIN_TOKENS:
            if not isinstance(body.get("token"), str):
                raise MissingParam("The login token is missing")
            user_id = await self._logins.user_of_login_token(body["token"])
        elif kind == _APPSERVICE:
            user_id = await self._appservice_user(request)
        else:
            raise Unknown("This server does not know this type of login")
        return (await self._logins.log_in(user_id, wish)).body()

    async def generate_login_token(self, request: Request) -> dict[str, Any]:
        user = request.user
        await self._uia.require("get_token", request.body, [[PASSWORDS]], user_id=user.user_id)
        token, lifetime = await self._logins.login_token(user.user_id)
        return {"login_token": token, "expires_in_ms": lifetime}

    async def refresh(self, request: Request) -> dict[str, Any]:
        return (await self._logins.refresh(request.body["refresh_token"])).token_fields()

    async def logout(self, request: Request) -> dict[str, Any]:
        await self._logins.log_out(request.user)
        return {}

    async def logout_all(self, request: Request) -> dict[str, Any]:
        await self._logins.log_out_all(request.user.user_id)
        return {}

    def _appservice(self, request: Request) -> Appservice:
        """The application service whose token came along."""
        token = access_token(request.http, request.http.rel_url.raw_query_string)
        if token is None:
            raise MissingToken("The token of the application service is missing")
        appservice = self._appservices.by_token(token)
        if appservice is None:
            raise UnknownToken("This is not the token of an application service")
        return appservice

    async def _appservice_user(self, request: Request) -> str:
        appservice = self._appservice(request)
        if appservice.manages_devices:
            raise AppserviceLoginUnsupported("This application service makes the devices of its users itself")
        user_id = self._password_login.named_user(request.body)
        if not appservice.may_act_as(user_id):
            raise Exclusive("This user lies outside the namespaces of the application service")
        user = await self._accounts.find(user_id)
        if user is None or user.deactivated:
            raise Forbidden("The application service has not registered this user")
        return user_id
