"""Registering, logging in and out, refreshing tokens."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.config.account_sections import RateLimit, RateLimits, Registration, Sessions
from storage import uia_sessions
from tests.client_api.account_site import (
    PASSWORD,
    AccountSite,
    account_site,
    credentials,
    mac_of,
    password_stage,
)

AS_TOKEN = "as_token_of_the_bridge"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AccountSite]:
    async with account_site(tmp_path) as running:
        yield running


# --- registering


async def test_registering_needs_interactive_authentication_first(site: AccountSite) -> None:
    body: dict[str, Any] = {"username": "alice", "password": PASSWORD}
    status, answer = await site.ask("POST", "v3/register", body)
    assert status == 401
    assert answer["flows"] == [{"stages": ["m.login.dummy"]}]
    assert answer["params"] == {}
    assert "errcode" not in answer
    body["auth"] = {"type": "m.login.dummy", "session": answer["session"]}
    made = await site.good("POST", "v3/register", body)
    assert made["user_id"] == "@alice:hearth.test"
    assert made["home_server"] == "hearth.test"
    who = await site.good("GET", "v3/account/whoami", token=made["access_token"])
    assert who == {"user_id": "@alice:hearth.test", "device_id": made["device_id"], "is_guest": False}


async def test_flows_may_be_asked_for_before_a_name_is_chosen(site: AccountSite) -> None:
    _, answer = await site.ask("POST", "v3/register", {})
    auth = {"type": "m.login.dummy", "session": answer["session"]}
    made = await site.good("POST", "v3/register", {"username": "bob", "password": PASSWORD, "auth": auth})
    assert made["user_id"] == "@bob:hearth.test"


async def test_capitals_in_a_name_become_small_letters(site: AccountSite) -> None:
    assert (await site.register("Alice"))["user_id"] == "@alice:hearth.test"
    assert await site.refused("GET", "v3/register/available?username=ALICE") == (400, "M_USER_IN_USE")


async def test_several_people_behind_one_address_register_while_their_clients_ask_for_names(tmp_path: Path) -> None:
    async with account_site(tmp_path, rate_limits=RateLimits()) as site:
        for name in ("alice", "bob", "carol", "dave"):
            _, asked = await site.ask("POST", "v3/register", {})
            for length in range(1, 11):
                await site.good("GET", f"v3/register/available?username={(name * 3)[:length]}")
            await site.ask("POST", "v3/register", {"username": name, "password": PASSWORD})
            auth = {"type": "m.login.dummy", "session": asked["session"]}
            await site.good("POST", "v3/register", {"username": name, "password": PASSWORD, "auth": auth})


async def test_session_registers_one_account_only(site: AccountSite) -> None:
    _, answer = await site.ask("POST", "v3/register", {})
    auth = {"type": "m.login.dummy", "session": answer["session"]}
    await site.good("POST", "v3/register", {"username": "bob", "password": PASSWORD, "auth": auth})
    again = {"username": "carol", "password": PASSWORD, "auth": auth}
    assert await site.refused("POST", "v3/register", again) == (400, "M_UNKNOWN")


async def test_name_is_made_up_where_none_is_given(site: AccountSite) -> None:
    made = await site.good("POST", "v3/register", {"password": PASSWORD, "auth": {"type": "m.login.dummy"}})
    assert made["user_id"].endswith(":hearth.test")


async def test_registering_without_login_gives_no_token(site: AccountSite) -> None:
    made = await site.register(inhibit_login=True)
    assert "access_token" not in made
    assert "device_id" not in made


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"username": "al!ce"}, "M_INVALID_USERNAME"),
        ({"username": ""}, "M_INVALID_USERNAME"),
        ({"username": "a b"}, "M_INVALID_USERNAME"),
        ({"username": "a" * 250}, "M_INVALID_USERNAME"),
        ({"username": "taken"}, "M_USER_IN_USE"),
        ({"username": "ghost_1"}, "M_EXCLUSIVE"),
        ({"username": "bridgebot"}, "M_EXCLUSIVE"),
        ({"password": "short"}, "M_WEAK_PASSWORD"),
        ({"username": 7}, "M_BAD_JSON"),
        ({"password": None}, "M_MISSING_PARAM"),
        ({"device_id": "d" * 600}, "M_INVALID_PARAM"),
    ],
)
async def test_bad_registration_is_refused(site: AccountSite, body: dict[str, Any], errcode: str) -> None:
    await site.register("taken")
    whole = {"username": "dora", "password": PASSWORD, "auth": {"type": "m.login.dummy"}} | body
    assert await site.refused("POST", "v3/register", whole) == (400, errcode)


async def test_availability(site: AccountSite) -> None:
    await site.register("alice")
    assert await site.good("GET", "v3/register/available?username=bob") == {"available": True}
    assert await site.refused("GET", "v3/register/available?username=alice") == (400, "M_USER_IN_USE")
    assert await site.refused("GET", "v3/register/available?username=!") == (400, "M_INVALID_USERNAME")
    assert await site.refused("GET", "v3/register/available") == (400, "M_MISSING_PARAM")


async def test_guest_has_a_token_but_not_every_right(site: AccountSite) -> None:
    made = await site.good("POST", "v3/register?kind=guest", {})
    who = await site.good("GET", "v3/account/whoami", token=made["access_token"])
    assert who["is_guest"] is True
    refusal = await site.refused("POST", "v3/delete_devices", {"devices": []}, token=made["access_token"])
    assert refusal == (403, "M_GUEST_ACCESS_FORBIDDEN")
    await site.good("GET", "v3/devices", token=made["access_token"])
    assert await site.refused("POST", "v3/register?kind=cat", {}) == (400, "M_INVALID_PARAM")


async def test_closed_server_registers_nobody(tmp_path: Path) -> None:
    async with account_site(tmp_path, registration_config=Registration()) as site:
        body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        assert await site.refused("POST", "v3/register", body) == (403, "M_FORBIDDEN")
        assert await site.refused("POST", "v3/register?kind=guest", {}) == (403, "M_FORBIDDEN")
        assert await site.refused("GET", "/_synapse/admin/v1/register") == (404, "M_UNRECOGNIZED")


async def test_registration_token_is_used_up(tmp_path: Path) -> None:
    async with account_site(tmp_path, registration_config=Registration(enabled=True)) as site:
        await site.database.write(lambda tx: uia_sessions.put_registration_token(tx, "sesame", uses_allowed=1))
        assert await site.good("GET", f"{VALIDITY}?token=sesame") == {"valid": True}
        _, asked = await site.ask("POST", "v3/register", {"username": "alice", "password": PASSWORD})
        assert asked["flows"] == [{"stages": ["m.login.registration_token"]}]
        body: dict[str, Any] = {"username": "alice", "password": PASSWORD}
        body["auth"] = {"type": "m.login.registration_token", "session": asked["session"], "token": "wrong"}
        status, answer = await site.ask("POST", "v3/register", body)
        assert (status, answer["errcode"], answer["session"]) == (401, "M_UNAUTHORIZED", asked["session"])
        body["auth"]["token"] = "sesame"
        await site.good("POST", "v3/register", body)
        assert await site.good("GET", f"{VALIDITY}?token=sesame") == {"valid": False}
        again = {
            "username": "bob",
            "password": PASSWORD,
            "auth": {"type": "m.login.registration_token", "token": "sesame"},
        }
        assert await site.refused("POST", "v3/register", again) == (401, "M_UNAUTHORIZED")


async def test_registration_token_is_free_again_when_the_session_expires(tmp_path: Path) -> None:
    async with account_site(tmp_path, registration_config=Registration(enabled=True)) as site:
        await site.database.write(lambda tx: uia_sessions.put_registration_token(tx, "sesame", uses_allowed=1))
        _, asked = await site.ask("POST", "v3/register", {})
        auth = {"type": "m.login.registration_token", "session": asked["session"], "token": "sesame"}
        assert await site.refused("POST", "v3/register", {"auth": auth}) == (400, "M_MISSING_PARAM")
        assert await site.good("GET", f"{VALIDITY}?token=sesame") == {"valid": False}
        site.clock.advance(1000)
        await site.uia.forget_expired()
        assert await site.good("GET", f"{VALIDITY}?token=sesame") == {"valid": True}


VALIDITY = "v1/register/m.login.registration_token/validity"


# --- application services


async def test_appservice_registers_and_acts_as_its_ghosts(site: AccountSite) -> None:
    body = {"type": "m.login.application_service", "username": "ghost_1", "inhibit_login": True}
    assert await site.good("POST", "v3/register", body, token=AS_TOKEN) == {
        "user_id": "@ghost_1:hearth.test",
        "home_server": "hearth.test",
    }
    who = await site.good("GET", "v3/account/whoami?user_id=@ghost_1:hearth.test", token=AS_TOKEN)
    assert who["user_id"] == "@ghost_1:hearth.test"
    login = {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "ghost_1"}}
    made = await site.good("POST", "v3/login", login, token=AS_TOKEN)
    who = await site.good("GET", "v3/account/whoami", token=made["access_token"])
    assert who["device_id"] == made["device_id"]
    as_device = f"v3/account/whoami?user_id=@ghost_1:hearth.test&device_id={made['device_id']}"
    assert (await site.good("GET", as_device, token=AS_TOKEN))["device_id"] == made["device_id"]


async def test_appservice_keeps_to_its_namespace(site: AccountSite) -> None:
    await site.register("alice")
    body = {"type": "m.login.application_service", "username": "bob"}
    assert await site.refused("POST", "v3/register", body, token=AS_TOKEN) == (400, "M_EXCLUSIVE")
    assert await site.refused("POST", "v3/register", body) == (401, "M_MISSING_TOKEN")
    assert await site.refused("POST", "v3/register", body, token="nobody's") == (401, "M_UNKNOWN_TOKEN")
    whoami = "v3/account/whoami"
    assert (await site.good("GET", whoami, token=AS_TOKEN))["user_id"] == "@bridgebot:hearth.test"
    assert await site.refused("GET", f"{whoami}?user_id=@alice:hearth.test", token=AS_TOKEN) == (403, "M_FORBIDDEN")
    assert await site.refused("GET", f"{whoami}?user_id=@ghost_9:hearth.test", token=AS_TOKEN) == (403, "M_FORBIDDEN")
    unknown = f"{whoami}?device_id=NONE"
    assert await site.refused("GET", unknown, token=AS_TOKEN) == (400, "M_UNKNOWN_DEVICE")


# --- logging in


async def test_login_flows(site: AccountSite) -> None:
    flows = (await site.good("GET", "v3/login"))["flows"]
    assert {"type": "m.login.password"} in flows
    assert {"type": "m.login.token", "get_login_token": True} in flows


@pytest.mark.parametrize("name", ["alice", "@alice:hearth.test", "Alice"])
async def test_login_by_name_or_user_id(site: AccountSite, name: str) -> None:
    await site.register("alice")
    assert (await site.login(name))["user_id"] == "@alice:hearth.test"


async def test_login_with_the_older_field(site: AccountSite) -> None:
    await site.register("alice")
    body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
    assert (await site.good("POST", "v3/login", body))["user_id"] == "@alice:hearth.test"


async def test_login_takes_over_a_device_and_ends_its_old_token(site: AccountSite) -> None:
    first = await site.register("alice", device_id="PHONE", initial_device_display_name="My phone")
    await site.good("GET", "v3/account/whoami", token=first["access_token"])
    second = await site.login(device_id="PHONE", initial_device_display_name="ignored")
    assert second["device_id"] == "PHONE"
    assert await site.refused("GET", "v3/account/whoami", token=first["access_token"]) == (401, "M_UNKNOWN_TOKEN")
    device = await site.good("GET", "v3/devices/PHONE", token=second["access_token"])
    assert device["display_name"] == "My phone"


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"type": "m.login.password", **credentials("alice", "wrong")}, (403, "M_FORBIDDEN")),
        ({"type": "m.login.password", **credentials("nobody")}, (403, "M_FORBIDDEN")),
        ({"type": "m.login.password", **credentials("@alice:elsewhere.test")}, (403, "M_FORBIDDEN")),
        ({"type": "m.login.password", "password": PASSWORD}, (400, "M_MISSING_PARAM")),
        ({"type": "m.login.password", "user": "alice"}, (400, "M_MISSING_PARAM")),
        ({"type": "m.login.password", "identifier": {"type": "m.id.cat"}, "password": "x"}, (400, "M_INVALID_PARAM")),
        (
            {"type": "m.login.password", "identifier": {"type": "m.id.thirdparty"}, "password": "x"},
            (403, "M_FORBIDDEN"),
        ),
        ({"type": "m.login.cat"}, (400, "M_UNKNOWN")),
        ({"type": "m.login.token"}, (400, "M_MISSING_PARAM")),
        ({"type": "m.login.token", "token": "wrong"}, (403, "M_FORBIDDEN")),
        ({"type": "m.login.application_service", "user": "ghost_1"}, (401, "M_MISSING_TOKEN")),
        ({}, (400, "M_MISSING_PARAM")),
    ],
)
async def test_bad_login_is_refused(site: AccountSite, body: dict[str, Any], refusal: tuple[int, str]) -> None:
    await site.register("alice")
    assert await site.refused("POST", "v3/login", body) == refusal


async def test_guessing_passwords_of_an_account_is_limited(tmp_path: Path) -> None:
    limits = RateLimits(login=RateLimit(0.01, 3), registration=RateLimit(10, 10))
    async with account_site(tmp_path, rate_limits=limits) as site:
        made = await site.register("alice")
        body = {"new_password": PASSWORD + "2", "auth": password_stage(password="wrong")}
        tried = [await site.ask("POST", "v3/account/password", body, token=made["access_token"]) for _ in range(4)]
        assert [status for status, _ in tried] == [401, 401, 401, 429]


async def test_login_token_logs_another_device_in_once(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    status, asked = await site.ask("POST", "v1/login/get_token", {}, token=token)
    assert status == 401
    body = {"auth": password_stage(session=asked["session"])}
    given = await site.good("POST", "v1/login/get_token", body, token=token)
    assert given["expires_in_ms"] == 120_000
    login = {"type": "m.login.token", "token": given["login_token"]}
    assert (await site.good("POST", "v3/login", login))["user_id"] == "@alice:hearth.test"
    assert await site.refused("POST", "v3/login", login) == (403, "M_FORBIDDEN")


async def test_login_token_expires(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    given = await site.good("POST", "v1/login/get_token", {"auth": password_stage()}, token=token)
    site.clock.advance(121)
    login = {"type": "m.login.token", "token": given["login_token"]}
    assert await site.refused("POST", "v3/login", login) == (403, "M_FORBIDDEN")


# --- refreshing


async def test_expired_token_is_a_soft_logout_and_can_be_refreshed(site: AccountSite) -> None:
    made = await site.register("alice", refresh_token=True)
    assert made["expires_in_ms"] == 3_600_000
    site.clock.advance(3601)
    status, answer = await site.ask("GET", "v3/account/whoami", token=made["access_token"])
    assert (status, answer["errcode"], answer["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
    fresh = await site.good("POST", "v3/refresh", {"refresh_token": made["refresh_token"]})
    assert set(fresh) == {"access_token", "refresh_token", "expires_in_ms"}
    who = await site.good("GET", "v3/account/whoami", token=fresh["access_token"])
    assert who["device_id"] == made["device_id"]


async def test_refresh_token_stands_until_the_new_token_is_used(site: AccountSite) -> None:
    made = await site.register("alice", refresh_token=True)
    body = {"refresh_token": made["refresh_token"]}
    lost = await site.good("POST", "v3/refresh", body)
    again = await site.good("POST", "v3/refresh", body)
    assert await site.refused("GET", "v3/account/whoami", token=lost["access_token"]) == (401, "M_UNKNOWN_TOKEN")
    await site.good("GET", "v3/account/whoami", token=made["access_token"])
    await site.good("GET", "v3/account/whoami", token=again["access_token"])
    assert await site.refused("POST", "v3/refresh", body) == (401, "M_UNKNOWN_TOKEN")
    assert await site.refused("GET", "v3/account/whoami", token=made["access_token"]) == (401, "M_UNKNOWN_TOKEN")
    await site.good("POST", "v3/refresh", {"refresh_token": again["refresh_token"]})


async def test_using_the_new_refresh_token_revokes_the_old(site: AccountSite) -> None:
    made = await site.register("alice", refresh_token=True)
    second = await site.good("POST", "v3/refresh", {"refresh_token": made["refresh_token"]})
    await site.good("POST", "v3/refresh", {"refresh_token": second["refresh_token"]})
    assert await site.refused("POST", "v3/refresh", {"refresh_token": made["refresh_token"]}) == (
        401,
        "M_UNKNOWN_TOKEN",
    )


async def test_access_tokens_last_as_long_as_configured(tmp_path: Path) -> None:
    async with account_site(tmp_path, sessions_config=Sessions(access_token_lifetime=10)) as site:
        made = await site.register("alice")
        assert made["expires_in_ms"] == 10_000
        await site.good("GET", "v3/account/whoami", token=made["access_token"])
        site.clock.advance(11)
        assert await site.refused("GET", "v3/account/whoami", token=made["access_token"]) == (401, "M_UNKNOWN_TOKEN")


# --- logging out


async def test_logout_ends_this_device_only(site: AccountSite) -> None:
    first, second = await site.register("alice"), await site.login()
    assert await site.good("POST", "v3/logout", token=first["access_token"]) == {}
    assert await site.refused("GET", "v3/account/whoami", token=first["access_token"]) == (401, "M_UNKNOWN_TOKEN")
    devices = (await site.good("GET", "v3/devices", token=second["access_token"]))["devices"]
    assert [device["device_id"] for device in devices] == [second["device_id"]]


async def test_logout_all_ends_every_device(site: AccountSite) -> None:
    first, second = await site.register("alice"), await site.login(refresh_token=True)
    await site.good("GET", "v3/account/whoami", token=first["access_token"])
    await site.good("POST", "v3/logout/all", token=second["access_token"])
    for made in (first, second):
        assert await site.refused("GET", "v3/account/whoami", token=made["access_token"]) == (401, "M_UNKNOWN_TOKEN")
    assert await site.refused("POST", "v3/refresh", {"refresh_token": second["refresh_token"]}) == (
        401,
        "M_UNKNOWN_TOKEN",
    )


# --- the shared secret


async def test_shared_secret_makes_an_administrator(site: AccountSite) -> None:
    made = await site.register_admin("root")
    assert made["user_id"] == "@root:hearth.test"
    lock = await site.good("GET", "v1/admin/lock/@root:hearth.test", token=made["access_token"])
    assert lock == {"locked": False}


async def test_shared_secret_registration_refuses_what_is_wrong(site: AccountSite) -> None:
    path = "/_synapse/admin/v1/register"
    nonce = (await site.good("GET", path))["nonce"]
    good: dict[str, Any] = {"nonce": nonce, "username": "root", "password": PASSWORD}
    good["mac"] = mac_of([nonce, "root", PASSWORD, "notadmin"])
    assert await site.refused("POST", path, good | {"admin": True}) == (403, "M_FORBIDDEN")
    assert await site.refused("POST", path, good | {"mac": "é"}) == (403, "M_FORBIDDEN")
    assert await site.refused("POST", path, {"nonce": nonce}) == (400, "M_MISSING_PARAM")
    assert await site.refused("POST", path, good | {"password": 5}) == (400, "M_INVALID_PARAM")
    own = good | {"nonce": "mine", "mac": mac_of(["mine", "root", PASSWORD, "notadmin"])}
    assert await site.refused("POST", path, own) == (403, "M_FORBIDDEN")
    await site.good("POST", path, good)
    assert await site.refused("POST", path, good) == (403, "M_FORBIDDEN")
    late = (await site.good("GET", path))["nonce"]
    site.clock.advance(61)
    body = {"nonce": late, "username": "b", "password": PASSWORD, "mac": mac_of([late, "b", PASSWORD, "notadmin"])}
    assert await site.refused("POST", path, body) == (403, "M_FORBIDDEN")
