"""Upgrading rooms over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import SERVER_NAME, WholeSite, user, whole_site


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


async def upgrade(site: WholeSite, room: str, version: str, by: str = "alice", **body: Any) -> str:
    answer = await site.ok("POST", f"/rooms/{quote(room)}/upgrade", {"new_version": version, **body}, by=by)
    return str(answer["replacement_room"])


async def state(site: WholeSite, room: str, event_type: str, by: str = "alice") -> Any:
    return await site.ok("GET", f"/rooms/{quote(room)}/state/{event_type}", by=by)


@pytest.mark.parametrize(("old_version", "new_version"), [("10", "11"), ("9", "12"), ("12", "12"), ("12", "11")])
async def test_the_new_room_is_like_the_old_one_and_both_name_each_other(
    site: WholeSite, old_version: str, new_version: str
) -> None:
    body: dict[str, Any] = {"room_version": old_version, "name": "Lounge", "topic": "Tea", "room_alias_name": "lounge"}
    guests = {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}
    body |= {"initial_state": [guests], "visibility": "public", "creation_content": {"type": "m.space"}}
    old = await site.room("bob", **body)
    await site.ok("POST", f"/rooms/{quote(old)}/ban", {"user_id": user("mallory")})
    new = await upgrade(site, old, new_version)
    assert (await state(site, old, "m.room.tombstone"))["replacement_room"] == new
    created = await state(site, new, "m.room.create")
    assert (created["room_version"], created["type"]) == (new_version, "m.space")
    assert created["predecessor"]["room_id"] == old
    assert ("event_id" in created["predecessor"]) == (new_version != "12")
    for event_type in ("name", "topic", "join_rules", "history_visibility", "guest_access"):
        kind = f"m.room.{event_type}"
        assert await state(site, new, kind) == await state(site, old, kind)
    banned = await site.ok("GET", f"/rooms/{quote(new)}/state/m.room.member/{quote(user('mallory'))}")
    assert banned["membership"] == "ban"
    assert list((await site.ok("GET", f"/rooms/{quote(new)}/joined_members"))["joined"]) == [user("alice")]
    found = await site.ok("GET", f"/directory/room/{quote('#lounge:' + SERVER_NAME)}", by=None)
    assert found["room_id"] == new
    assert (await state(site, new, "m.room.canonical_alias"))["alias"] == f"#lounge:{SERVER_NAME}"
    assert await state(site, old, "m.room.canonical_alias") == {}
    assert (await site.ok("GET", f"/directory/list/room/{quote(new)}"))["visibility"] == "public"
    assert (await site.ok("GET", f"/directory/list/room/{quote(old)}"))["visibility"] == "private"
    path = f"/rooms/{quote(old)}/send/m.room.message/t1"
    assert await site.error("PUT", path, {"msgtype": "m.text", "body": "x"}, by="bob") == (403, "M_FORBIDDEN")


async def test_creators_of_the_new_room_have_no_level_in_it(site: WholeSite) -> None:
    levels = {"users": {user("alice"): 100, user("bob"): 100, user("carol"): 50}}
    old = await site.room("bob", "carol", room_version="11", power_level_content_override=levels)
    new = await upgrade(site, old, "12", by="bob", additional_creators=[user("carol")])
    assert (await state(site, new, "m.room.create", by="bob"))["additional_creators"] == [user("carol")]
    assert (await state(site, new, "m.room.power_levels", by="bob"))["users"] == {user("alice"): 100}


async def test_join_rules_that_the_new_version_lacks_become_invite(site: WholeSite) -> None:
    old = await site.room(room_version="10", preset="private_chat")
    await site.ok("PUT", f"/rooms/{quote(old)}/state/m.room.join_rules", {"join_rule": "knock"})
    assert await state(site, await upgrade(site, old, "6"), "m.room.join_rules") == {"join_rule": "invite"}
    assert await state(site, await upgrade(site, old, "7"), "m.room.join_rules") == {"join_rule": "knock"}


async def test_who_may_not_upgrade_is_refused_and_nothing_happens(site: WholeSite) -> None:
    room = await site.room("bob")
    path = f"/rooms/{quote(room)}/upgrade"
    assert await site.error("POST", path, {"new_version": "12"}, by="bob") == (403, "M_FORBIDDEN")
    assert await site.error("POST", path, {"new_version": "12"}, by="mallory") == (403, "M_FORBIDDEN")
    assert await site.error("POST", path, {"new_version": "x"}) == (400, "M_UNSUPPORTED_ROOM_VERSION")
    assert await site.error("POST", path, {}) == (400, "M_MISSING_PARAM")
    bad = {"new_version": "12", "additional_creators": ["bob"]}
    assert (await site.error("POST", path, bad))[0] == 400
    assert await site.error("GET", f"/rooms/{quote(room)}/state/m.room.tombstone") == (404, "M_NOT_FOUND")


async def test_settings_follow_who_joins_the_new_room(site: WholeSite) -> None:
    old = await site.room("bob")
    await site.ok("PUT", f"/pushrules/global/room/{quote(old)}", {"actions": []}, by="bob")
    await site.ok("PUT", f"/user/{user('bob')}/rooms/{quote(old)}/tags/m.favourite", {"order": 0.5}, by="bob")
    await site.ok("PUT", f"/user/{user('bob')}/account_data/m.direct", {user("alice"): [old]}, by="bob")
    new = await upgrade(site, old, "11")
    since = (await site.ok("GET", "/sync", by="bob"))["next_batch"]
    await site.ok("POST", f"/join/{quote(new)}", {}, by="bob")
    content: Any = None
    while content != {user("alice"): [old, new]}:
        answer = await site.ok("GET", f"/sync?since={since}&timeout=60000", by="bob")
        assert answer["next_batch"] != since
        since = answer["next_batch"]
        for event in answer.get("account_data", {}).get("events", []):
            content = event["content"] if event["type"] == "m.direct" else content
    rules = [rule["rule_id"] for rule in (await site.ok("GET", "/pushrules/", by="bob"))["global"]["room"]]
    assert sorted(rules) == sorted([old, new])
    tags = await site.ok("GET", f"/user/{user('bob')}/rooms/{quote(new)}/tags", by="bob")
    assert tags == {"tags": {"m.favourite": {"order": 0.5}}}


async def test_settings_do_not_follow_into_a_room_that_claims_a_strangers_past(site: WholeSite) -> None:
    old = await site.room()
    await site.ok("PUT", f"/pushrules/global/room/{quote(old)}", {"actions": []}, by="bob")
    await site.room("bob", creation_content={"predecessor": {"room_id": old}})
    await asyncio.sleep(0)
    rules = (await site.ok("GET", "/pushrules/", by="bob"))["global"]["room"]
    assert [rule["rule_id"] for rule in rules] == [old]
