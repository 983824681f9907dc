"""The page of each stage of user-interactive authentication, for clients that do not know the stage (§Fallback)."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final
from urllib.parse import urlencode

from client_api.pages import field, for_people, form, link, listed, page, paragraph, read_form, stage_done
from client_api.single_sign_on import BASE as SSO
from client_api.single_sign_on import described
from homeserver.errors import MatrixError, ThreepidMediumNotSupported, Unauthorized, Unrecognized
from homeserver.services.single_sign_on import SingleSignOn
from homeserver.services.uia import (
    CAPTCHAS,
    DUMMY,
    EMAILS,
    PASSWORDS,
    REGISTRATION_TOKENS,
    SIGN_ON,
    TERMS,
    WITH_PAGES,
    InteractiveAuth,
)
from homeserver.web.request import Request
from homeserver.web.responses import Raw

_TEXT_MESSAGES: Final = "m.login.msisdn"
_CAPTCHA_SOURCES: Final = (
    "https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/; "
    "frame-src https://www.google.com/recaptcha/; connect-src https://www.google.com/recaptcha/"
)


class AuthPageHandlers:
    """A stage is shown (GET), and completed with what was entered (POST)."""

    def __init__(self, uia: InteractiveAuth, sso: SingleSignOn) -> None:
        self._uia = uia
        self._sso = sso

    @for_people
    async def show(self, request: Request) -> Raw:
        stage, session = request.path["authType"], request.query.require("session")
        operation, completed = await self._uia.state_of(session)
        if stage in completed:
            return stage_done()
        if stage == SIGN_ON:
            return await self._sign_on_page(session, operation)
        return self._page(stage, session, {})

    @for_people
    async def complete(self, request: Request) -> Raw:
        stage, fields = request.path["authType"], await read_form(request)
        session = fields.get("session") or request.query.require("session")
        _require_page(stage)
        try:
            if stage == EMAILS and "sid" not in fields:
                return self._page(stage, session, await self._uia.request_mail(session, fields.get("email", "")))
            await self._uia.complete(session, stage, _auth_of(stage, fields))
        except MatrixError as error:
            return self._page(stage, session, fields, error)
        return stage_done()

    def _page(self, stage: str, session: str, fields: Mapping[str, str], error: MatrixError | None = None) -> Raw:
        _require_page(stage)
        problem = "" if error is None else paragraph(error.message, is_error=True)
        hidden = {"session": session}
        sources = None
        if stage == PASSWORDS:
            title, button = "Who are you?", "Continue"
            inside = field("user", "User name", value=fields.get("user", ""), autocomplete="username")
            inside += field("password", "Password", kind="password", autocomplete="current-password")
        elif stage == EMAILS and "sid" in fields:
            title, button = "Look at your mails", "I have opened the link"
            inside = paragraph("There is a mail with a link for you. Open it, then come back here.")
            hidden |= {"sid": fields["sid"], "client_secret": fields.get("client_secret", "")}
        elif stage == EMAILS:
            title, button = "Your e-mail address", "Send me a link"
            inside = field("email", "E-mail address", kind="email", value=fields.get("email", ""), autocomplete="email")
        elif stage == REGISTRATION_TOKENS:
            title, button = "Registration token", "Continue"
            inside = paragraph("This server needs a token to register, which its operator gives out.")
            inside += field("token", "Token")
        elif stage == TERMS:
            title, button = "Please read and agree", "I agree"
            inside = listed([_edition(policy) for policy in self._uia.policies.values()])
        elif stage == CAPTCHAS and self._uia.captchas is not None:
            title, button, sources = "Are you a person?", "Continue", _CAPTCHA_SOURCES
            inside = (
                '<script src="https://www.google.com/recaptcha/api.js" async defer></script>'
                f'<div class="g-recaptcha" data-sitekey="{escape(self._uia.captchas.site_key)}"></div>'
            )
        else:
            title, button, inside = "Continue?", "Continue", ""
        return page(title, problem, form("", button, inside, hidden=hidden), sources=sources)

    async def _sign_on_page(self, session: str, operation: str) -> Raw:
        """What is to be confirmed is said first: being logged in at the provider is not agreeing."""
        user_id = await self._uia.user_of_session(session)
        linked = None if user_id is None else await self._sso.linked_providers(user_id)
        names = self._sso.names(linked)
        if not names:
            raise Unauthorized("Your account has no login service")
        links = [
            link(f"{SSO}/authenticate?{urlencode({'provider': id_, 'session': session})}", f"Continue with {name}")
            for id_, name in names.items()
        ]
        return page(
            "Confirm that it is you",
            paragraph(f"A client wants to {described(operation)}. Continue only if you began this yourself."),
            listed(links),
        )


def _require_page(stage: str) -> None:
    if stage == _TEXT_MESSAGES:
        raise ThreepidMediumNotSupported("This server does not send text messages")
    if stage not in WITH_PAGES:
        raise Unrecognized("There is no page for this stage")


def _auth_of(stage: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """What a client would have put into `auth`."""
    if stage == PASSWORDS:
        identifier = {"type": "m.id.user", "user": fields.get("user", "").strip()}
        return {"identifier": identifier, "password": fields.get("password", "")}
    if stage == EMAILS:
        return {"threepid_creds": {"sid": fields.get("sid"), "client_secret": fields.get("client_secret")}}
    if stage == REGISTRATION_TOKENS:
        return {"token": fields.get("token", "").strip()}
    if stage == CAPTCHAS:
        return {"response": fields.get("g-recaptcha-response")}
    assert stage in (DUMMY, TERMS), stage
    return {}


def _edition(policy: Mapping[str, Any]) -> str:
    """A link to the English edition of a policy, or to any."""
    editions = {name: edition for name, edition in policy.items() if name != "version"}
    edition = editions.get("en") or next(iter(editions.values()))
    return link(edition["url"], edition["name"])
