"""Devices."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client_api.account_site import AccountSite, account_site, password_stage

AS_TOKEN = "as_token_of_the_bridge"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AccountSite]:
    async with account_site(tmp_path) as running:
        yield running


async def test_devices_are_listed_and_named(site: AccountSite) -> None:
    token = (await site.register(device_id="PHONE", initial_device_display_name="Phone"))["access_token"]
    await site.login(device_id="DESK")
    devices = (await site.good("GET", "v3/devices", token=token))["devices"]
    assert [(d["device_id"], d.get("display_name")) for d in devices] == [("DESK", None), ("PHONE", "Phone")]
    await site.good("PUT", "v3/devices/DESK", {"display_name": "Desk"}, token=token)
    assert (await site.good("GET", "v3/devices/DESK", token=token))["display_name"] == "Desk"
    await site.good("PUT", "v3/devices/DESK", {}, token=token)
    assert (await site.good("GET", "v3/devices/DESK", token=token))["display_name"] == "Desk"


async def test_unknown_device_is_not_found(site: AccountSite) -> None:
    token = (await site.register())["access_token"]
    assert await site.refused("GET", "v3/devices/NONE", token=token) == (404, "M_NOT_FOUND")
    body = {"display_name": "x"}
    assert await site.refused("PUT", "v3/devices/NONE", body, token=token) == (404, "M_NOT_FOUND")
    long = {"display_name": "x" * 101}
    assert await site.refused("PUT", "v3/devices/NONE", long, token=token) == (400, "M_INVALID_PARAM")


async def test_last_seen_is_told_at_once_and_written_down_later(site: AccountSite) -> None:
    token = (await site.register(device_id="PHONE"))["access_token"]
    site.clock.advance(100)
    await site.good("GET", "v3/account/whoami", token=token)
    seen = (await site.good("GET", "v3/devices/PHONE", token=token))["last_seen_ts"]
    assert seen == site.clock.now_ms()
    await site.sessions.note_seen()
    assert (await site.good("GET", "v3/devices/PHONE", token=token))["last_seen_ts"] == seen


async def test_deleting_a_device_needs_the_password_and_ends_its_session(site: AccountSite) -> None:
    token = (await site.register())["access_token"]
    other = await site.login(device_id="DESK")
    await site.good("GET", "v3/account/whoami", token=other["access_token"])
    status, asked = await site.ask("DELETE", "v3/devices/DESK", token=token)
    assert status == 401
    body = {"auth": password_stage(session=asked["session"])}
    assert await site.refused("DELETE", "v3/devices/OTHER", body, token=token) == (403, "M_FORBIDDEN")
    assert await site.good("DELETE", "v3/devices/DESK", body, token=token) == {}
    assert await site.refused("GET", "v3/account/whoami", token=other["access_token"]) == (401, "M_UNKNOWN_TOKEN")


async def test_several_devices_are_deleted_at_once(site: AccountSite) -> None:
    token = (await site.register(device_id="PHONE"))["access_token"]
    for device_id in ("A", "B", "C"):
        await site.login(device_id=device_id)
    body = {"devices": ["A", "B", "NONE"], "auth": password_stage()}
    await site.good("POST", "v3/delete_devices", body, token=token)
    devices = (await site.good("GET", "v3/devices", token=token))["devices"]
    assert {device["device_id"] for device in devices} == {"C", "PHONE"}
    assert await site.refused("POST", "v3/delete_devices", {}, token=token) == (400, "M_MISSING_PARAM")


async def test_appservice_makes_and_deletes_devices_of_its_ghosts(site: AccountSite) -> None:
    ghost = {"type": "m.login.application_service", "username": "ghost_1", "inhibit_login": True}
    await site.good("POST", "v3/register", ghost, token=AS_TOKEN)
    path = "v3/devices/BRIDGE?user_id=@ghost_1:hearth.test"
    status, _ = await site.ask("PUT", path, {"display_name": "Bridge"}, token=AS_TOKEN)
    assert status == 201
    assert (await site.good("GET", path, token=AS_TOKEN))["display_name"] == "Bridge"
    await site.good("DELETE", path, {}, token=AS_TOKEN)
    assert await site.refused("GET", path, token=AS_TOKEN) == (404, "M_NOT_FOUND")


async def test_whois_is_for_oneself_and_administrators(site: AccountSite) -> None:
    admin, alice = await site.register_admin(), await site.register("alice", device_id="PHONE")
    path = "v3/admin/whois/@alice:hearth.test"
    for token in (admin["access_token"], alice["access_token"]):
        answer = await site.good("GET", path, token=token)
        assert list(answer["devices"]) == ["PHONE"]
    refusal = await site.refused("GET", "v3/admin/whois/@admin:hearth.test", token=alice["access_token"])
    assert refusal == (403, "M_FORBIDDEN")
