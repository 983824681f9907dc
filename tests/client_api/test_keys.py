"""Keys and messages to devices over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site
from tests.services.keys_world import Identity, device_keys, one_time_key

ALICE, BOB = user("alice"), user("bob")


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as site:
        yield site


async def upload(site: WholeSite, name: str, *one_time: str) -> str:
    """Upload keys; returns the id of the device."""
    who = await site.ok("GET", "/account/whoami", by=name)
    body: dict[str, Any] = {"device_keys": device_keys(who["user_id"], who["device_id"])}
    if one_time:
        body["one_time_keys"] = {f"signed_curve25519:{key_id}": one_time_key(key_id) for key_id in one_time}
    counts = (await site.ok("POST", "/keys/upload", body, by=name))["one_time_key_counts"]
    assert counts["signed_curve25519"] == len(one_time)
    return str(who["device_id"])


async def test_two_devices_find_each_other_and_exchange_a_message(site: WholeSite) -> None:
    await site.room("bob")
    since = (await site.ok("GET", "/sync", by="bob"))["next_batch"]
    alices, bobs = await upload(site, "alice", "A"), await upload(site, "bob", "B")
    changed = await site.ok("GET", f"/sync?since={since}", by="bob")
    assert changed["device_lists"]["changed"] == [ALICE, BOB]
    assert changed["device_one_time_keys_count"] == {"signed_curve25519": 1}
    answer = await site.ok("POST", "/keys/query", {"device_keys": {BOB: []}})
    assert answer["device_keys"][BOB][bobs]["keys"] == device_keys(BOB, bobs)["keys"]
    claimed = await site.ok("POST", "/keys/claim", {"one_time_keys": {BOB: {bobs: "signed_curve25519"}}})
    assert claimed == {
        "one_time_keys": {BOB: {bobs: {"signed_curve25519:B": one_time_key("B")}}},
        "failures": {},
    }
    body = {"messages": {BOB: {bobs: {"secret": 1}}}}
    for _ in range(2):
        assert await site.ok("PUT", "/sendToDevice/m.room.encrypted/1", body) == {}
    received = await site.ok("GET", f"/sync?since={changed['next_batch']}", by="bob")
    assert received["to_device"]["events"] == [{"sender": ALICE, "type": "m.room.encrypted", "content": {"secret": 1}}]
    assert received["device_one_time_keys_count"] == {"signed_curve25519": 0}
    changes = await site.ok("GET", f"/keys/changes?from={since}&to={received['next_batch']}", by="bob")
    assert changes == {"changed": [ALICE, BOB], "left": []}
    assert alices != bobs


async def test_a_device_that_logs_out_takes_its_keys_along(site: WholeSite) -> None:
    await site.room("bob")
    device_id = await upload(site, "alice", "A")
    since = (await site.ok("GET", "/sync", by="bob"))["next_batch"]
    await site.ok("POST", "/logout", {})
    assert (await site.ok("GET", f"/sync?since={since}", by="bob"))["device_lists"]["changed"] == [ALICE]
    answer = await site.ok("POST", "/keys/query", {"device_keys": {ALICE: []}}, by="bob")
    assert answer["device_keys"].get(ALICE, {}) == {}
    body = {"one_time_keys": {ALICE: {device_id: "signed_curve25519"}}}
    assert (await site.ok("POST", "/keys/claim", body, by="bob"))["one_time_keys"] == {}


async def test_cross_signing_keys_are_replaced_only_with_the_password(site: WholeSite) -> None:
    await site.register("alice")
    path, first, second = "/keys/device_signing/upload", Identity(ALICE), Identity(ALICE, 50)
    for _ in range(2):
        assert await site.ok("POST", path, first.body) == {}
    status, asked = await site.ask("POST", path, second.body)
    assert status == 401
    assert asked["flows"] == [{"stages": ["m.login.password"]}]
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": PASSWORD,
        "session": asked["session"],
    }
    assert await site.ok("POST", path, second.body | {"auth": auth}) == {}
    answer = await site.ok("POST", "/keys/query", {"device_keys": {ALICE: []}})
    assert answer["master_keys"][ALICE] == second.key("master")


async def test_signatures_are_uploaded_and_failures_named(site: WholeSite) -> None:
    device_id = await upload(site, "alice")
    identity = Identity(ALICE)
    await site.ok("POST", "/keys/device_signing/upload", identity.body)
    signed = identity.sign("self_signing", device_keys(ALICE, device_id))
    body = {ALICE: {device_id: signed, "NONE": signed}}
    answer = await site.ok("POST", "/keys/signatures/upload", body)
    assert {name: error["errcode"] for name, error in answer["failures"][ALICE].items()} == {"NONE": "M_NOT_FOUND"}
    seen = await site.ok("POST", "/keys/query", {"device_keys": {ALICE: [device_id]}}, by="bob")
    assert identity.key_id("self_signing") in seen["device_keys"][ALICE][device_id]["signatures"][ALICE]


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("upload", {"device_keys": device_keys(BOB, "X")}, "M_INVALID_PARAM"),
        ("upload", {"device_keys": 5}, "M_BAD_JSON"),
        ("upload", {"one_time_keys": {"unnamed": "key"}}, "M_INVALID_PARAM"),
        ("query", {}, "M_MISSING_PARAM"),
        ("query", {"device_keys": {"alice": []}}, "M_INVALID_PARAM"),
        ("query", {"device_keys": {ALICE: {}}}, "M_BAD_JSON"),
        ("query", {"device_keys": {}, "timeout": -1}, "M_INVALID_PARAM"),
        ("claim", {"one_time_keys": {ALICE: "D"}}, "M_BAD_JSON"),
        ("claim", {"one_time_keys": {"@a": {"D": "signed_curve25519"}}}, "M_INVALID_PARAM"),
        ("device_signing/upload", {"master_key": Identity(BOB).key("master")}, "M_INVALID_PARAM"),
        ("device_signing/upload", {"self_signing_key": Identity(ALICE).key("self_signing")}, "M_MISSING_PARAM"),
        (
            "device_signing/upload",
            {"master_key": Identity(ALICE).key("master"), "self_signing_key": Identity(ALICE, 50).key("self_signing")},
            "M_INVALID_SIGNATURE",
        ),
        ("signatures/upload", {"alice": {}}, "M_INVALID_PARAM"),
        ("signatures/upload", {ALICE: 5}, "M_BAD_JSON"),
    ],
)
async def test_bad_bodies_are_refused(site: WholeSite, path: str, body: dict[str, Any], errcode: str) -> None:
    assert await site.error("POST", f"/keys/{path}", body) == (400, errcode)


@pytest.mark.parametrize(
    ("query", "errcode"),
    [("", "M_MISSING_PARAM"), ("?from=s1_1", "M_MISSING_PARAM"), ("?from=x&to=s1_1", "M_INVALID_PARAM")],
)
async def test_changes_need_two_tokens(site: WholeSite, query: str, errcode: str) -> None:
    assert await site.error("GET", f"/keys/changes{query}") == (400, errcode)


async def test_bad_messages_are_refused(site: WholeSite) -> None:
    path = "/sendToDevice/m.test/1"
    assert await site.error("PUT", path, {}) == (400, "M_MISSING_PARAM")
    assert await site.error("PUT", path, {"messages": {BOB: {"D": 5}}}) == (400, "M_BAD_JSON")
    assert await site.error("PUT", path, {"messages": {"bob": {"D": {}}}}) == (400, "M_INVALID_PARAM")
