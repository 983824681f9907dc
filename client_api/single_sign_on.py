"""Single sign-on (client-server-api §SSO client login/authentication): pages and redirects in people's browsers."""

import re
from html import escape
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from client_api.pages import field, for_people, form, link, listed, page, paragraph, read_form, stage_done
from homeserver.errors import Exclusive, InvalidUsername, MatrixError, Unrecognized, UserInUse
from homeserver.services.single_sign_on import SingleSignOn, Step, require_client_url
from homeserver.web.request import Request
from homeserver.web.responses import Raw, Redirect

BASE: Final = "/_matrix/client/unstable/sso"
_COOKIE: Final = "hearth_sso"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_WHAT: Final = {
    "add 3pid": "add an e-mail address to your account",
    "deactivate": "close your account",
    "delete_device": "log out a device of yours",
    "delete_devices": "log out devices of yours",
    "get_token": "log in another device",
    "password": "change your password",
    "uploadCrossSigningKeys": "set up or reset the identity of your encrypted conversations",
}


class SingleSignOnHandlers:
    """`is_secure`: clients reach this server over HTTPS, so the cookie is for HTTPS alone."""

    def __init__(self, sso: SingleSignOn, *, is_secure: bool) -> None:
        self._sso = sso
        self._is_secure = is_secure

    @for_people
    async def redirect(self, request: Request) -> Raw | Redirect:
        """To the identity provider; where there are several and none is named, a page to choose on."""
        self._require_enabled()
        redirect_url = request.query.require("redirectUrl")
        provider = request.path.get("idpId")
        if provider is None:
            require_client_url(redirect_url)
            names = self._sso.names()
            if len(names) > 1:
                query = urlencode({"redirectUrl": redirect_url})
                base = "/_matrix/client/v3/login/sso/redirect/"
                links = [link(f"{base}{quote(id_, safe='')}?{query}", name) for id_, name in names.items()]
                return page("Log in with", listed(links))
            provider = next(iter(names))
        browser = _browser_of(request) or self._sso.new_browser()
        url = await self._sso.begin_login(provider, browser, redirect_url)
        return Redirect(url, headers=self._cookie(browser))

    @for_people
    async def authenticate(self, request: Request) -> Raw | Redirect:
        """The same for a stage of user-interactive authentication; its page leads here."""
        self._require_enabled()
        browser = _browser_of(request) or self._sso.new_browser()
        query = request.query
        url = await self._sso.begin_authentication(query.require("provider"), browser, query.require("session"))
        return Redirect(url, headers=self._cookie(browser))

    @for_people
    async def callback(self, request: Request) -> Raw | Redirect:
        """From the identity provider."""
        self._require_enabled()
        query = request.query
        code = None if "error" in query else query.require("code")
        step = await self._sso.come_back(query.require("state"), code, query.str_("iss"), _browser_of(request))
        return self._next(step)

    @for_people
    async def name_page(self, request: Request) -> Raw:
        """Somebody new chooses a user name."""
        self._require_enabled()
        sign_on_id = request.query.require("id")
        return _name_page(sign_on_id, await self._sso.suggestion(sign_on_id, _browser_of(request)))

    @for_people
    async def choose_name(self, request: Request) -> Raw | Redirect:
        """They have chosen."""
        self._require_enabled()
        fields = await read_form(request)
        sign_on_id, name = fields.get("id", ""), fields.get("name", "")
        try:
            step = await self._sso.choose(sign_on_id, _browser_of(request), name)
        except (UserInUse, InvalidUsername, Exclusive) as error:
            return _name_page(sign_on_id, name, error)
        return self._next(step)

    @for_people
    async def confirmation_page(self, request: Request) -> Raw:
        """Is this the client that they want to log in?"""
        self._require_enabled()
        sign_on_id = request.query.require("id")
        user_id, url = await self._sso.confirmation(sign_on_id, _browser_of(request))
        return page(
            "Continue to your client?",
            f"<p>The client at <code>{escape(_site_of(url))}</code> will be logged in as "
            f"<code>{escape(user_id)}</code>, and can do everything that you can.</p>",
            paragraph("Close this page if you did not ask for this, or do not know it."),
            form(f"{BASE}/confirm", "Continue", hidden={"id": sign_on_id}),
        )

    @for_people
    async def confirm(self, request: Request) -> Redirect:
        """It is."""
        self._require_enabled()
        fields = await read_form(request)
        return Redirect(await self._sso.confirm(fields.get("id", ""), _browser_of(request)))

    @for_people
    async def approval_page(self, request: Request) -> Raw:
        """Is this what they want to do?"""
        self._require_enabled()
        sign_on_id = request.query.require("id")
        user_id, operation = await self._sso.approval(sign_on_id, _browser_of(request))
        return page(
            "Is it you who wants this?",
            paragraph(f"A client that is logged in as {user_id} wants to {described(operation)}."),
            paragraph("Close this page if you did not begin this yourself."),
            form(f"{BASE}/approve", "Yes, go on", hidden={"id": sign_on_id}),
        )

    @for_people
    async def approve(self, request: Request) -> Raw:
        """It is."""
        self._require_enabled()
        fields = await read_form(request)
        await self._sso.approve(fields.get("id", ""), _browser_of(request))
        return stage_done()

    def _require_enabled(self) -> None:
        if not self._sso.is_enabled:
            raise Unrecognized("This server has no single sign-on")

    def _next(self, step: Step) -> Raw | Redirect:
        if step.kind == "client":
            return Redirect(step.url)
        return Redirect(f"{BASE}/{step.kind}?{urlencode({'id': step.sign_on_id})}")

    def _cookie(self, browser: str) -> dict[str, str]:
        secure = "; Secure" if self._is_secure else ""
        return {
            "Set-Cookie": f"{_COOKIE}={browser}; Path=/_matrix/client; HttpOnly; SameSite=Lax{secure}",
            "Cache-Control": "no-store",
        }


def described(operation: str) -> str:
    """What user-interactive authentication is for, in words."""
    return _WHAT.get(operation) or _WHAT.get(operation.partition(" ")[0]) or "change your account"


def _name_page(sign_on_id: str, name: str, error: MatrixError | None = None) -> Raw:
    return page(
        "Choose your user name",
        *([] if error is None else [paragraph(error.message, is_error=True)]),
        paragraph("It cannot be changed later: small letters, digits and . _ = - / +"),
        form(f"{BASE}/name", "Continue", field("name", "User name", value=name), hidden={"id": sign_on_id}),
    )


def _browser_of(request: Request) -> str | None:
    value = request.http.cookies.get(_COOKIE, "")
    return value if _TOKEN.fullmatch(value) else None


def _site_of(url: str) -> str:
    """What of a URL says whose it is."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else url
