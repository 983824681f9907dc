"""Single sign-on with OpenID Connect providers: logging in, being new here, and proving again who one is."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import pytest
from joserfc.jwk import RSAKey
from yarl import URL

from homeserver.config.sign_on_sections import IdentityProvider, SignOn
from homeserver.runtime.clock import FrozenClock
from tests.client_api.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIdProvider, openid_provider
from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site

APP = "https://app.test/login?x=1#/home"
REDIRECT = "/_matrix/client/v3/login/sso/redirect"


@dataclass
class Browser:
    """Keeps cookies, and follows redirects as far as the server and its provider go."""

    site: WholeSite
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """(status, Location, body) of one request; the site answers where it says that it is."""
        url = path.replace("http://hearth.test", self.site.url) if path.startswith("http") else self.site.url + path
        async with self.session.request(
            method, URL(url, encoded=True), data=form, allow_redirects=False
        ) as response:
            return response.status, response.headers.get("Location", ""), await response.text()

    async def go(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """The same at the end of the redirects; one that leads to a client is the end, too."""
        status, location, body = await self.ask("GET" if form is None else "POST", path, form)
        while status == 302 and not location.startswith(("https://", "myapp:")):
            status, location, body = await self.ask("GET", location)
        return status, location, body

    async def log_in(self, provider: str = "/one", url: str = APP) -> tuple[int, str, str]:
        return await self.go(f"{REDIRECT}{provider}?redirectUrl={quote(url, safe='')}")

    async def log_in_and_confirm(self, provider: str = "/one", url: str = APP) -> str:
        """Where the client is called with its login token."""
        status, location, body = await self.log_in(provider, url)
        assert (status, location) == (200, ""), body
        status, location, body = await self.go(*self.form_of(body))
        assert status == 302, body
        return location

    def form_of(self, body: str, **fields: str) -> tuple[str, dict[str, str]]:
        """The path and the fields of the form of a page."""
        action = re.search(r'action="([^"]+)"', body)
        assert action is not None, body
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', body))
        return action[1], hidden | fields


@dataclass
class Scene:
    site: WholeSite
    provider: OpenIdProvider

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            yield Browser(self.site, session)

    async def log_in(self, browser: Browser, **body: Any) -> dict[str, Any]:
        """The whole way, to a client with an access token."""
        return await self.finish(await browser.log_in_and_confirm(), **body)

    async def finish(self, location: str, **body: Any) -> dict[str, Any]:
        login = {"type": "m.login.token", "token": token_of(location), **body}
        return await self.site.ok("POST", "/login", login, by=None)


def token_of(location: str) -> str:
    (token,) = parse_qs(urlsplit(location).query)["loginToken"]
    return token


@asynccontextmanager
async def scene(database_url: str, folder: Path, allowed: tuple[str, ...] = (), **options: Any) -> AsyncIterator[Scene]:
    """A server with two providers, which are the same; `options` are those of the first."""
    clock = FrozenClock()
    async with openid_provider(clock) as provider:
        one = IdentityProvider(
            id="one",
            name="One & all",
            icon="mxc://hearth.test/icon",
            issuer=provider.url,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
        )
        two = replace(one, id="two", name="Two", icon=None, brand="github")
        config = SignOn(providers=(replace(one, **options), two), allowed_redirects=allowed)
        async with whole_site(database_url, folder, sso=config) as site:
            assert site.clock.now_ms() == clock.now_ms()
            yield Scene(site, provider)


@pytest.fixture
async def here(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(database_url, tmp_path) as running:
        yield running


@pytest.fixture
async def light(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(sqlite_url, tmp_path) as running:
        yield running


async def test_flows_name_the_providers(light: Scene) -> None:
    flows = (await light.site.ok("GET", "/login", by=None))["flows"]
    (flow,) = (flow for flow in flows if flow["type"] == "m.login.sso")
    assert flow["identity_providers"] == [
        {"id": "one", "name": "One & all", "icon": "mxc://hearth.test/icon"},
        {"id": "two", "name": "Two", "brand": "github"},
    ]


async def test_somebody_new_gets_an_account_and_comes_back_to_it(here: Scene) -> None:
    async with here.browser() as browser:
        made = await here.log_in(browser, device_id="PHONE")
        assert (made["user_id"], made["device_id"]) == (user("dana"), "PHONE")
        here.site.tokens["dana"] = made["access_token"]
        profile = await here.site.ok("GET", f"/profile/{user('dana')}", by="dana")
        assert profile["displayname"] == "Dana <D>"
        here.provider.person["preferred_username"] = "renamed"
        assert (await here.log_in(browser))["user_id"] == user("dana")


async def test_client_is_called_with_one_token_and_the_rest_of_its_url(light: Scene) -> None:
    async with light.browser() as browser:
        url = "https://app.test/in?loginToken=old&x=1#/home"
        location = await browser.log_in_and_confirm(url=url)
        token = token_of(location)
        assert location == f"https://app.test/in?x=1&loginToken={token}#/home"
        await light.finish(location)
        login = {"type": "m.login.token", "token": token}
        assert await light.site.error("POST", "/login", login, by=None) == (403, "M_FORBIDDEN")


async def test_people_are_asked_about_a_client_that_is_not_known(light: Scene) -> None:
    async with light.browser() as browser:
        status, _, body = await browser.log_in(url="https://evil.test/<script>")
        assert status == 200
        assert "https://evil.test" in body
        assert user("dana") in body
        assert "<script>" not in body
        path, fields = browser.form_of(body)
        async with light.browser() as other:  # another browser's page is not to be answered
            assert (await other.go(path, fields))[0] == 403
        assert (await browser.go(path, fields))[0] == 302
        assert (await browser.go(path, fields))[0] == 400  # used up


async def test_known_clients_are_called_at_once(sqlite_url: str, tmp_path: Path) -> None:
    async with scene(sqlite_url, tmp_path, ("https://app.test/", "myapp:")) as here, here.browser() as browser:
        status, location, _ = await browser.log_in()
        assert status == 302
        assert location.startswith("https://app.test/login?x=1&loginToken=")
        assert (await browser.log_in(url="myapp://back"))[1].startswith("myapp://back?loginToken=")


async def test_login_token_of_single_sign_on_is_short_lived(light: Scene) -> None:
    async with light.browser() as browser:
        location = await browser.log_in_and_confirm()
        light.site.clock.advance(11)
        login = {"type": "m.login.token", "token": token_of(location)}
        assert await light.site.error("POST", "/login", login, by=None) == (403, "M_FORBIDDEN")


async def test_without_a_named_provider_people_choose(light: Scene) -> None:
    async with light.browser() as browser:
        status, _, body = await browser.log_in("")
        assert status == 200
        assert "One &amp; all" in body
        link = unescape(re.findall(r'href="([^"]+)"', body)[1])
        assert link.startswith(f"{REDIRECT}/two?redirectUrl=https%3A%2F%2Fapp.test")
        assert (await browser.go(link))[0] == 200


@pytest.mark.parametrize("url", ["", "app.test", "javascript:alert(1)", "data:text/html,x", "/path", "https://a b/"])
async def test_what_is_no_url_of_a_client_is_refused(light: Scene, url: str) -> None:
    async with light.browser() as browser:
        assert (await browser.log_in("/one", url))[0] == 400
        assert (await browser.log_in("", url))[0] == 400


async def test_bad_requests_of_browsers_are_answered_with_pages(light: Scene) -> None:
    async with light.browser() as browser:
        for path, status in (
            (REDIRECT, 400),
            (f"{REDIRECT}/three?redirectUrl=https://app.test/", 404),
            ("/_matrix/client/unstable/sso/callback", 400),
            ("/_matrix/client/unstable/sso/callback?state=x&code=y", 400),
            ("/_matrix/client/unstable/sso/name?id=x", 400),
            ("/_matrix/client/unstable/sso/confirm?id=x", 400),
            ("/_matrix/client/unstable/sso/approve?id=x", 400),
            ("/_matrix/client/unstable/sso/authenticate?provider=one&session=x", 400),
        ):
            answer = await browser.ask("GET", path)
            assert answer[0] == status, (path, answer)
            assert "<!doctype html>" in answer[2]


async def test_answer_belongs_to_the_browser_that_asked(light: Scene) -> None:
    async with light.browser() as browser, light.browser() as victim:
        _, to_provider, _ = await browser.ask("GET", f"{REDIRECT}/one?redirectUrl={quote(APP, safe='')}")
        _, back, _ = await browser.ask("GET", to_provider)
        status, _, body = await victim.ask("GET", back)
        assert (status, "another browser" in body) == (403, True)
        await victim.log_in()  # has a cookie of its own now
        assert (await victim.ask("GET", back))[0] == 403
        assert (await browser.ask("GET", back))[0] == 302
        assert (await browser.ask("GET", back))[0] == 400  # once


async def test_two_logins_at_once_in_one_browser_both_end(light: Scene) -> None:
    async with light.browser() as browser:
        path = f"{REDIRECT}/one?redirectUrl={quote(APP, safe='')}"
        first = (await browser.ask("GET", path))[1]
        second = (await browser.ask("GET", path))[1]
        assert [(await browser.go(url))[0] for url in (second, first)] == [200, 200]


async def test_login_that_takes_too_long_has_to_begin_again(light: Scene) -> None:
    async with light.browser() as browser:
        _, to_provider, _ = await browser.ask("GET", f"{REDIRECT}/one?redirectUrl={quote(APP, safe='')}")
        light.site.clock.advance(1_000)
        assert (await browser.go(to_provider))[0] == 400
        await light.site.server.sign_on.sso.forget_old()


async def test_refusal_of_the_provider_is_told(light: Scene) -> None:
    light.provider.refusal = "access_denied"
    async with light.browser() as browser:
        assert (await browser.log_in())[0] == 403


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://elsewhere.test"},
        {"aud": "another"},
        {"aud": [CLIENT_ID, "another"]},
        {"azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1_600_000_000},
        {"iat": None},
        {"sub": None},
        {"sub": 5},
        {"sub": "x" * 256},
    ],
)
async def test_id_token_that_is_not_for_this_login_is_refused(light: Scene, changed: dict[str, Any]) -> None:
    light.provider.changed = changed
    async with light.browser() as browser:
        assert (await browser.log_in())[0] == 403


async def test_id_token_of_a_key_that_is_not_the_providers_is_refused(light: Scene) -> None:
    async with light.browser() as browser:
        await browser.log_in_and_confirm()
        light.provider.published = light.provider.key
        light.provider.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        assert (await browser.log_in())[0] == 403


async def test_new_keys_of_the_provider_are_read(light: Scene) -> None:
    async with light.browser() as browser:
        await browser.log_in_and_confirm()
        light.provider.rotate()
        light.site.clock.advance(60)
        await browser.log_in_and_confirm()


async def test_provider_that_does_not_answer_is_told_of(light: Scene) -> None:
    light.provider.metadata = {"issuer": "https://elsewhere.test"}
    async with light.browser() as browser:
        assert (await browser.log_in())[0] == 502


async def test_secret_goes_in_the_way_that_the_provider_wants(light: Scene) -> None:
    light.provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    async with light.browser() as browser:
        await browser.log_in_and_confirm()
    assert light.provider.forms[0]["client_secret"] == CLIENT_SECRET


# --- names and accounts


async def test_name_that_is_taken_is_not_given_away_another_is_chosen(here: Scene) -> None:
    await here.site.register("dana")
    async with here.browser() as browser:
        status, _, body = await browser.log_in()
        assert (status, 'value="dana"' in body) == (200, True)
        status, _, again = await browser.go(*browser.form_of(body, name="dana"))
        assert (status, 'class="error"' in again) == (200, True)
        assert "error" in (await browser.go(*browser.form_of(body, name="no<t> valid")))[2]
        async with here.browser() as other:
            assert (await other.go(*browser.form_of(body, name="dana2")))[0] == 403
        status, _, confirmation = await browser.go(*browser.form_of(body, name="Dana2"))
        assert user("dana2") in confirmation
        _, location, _ = await browser.go(*browser.form_of(confirmation))
        assert (await here.finish(location))["user_id"] == user("dana2")
        assert (await here.log_in(browser))["user_id"] == user("dana2")


async def test_existing_account_is_linked_only_where_the_operator_says_so(sqlite_url: str, tmp_path: Path) -> None:
    rules = {"link_existing_accounts": True, "register": False}
    async with scene(sqlite_url, tmp_path, **rules) as here, here.browser() as browser:
        assert (await browser.log_in())[0] == 403  # nobody is of that name, and nobody is registered
        await here.site.register("dana")
        assert (await here.log_in(browser))["user_id"] == user("dana")


async def test_everybody_may_be_let_choose(sqlite_url: str, tmp_path: Path) -> None:
    async with scene(sqlite_url, tmp_path, ask_for_name=True) as here, here.browser() as browser:
        _, _, body = await browser.log_in()
        assert 'name="name" value="dana"' in body


async def test_name_is_made_of_any_claims(sqlite_url: str, tmp_path: Path) -> None:
    async with scene(sqlite_url, tmp_path, localpart="{org.unit}-{sub}", userinfo=True) as here:
        here.provider.userinfo = {"sub": "1001", "org": {"unit": "Löwe"}}
        async with here.browser() as browser:
            assert (await here.log_in(browser))["user_id"] == user("l=c3=b6we-1001")
            here.provider.userinfo["sub"] = "1002"
            assert (await browser.log_in())[0] == 502


async def test_only_people_with_the_claims_that_are_wanted_may_log_in(sqlite_url: str, tmp_path: Path) -> None:
    async with scene(sqlite_url, tmp_path, required_claims={"groups": "staff"}) as here, here.browser() as browser:
        assert (await browser.log_in())[0] == 403
        here.provider.person["groups"] = ["guests", "staff"]
        assert (await browser.log_in())[0] == 200


async def test_verified_address_of_somebody_new_is_theirs_here(light: Scene) -> None:
    light.provider.person |= {"email": "Dana@mail.test", "email_verified": True}
    async with light.browser() as browser:
        light.site.tokens["dana"] = (await light.log_in(browser))["access_token"]
    (entry,) = (await light.site.ok("GET", "/account/3pid", by="dana"))["threepids"]
    assert entry["address"] == "dana@mail.test"


async def test_address_that_is_not_verified_is_nobodys(light: Scene) -> None:
    light.provider.person["email"] = "dana@mail.test"
    async with light.browser() as browser:
        light.site.tokens["dana"] = (await light.log_in(browser))["access_token"]
    assert await light.site.ok("GET", "/account/3pid", by="dana") == {"threepids": []}


async def test_same_person_of_two_providers_is_two_people(light: Scene) -> None:
    async with light.browser() as browser:
        await light.log_in(browser)
        _, _, body = await browser.log_in("/two")
        assert "Choose your user name" in body


async def test_closed_account_stays_closed(light: Scene) -> None:
    async with light.browser() as browser:
        await light.log_in(browser)
        await light.site.server.accounts.accounts.deactivate(user("dana"))
        assert (await browser.log_in())[0] in (400, 403)


# --- proving again who one is


async def test_action_is_confirmed_by_single_sign_on(here: Scene) -> None:
    async with here.browser() as browser:
        here.site.tokens["dana"] = (await here.log_in(browser, device_id="PHONE"))["access_token"]
        status, asked = await here.site.ask("DELETE", "/devices/PHONE", {}, by="dana")
        assert (status, asked["flows"]) == (401, [{"stages": ["m.login.sso"]}])
        auth = {"session": asked["session"]}
        status, answer = await here.site.ask("DELETE", "/devices/PHONE", {"auth": auth}, by="dana")
        assert (status, answer.get("completed", [])) == (401, [])
        forged = {**auth, "type": "m.login.sso"}
        assert (await here.site.ask("DELETE", "/devices/PHONE", {"auth": forged}, by="dana"))[0] == 401

        page = f"/_matrix/client/v3/auth/m.login.sso/fallback/web?session={asked['session']}"
        _, _, body = await browser.go(page)
        assert "log out a device of yours" in body
        (link,) = re.findall(r'href="([^"]+)"', body)
        status, _, body = await browser.go(unescape(link))
        assert (status, "authDone" in body, "log out a device of yours" in body) == (200, False, True)
        # Being sent to the provider by somebody is not agreeing.
        assert (await here.site.ask("DELETE", "/devices/PHONE", {"auth": auth}, by="dana"))[0] == 401
        async with here.browser() as other:
            assert (await other.go(*browser.form_of(body)))[0] == 403
        status, _, done = await browser.go(*browser.form_of(body))
        assert (status, "authDone" in done) == (200, True)
        assert (await browser.go(*browser.form_of(body)))[0] == 400
        assert "authDone" in (await browser.go(page))[2]
        await here.site.ok("DELETE", "/devices/PHONE", {"auth": auth}, by="dana")


async def test_somebody_elses_login_confirms_nothing(light: Scene) -> None:
    async with light.browser() as browser:
        light.site.tokens["dana"] = (await light.log_in(browser, device_id="PHONE"))["access_token"]
        _, asked = await light.site.ask("DELETE", "/devices/PHONE", {}, by="dana")
        light.provider.person = {"sub": "1002", "preferred_username": "eve"}
        authenticate = "/_matrix/client/unstable/sso/authenticate?provider=one&session=" + asked["session"]
        assert (await browser.go(authenticate))[0] == 403
        await light.log_in(browser)
        assert (await browser.go(authenticate))[0] == 403
        body = {"auth": {"session": asked["session"]}}
        assert (await light.site.ask("DELETE", "/devices/PHONE", body, by="dana"))[0] == 401


async def test_who_has_a_password_too_may_choose(light: Scene) -> None:
    async with light.browser() as browser:
        light.site.tokens["dana"] = (await light.log_in(browser, device_id="PHONE"))["access_token"]
    await light.site.server.accounts.accounts.change_password(
        user("dana"), PASSWORD, log_out_but=None, log_out=False
    )
    _, asked = await light.site.ask("DELETE", "/devices/PHONE", {}, by="dana")
    assert asked["flows"] == [{"stages": ["m.login.password"]}, {"stages": ["m.login.sso"]}]


async def test_who_has_no_login_elsewhere_is_asked_for_the_password(light: Scene) -> None:
    _, asked = await light.site.ask("POST", "/delete_devices", {"devices": []})
    assert asked["flows"] == [{"stages": ["m.login.password"]}]
