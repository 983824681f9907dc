"""User-interactive authentication: each stage in a request, and on its page in a browser (§Fallback)."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from homeserver.config.account_sections import Registration
from homeserver.config.server_sections import Email
from homeserver.config.sign_on_sections import Captcha, Policy
from storage import uia_sessions
from tests.client_api.test_third_party_ids import Mails, open_link
from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site

TERMS = (
    Policy("privacy", "1.2", "en", "Privacy <b>", "https://example.org/privacy"),
    Policy("privacy", "1.2", "de", "Datenschutz", "https://example.org/datenschutz"),
)


@asynccontextmanager
async def site_with(folder: Path, **options: Any) -> AsyncIterator[WholeSite]:
    """A server whose registration wants something."""
    registration = Registration(**{"enabled": True, "requires_token": False} | options)
    async with whole_site(
        f"sqlite:///{folder / 'hearth.db'}", folder, registration=registration, email=Email(host="mail.test")
    ) as site:
        site.server.accounts.emails.mail = Mails()
        yield site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with site_with(tmp_path) as running:
        yield running


async def begin(site: WholeSite, stage: str, path: str = "/register", by: str | None = None) -> tuple[str, Any]:
    """The session and the parameters of an authentication that wants this stage."""
    status, asked = await site.ask("POST", path, {}, by=by)
    assert (status, asked["flows"]) == (401, [{"stages": [stage]}])
    return asked["session"], asked["params"]


async def look(site: WholeSite, stage: str, session: str) -> tuple[int, str]:
    url = f"{site.url}/_matrix/client/v3/auth/{stage}/fallback/web?session={session}"
    async with site.client.get(url) as response:
        if response.status == 200:
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        return response.status, await response.text()


async def fill_in(site: WholeSite, stage: str, body: str, **fields: str) -> tuple[int, str]:
    """Send the form of a page."""
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', body))
    form = {name: unescape(value) for name, value in hidden.items()} | fields
    url = f"{site.url}/_matrix/client/v3/auth/{stage}/fallback/web?session={form['session']}"
    async with site.client.post(url, data=form) as response:
        return response.status, await response.text()


async def register(site: WholeSite, name: str, session: str) -> int:
    body = {"username": name, "password": PASSWORD, "auth": {"session": session}}
    return (await site.ask("POST", "/register", body, by=None))[0]


async def test_dummy(site: WholeSite) -> None:
    session, _ = await begin(site, "m.login.dummy")
    assert await register(site, "bob", session) == 401
    status, body = await look(site, "m.login.dummy", session)
    assert status == 200
    status, body = await fill_in(site, "m.login.dummy", body)
    assert 'postMessage("authDone","*")' in body
    assert "onAuthDone" in (await look(site, "m.login.dummy", session))[1]
    assert await register(site, "bob", session) == 200


async def test_password(site: WholeSite) -> None:
    session, _ = await begin(site, "m.login.password", "/account/deactivate", "alice")
    await site.register("bob")
    _, body = await look(site, "m.login.password", session)
    status, again = await fill_in(site, "m.login.password", body, user="alice", password="wrong")
    assert (status, 'class="error"' in again, 'value="alice"' in again) == (200, True, True)
    assert "another account" in (await fill_in(site, "m.login.password", body, user="bob", password=PASSWORD))[1]
    assert (await site.ask("POST", "/account/deactivate", {"auth": {"session": session}}))[0] == 401
    assert "authDone" in (await fill_in(site, "m.login.password", body, user="alice", password=PASSWORD))[1]
    await site.ok("POST", "/account/deactivate", {"auth": {"session": session}})


async def test_terms(tmp_path: Path) -> None:
    async with site_with(tmp_path, terms=TERMS) as site:
        session, params = await begin(site, "m.login.terms")
        assert params == {
            "m.login.terms": {
                "policies": {
                    "privacy": {
                        "version": "1.2",
                        "en": {"name": "Privacy <b>", "url": "https://example.org/privacy"},
                        "de": {"name": "Datenschutz", "url": "https://example.org/datenschutz"},
                    }
                }
            }
        }
        _, body = await look(site, "m.login.terms", session)
        assert '<a href="https://example.org/privacy" rel="noreferrer">Privacy &lt;b&gt;</a>' in body
        await fill_in(site, "m.login.terms", body)
        assert await register(site, "bob", session) == 200

        session, _ = await begin(site, "m.login.terms")
        auth = {"type": "m.login.terms", "session": session}
        await site.ok("POST", "/register", {"username": "carol", "password": PASSWORD, "auth": auth}, by=None)


async def test_registration_token(tmp_path: Path) -> None:
    async with site_with(tmp_path, requires_token=True) as site:
        database = site.server.base.database
        await database.write(lambda tx: uia_sessions.put_registration_token(tx, "sesame", uses_allowed=1))
        session, _ = await begin(site, "m.login.registration_token")
        _, body = await look(site, "m.login.registration_token", session)
        assert "error" in (await fill_in(site, "m.login.registration_token", body, token="<wrong>"))[1]
        assert "authDone" in (await fill_in(site, "m.login.registration_token", body, token=" sesame "))[1]
        assert await register(site, "bob", session) == 200
        session, _ = await begin(site, "m.login.registration_token")
        assert "error" in (await fill_in(site, "m.login.registration_token", body, session=session, token="sesame"))[1]


async def test_email(tmp_path: Path) -> None:
    async with site_with(tmp_path, requires_email=True) as site:
        session, _ = await begin(site, "m.login.email.identity")
        _, body = await look(site, "m.login.email.identity", session)
        assert "error" in (await fill_in(site, "m.login.email.identity", body, email="nobody"))[1]
        _, body = await fill_in(site, "m.login.email.identity", body, email="bob@mail.test")
        assert "error" in (await fill_in(site, "m.login.email.identity", body))[1]
        mails = site.server.accounts.emails.mail
        assert isinstance(mails, Mails)
        assert await open_link(site, mails.link()) == 200
        assert "authDone" in (await fill_in(site, "m.login.email.identity", body))[1]
        assert await register(site, "bob", session) == 200
        login = {"type": "m.login.password", "identifier": EMAIL_OF_BOB, "password": PASSWORD}
        assert (await site.ok("POST", "/login", login, by=None))["user_id"] == user("bob")


EMAIL_OF_BOB = {"type": "m.id.thirdparty", "medium": "email", "address": "Bob@mail.test"}


async def test_captcha(tmp_path: Path) -> None:
    asked: list[str] = []

    async def verify(request: web.Request) -> web.Response:
        asked.append(await request.text())
        return web.json_response({"success": asked[-1].endswith("response=right")})

    application = web.Application()
    application.router.add_post("/verify", verify)
    async with TestServer(application) as service:
        captcha = Captcha("site <key>", "secret&", str(service.make_url("/verify")))
        async with site_with(tmp_path, captcha=captcha) as site:
            session, params = await begin(site, "m.login.recaptcha")
            assert params == {"m.login.recaptcha": {"public_key": "site <key>"}}
            _, body = await look(site, "m.login.recaptcha", session)
            assert 'data-sitekey="site &lt;key&gt;"' in body
            assert "error" in (await fill_in(site, "m.login.recaptcha", body))[1]
            assert "error" in (await fill_in(site, "m.login.recaptcha", body, **{"g-recaptcha-response": "wrong"}))[1]
            assert asked == ["secret=secret%26&response=wrong"]
            await fill_in(site, "m.login.recaptcha", body, **{"g-recaptcha-response": "right"})
            assert await register(site, "bob", session) == 200

            session, _ = await begin(site, "m.login.recaptcha")
            wrong = {"type": "m.login.recaptcha", "session": session, "response": "wrong"}
            refusal = await site.error("POST", "/register", {"auth": wrong}, by=None)
            assert refusal == (401, "M_CAPTCHA_INVALID")
            refusal = await site.error("POST", "/register", {"auth": wrong | {"response": None}}, by=None)
            assert refusal == (401, "M_CAPTCHA_NEEDED")
            right = {"username": "carol", "password": PASSWORD, "auth": wrong | {"response": "right"}}
            await site.ok("POST", "/register", right, by=None)
            await service.close()
            session, _ = await begin(site, "m.login.recaptcha")
            assert (await site.ask("POST", "/register", {"auth": {**wrong, "session": session}}, by=None))[0] == 401


async def test_several_stages_are_completed_one_after_the_other(tmp_path: Path) -> None:
    async with site_with(tmp_path, terms=TERMS, requires_token=True) as site:
        database = site.server.base.database
        await database.write(lambda tx: uia_sessions.put_registration_token(tx, "sesame"))
        status, asked = await site.ask("POST", "/register", {}, by=None)
        assert asked["flows"] == [{"stages": ["m.login.terms", "m.login.registration_token"]}]
        early = {"type": "m.login.registration_token", "token": "sesame", "session": asked["session"]}
        status, refusal = await site.ask("POST", "/register", {"auth": early}, by=None)
        assert (status, refusal["completed"]) == (401, [])  # stages have an order
        _, body = await look(site, "m.login.terms", asked["session"])
        await fill_in(site, "m.login.terms", body)
        status, again = await site.ask("POST", "/register", {"auth": {"session": asked["session"]}}, by=None)
        assert (status, again["completed"]) == (401, ["m.login.terms"])
        auth: dict[str, Any] = {"type": "m.login.registration_token", "token": "sesame", "session": asked["session"]}
        body_ = {"username": "bob", "password": PASSWORD, "auth": auth}
        await site.ok("POST", "/register", body_, by=None)


async def test_text_messages_are_refused_clearly(site: WholeSite) -> None:
    session, _ = await begin(site, "m.login.dummy")
    status, body = await look(site, "m.login.msisdn", session)
    assert (status, "does not send text messages" in body) == (400, True)
    auth = {"type": "m.login.msisdn", "session": session, "threepid_creds": {}}
    assert await site.error("POST", "/register", {"auth": auth}, by=None) == (401, "M_UNRECOGNIZED")


async def test_pages_of_what_is_not_there(site: WholeSite) -> None:
    session, _ = await begin(site, "m.login.dummy")
    assert (await look(site, "m.login.cat", session))[0] == 404
    assert (await look(site, "m.login.sso", session))[0] == 401
    assert (await look(site, "m.login.dummy", "nothing"))[0] == 400
    assert (await fill_in(site, "m.login.sso", "", session=session))[0] == 404
    assert (await fill_in(site, "m.login.dummy", "", session="nothing"))[1].count("error") >= 1
    url = f"{site.url}/_matrix/client/v3/auth/m.login.dummy/fallback/web?session={session}"
    for data in (b"x" * 20_000, b"\xff", b"session=%00"):
        async with site.client.post(url, data=data) as response:
            assert response.status == 400
    site.clock.advance(1_000)
    assert (await look(site, "m.login.dummy", session))[0] == 400


# --- logging in by e-mail


async def test_login_by_address_that_nobody_has_is_as_a_wrong_password(site: WholeSite) -> None:
    await site.register("bob")
    for identifier in (EMAIL_OF_BOB, {**EMAIL_OF_BOB, "address": "x"}, {**EMAIL_OF_BOB, "medium": "msisdn"}):
        login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        assert await site.error("POST", "/login", login, by=None) == (403, "M_FORBIDDEN")
    login = {"type": "m.login.password", "identifier": {"type": "m.id.thirdparty", "medium": "email"}, "password": "x"}
    assert await site.error("POST", "/login", login, by=None) == (400, "M_MISSING_PARAM")


async def test_login_by_address_as_older_clients_do(site: WholeSite) -> None:
    await site.register("bob")
    emails = site.server.accounts.emails
    await site.server.base.database.write(lambda tx: emails.give_if_free(tx, user("bob"), "bob@mail.test"))
    login = {"type": "m.login.password", "medium": "email", "address": "bob@mail.test", "password": PASSWORD}
    assert (await site.ok("POST", "/login", login, by=None))["user_id"] == user("bob")
