"""Account data that is deleted (proposal 3391)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import WholeSite, user, whole_site

UNSTABLE = "/_matrix/client/unstable/org.matrix.msc3391"


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        await running.register("alice")
        yield running


def of_type(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event["content"] for event in events if event["type"] == kind]


@pytest.mark.parametrize("base", ["", UNSTABLE])
async def test_deleted_account_data_is_gone_and_other_devices_hear_of_it(site: WholeSite, base: str) -> None:
    path = f"/user/{user('alice')}/account_data/org.thing"
    await site.ok("PUT", path, {"a": 1})
    since = (await site.ok("GET", "/sync"))["next_batch"]
    await site.ok("DELETE", base + path)
    assert await site.error("GET", path) == (404, "M_NOT_FOUND")
    news = await site.ok("GET", f"/sync?since={since}")
    assert of_type(news["account_data"]["events"], "org.thing") == [{}]
    assert of_type((await site.ok("GET", "/sync"))["account_data"]["events"], "org.thing") == []


async def test_account_data_of_a_room_is_deleted_by_setting_it_to_nothing_too(site: WholeSite) -> None:
    room_id = await site.room()
    path = f"/user/{user('alice')}/rooms/{quote(room_id)}/account_data/org.thing"
    for method, address, body in (("PUT", path, {}), ("DELETE", path, None), ("DELETE", UNSTABLE + path, None)):
        await site.ok("PUT", path, {"a": 1})
        await site.ok(method, address, body)
        assert await site.error("GET", path) == (404, "M_NOT_FOUND")
    room = (await site.ok("GET", "/sync"))["rooms"]["join"][room_id]
    assert of_type(room.get("account_data", {}).get("events", []), "org.thing") == []


async def test_nobody_deletes_what_the_server_keeps_or_what_belongs_to_others(site: WholeSite) -> None:
    assert await site.error("DELETE", f"/user/{user('alice')}/account_data/m.push_rules") == (400, "M_BAD_JSON")
    path = f"/user/{user('alice')}/account_data/org.thing"
    assert await site.error("DELETE", path, by="bob") == (403, "M_FORBIDDEN")


async def test_settings_of_a_device_go_with_it(site: WholeSite) -> None:
    await site.login("alice", "second")
    device = (await site.ok("GET", "/account/whoami", by="second"))["device_id"]
    path = f"/user/{user('alice')}/account_data/m.local_notification_settings.{device}"
    await site.ok("PUT", path, {"is_silenced": True})
    await site.ok("POST", "/logout", {}, by="second")
    assert await site.error("GET", path) == (404, "M_NOT_FOUND")
