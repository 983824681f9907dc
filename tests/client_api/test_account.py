"""The account itself: passwords, deactivation, OpenID, locking and suspending."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client_api.account_site import PASSWORD, AccountSite, account_site, credentials, password_stage

NEW = "battery staple"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AccountSite]:
    async with account_site(tmp_path) as running:
        yield running


async def test_whoami_needs_a_token(site: AccountSite) -> None:
    assert await site.refused("GET", "v3/account/whoami") == (401, "M_MISSING_TOKEN")
    assert await site.refused("GET", "v3/account/whoami", token="x") == (401, "M_UNKNOWN_TOKEN")


# --- passwords


async def test_changing_the_password_logs_other_devices_out(site: AccountSite) -> None:
    mine, other = await site.register("alice"), await site.login()
    status, asked = await site.ask("POST", "v3/account/password", {"new_password": NEW}, token=mine["access_token"])
    assert (status, asked["flows"]) == (401, [{"stages": ["m.login.password"]}])
    body = {"new_password": NEW, "auth": password_stage(session=asked["session"])}
    assert await site.good("POST", "v3/account/password", body, token=mine["access_token"]) == {}
    await site.good("GET", "v3/account/whoami", token=mine["access_token"])
    assert await site.refused("GET", "v3/account/whoami", token=other["access_token"]) == (401, "M_UNKNOWN_TOKEN")
    await site.good("POST", "v3/login", {"type": "m.login.password", **credentials(password=NEW)})
    old = {"type": "m.login.password", **credentials()}
    assert await site.refused("POST", "v3/login", old) == (403, "M_FORBIDDEN")


async def test_other_devices_may_stay(site: AccountSite) -> None:
    mine, other = await site.register("alice"), await site.login()
    body = {"new_password": NEW, "logout_devices": False, "auth": password_stage()}
    await site.good("POST", "v3/account/password", body, token=mine["access_token"])
    await site.good("GET", "v3/account/whoami", token=other["access_token"])


async def test_password_can_be_changed_without_a_token(site: AccountSite) -> None:
    made = await site.register("alice")
    body = {"new_password": NEW, "auth": password_stage()}
    await site.good("POST", "v3/account/password", body)
    assert await site.refused("GET", "v3/account/whoami", token=made["access_token"]) == (401, "M_UNKNOWN_TOKEN")


async def test_wrong_password_may_be_tried_again(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    body = {"new_password": NEW, "auth": password_stage(password="wrong")}
    status, answer = await site.ask("POST", "v3/account/password", body, token=token)
    assert (status, answer["errcode"]) == (401, "M_FORBIDDEN")
    assert answer["completed"] == []
    body["auth"] = password_stage(session=answer["session"])
    await site.good("POST", "v3/account/password", body, token=token)


async def test_nobody_elses_password_will_do(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    await site.register("bob")
    body = {"new_password": NEW, "auth": password_stage("bob")}
    assert await site.refused("POST", "v3/account/password", body, token=token) == (403, "M_FORBIDDEN")


async def test_session_belongs_to_its_request(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    _, asked = await site.ask("POST", "v3/account/password", {"new_password": NEW}, token=token)
    auth = password_stage(session=asked["session"])
    path = "v3/account/password"
    assert await site.refused("POST", path, {"new_password": NEW + "!", "auth": auth}, token=token) == (
        403,
        "M_FORBIDDEN",
    )
    assert await site.refused("POST", "v3/account/deactivate", {"auth": auth}, token=token) == (403, "M_FORBIDDEN")
    assert await site.refused("POST", path, {"new_password": NEW, "auth": auth}) == (403, "M_FORBIDDEN")
    site.clock.advance(901)
    assert await site.refused("POST", path, {"new_password": NEW, "auth": auth}, token=token) == (400, "M_UNKNOWN")


async def test_unknown_stage_is_refused(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    body = {"new_password": NEW, "auth": {"type": "m.login.dummy"}}
    assert await site.refused("POST", "v3/account/password", body, token=token) == (401, "M_UNRECOGNIZED")


async def test_weak_password_is_refused_before_anything_else(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    body = {"new_password": "x"}
    assert await site.refused("POST", "v3/account/password", body, token=token) == (400, "M_WEAK_PASSWORD")
    assert await site.refused("POST", "v3/account/password", {"auth": password_stage()}, token=token) == (
        400,
        "M_MISSING_PARAM",
    )


# --- deactivation


async def test_deactivated_account_is_gone_for_good(site: AccountSite) -> None:
    made = await site.register("alice")
    token = made["access_token"]
    await site.good("PUT", f"v3/profile/{made['user_id']}/displayname", {"displayname": "Alice"}, token=token)
    answer = await site.good("POST", "v3/account/deactivate", {"auth": password_stage(), "erase": True}, token=token)
    assert answer == {"id_server_unbind_result": "success"}
    assert site.departures.left == ["@alice:hearth.test"]
    assert await site.refused("GET", "v3/account/whoami", token=token) == (401, "M_UNKNOWN_TOKEN")
    login = {"type": "m.login.password", **credentials()}
    assert await site.refused("POST", "v3/login", login) == (403, "M_USER_DEACTIVATED")
    again = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    assert await site.refused("POST", "v3/register", again) == (400, "M_USER_IN_USE")
    assert await site.refused("GET", f"v3/profile/{made['user_id']}") == (404, "M_NOT_FOUND")


async def test_deactivating_needs_the_password(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    status, _ = await site.ask("POST", "v3/account/deactivate", {}, token=token)
    assert status == 401
    await site.good("GET", "v3/account/whoami", token=token)


# --- OpenID


async def test_openid_token(site: AccountSite) -> None:
    token = (await site.register("alice"))["access_token"]
    given = await site.good("POST", "v3/user/@alice:hearth.test/openid/request_token", {}, token=token)
    assert given["token_type"] == "Bearer"
    assert given["matrix_server_name"] == "hearth.test"
    assert given["expires_in"] == 3600
    path = "v3/user/@bob:hearth.test/openid/request_token"
    assert await site.refused("POST", path, {}, token=token) == (403, "M_FORBIDDEN")


# --- what administrators do


async def test_locked_user_keeps_the_session(site: AccountSite) -> None:
    admin, alice = await site.register_admin(), await site.register("alice")
    await site.good("GET", "v3/account/whoami", token=alice["access_token"])
    path = "v1/admin/lock/@alice:hearth.test"
    assert await site.good("PUT", path, {"locked": True}, token=admin["access_token"]) == {"locked": True}
    status, answer = await site.ask("GET", "v3/account/whoami", token=alice["access_token"])
    assert (status, answer["errcode"], answer["soft_logout"]) == (401, "M_USER_LOCKED", True)
    login = {"type": "m.login.password", **credentials()}
    assert await site.refused("POST", "v3/login", login) == (401, "M_USER_LOCKED")
    await site.good("PUT", path, {"locked": False}, token=admin["access_token"])
    await site.good("GET", "v3/account/whoami", token=alice["access_token"])
    await site.good("PUT", path, {"locked": True}, token=admin["access_token"])
    await site.good("POST", "v3/logout", token=alice["access_token"])


async def test_suspended_user_cannot_change_the_profile(site: AccountSite) -> None:
    admin, alice = await site.register_admin(), await site.register("alice")
    path = "v1/admin/suspend/@alice:hearth.test"
    await site.good("PUT", path, {"suspended": True}, token=admin["access_token"])
    assert await site.good("GET", path, token=admin["access_token"]) == {"suspended": True}
    name = ("PUT", "v3/profile/@alice:hearth.test/displayname", {"displayname": "A"})
    assert await site.refused(*name, token=alice["access_token"]) == (403, "M_USER_SUSPENDED")


async def test_only_administrators_lock(site: AccountSite) -> None:
    admin, alice = await site.register_admin(), await site.register("alice")
    body = {"locked": True}
    assert await site.refused("PUT", "v1/admin/lock/@admin:hearth.test", body, token=alice["access_token"]) == (
        403,
        "M_FORBIDDEN",
    )
    assert await site.refused("PUT", "v1/admin/lock/@admin:hearth.test", body, token=admin["access_token"]) == (
        403,
        "M_FORBIDDEN",
    )
    assert await site.refused("GET", "v1/admin/lock/@nobody:hearth.test", token=admin["access_token"]) == (
        404,
        "M_NOT_FOUND",
    )


async def test_administrators_deal_with_open_accounts_of_this_server_only(site: AccountSite) -> None:
    admin, other = await site.register_admin(), await site.register_admin("other")
    token = admin["access_token"]
    for kind in ("lock", "suspend"):
        for method, body in (("GET", None), ("PUT", {"locked": True, "suspended": True})):
            theirs = await site.refused(method, f"v1/admin/{kind}/{other['user_id']}", body, token=token)
            assert theirs == (403, "M_FORBIDDEN")
            for user_id in ("@alice:elsewhere.test", "alice"):
                elsewhere = await site.refused(method, f"v1/admin/{kind}/{user_id}", body, token=token)
                assert elsewhere == (400, "M_INVALID_PARAM")
    alice = await site.register("alice")
    await site.good("POST", "v3/account/deactivate", {"auth": password_stage()}, token=alice["access_token"])
    assert await site.refused("GET", "v1/admin/lock/@alice:hearth.test", token=token) == (404, "M_NOT_FOUND")


async def test_locked_user_gets_no_new_tokens(site: AccountSite) -> None:
    admin, alice = await site.register_admin(), await site.register("alice", refresh_token=True)
    body = {"auth": password_stage()}
    given = await site.good("POST", "v1/login/get_token", body, token=alice["access_token"])
    path = "v1/admin/lock/@alice:hearth.test"
    await site.good("PUT", path, {"locked": True}, token=admin["access_token"])
    refresh = {"refresh_token": alice["refresh_token"]}
    assert await site.refused("POST", "v3/refresh", refresh) == (401, "M_USER_LOCKED")
    login = {"type": "m.login.token", "token": given["login_token"]}
    assert await site.refused("POST", "v3/login", login) == (401, "M_USER_LOCKED")
    await site.good("PUT", path, {"locked": False}, token=admin["access_token"])
    await site.good("POST", "v3/refresh", refresh)


async def test_administrators_are_told_that_they_can_lock_and_suspend(site: AccountSite) -> None:
    admin, alice = await site.register_admin(), await site.register("alice")
    told = await site.good("GET", "v3/capabilities", token=admin["access_token"])
    assert told["capabilities"]["m.account_moderation"] == {"suspend": True, "lock": True}
    told = await site.good("GET", "v3/capabilities", token=alice["access_token"])
    assert "m.account_moderation" not in told["capabilities"]
