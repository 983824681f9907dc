"""Dehydrated devices (proposal 3814) over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site

DEVICE = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
DATA = {"algorithm": "org.matrix.msc3814.v2", "device_pickle": "x", "nonce": "y"}


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


def upload(device_id: str = "DRY", **more: Any) -> dict[str, Any]:
    keys = {
        "user_id": user("alice"),
        "device_id": device_id,
        "dehydrated": True,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {f"ed25519:{device_id}": "key of " + device_id},
        "signatures": {user("alice"): {f"ed25519:{device_id}": "signature"}},
    }
    signed = {"signatures": {user("alice"): {f"ed25519:{device_id}": "signature"}}}
    return {
        "device_id": device_id,
        "device_data": DATA,
        "device_keys": keys,
        "one_time_keys": {"signed_curve25519:A": {"key": "one of " + device_id, **signed}},
        "fallback_keys": {"signed_curve25519:F": {"key": "fallback", "fallback": True, **signed}},
        **more,
    }


async def tell(site: WholeSite, number: int, device_id: str = "DRY") -> None:
    body = {"messages": {user("alice"): {device_id: {"number": number}}}}
    await site.ok("PUT", f"/sendToDevice/org.example/{number}", body, by="bob")


async def device_ids(site: WholeSite) -> set[str]:
    return {device["device_id"] for device in (await site.ok("GET", "/devices"))["devices"]}


async def claimed(site: WholeSite, device_id: str) -> Any:
    body = {"one_time_keys": {user("alice"): {device_id: "signed_curve25519"}}}
    return (await site.ok("POST", "/keys/claim", body, by="bob"))["one_time_keys"]


async def test_a_device_is_kept_and_given_back(site: WholeSite) -> None:
    assert await site.error("GET", DEVICE) == (404, "M_NOT_FOUND")
    assert await site.error("DELETE", DEVICE) == (404, "M_NOT_FOUND")
    body = upload(initial_device_display_name="dry")
    assert await site.ok("PUT", DEVICE, body) == {"device_id": "DRY"}
    assert await site.ok("GET", DEVICE) == {"device_id": "DRY", "device_data": DATA}
    keys = (await site.ok("POST", "/keys/query", {"device_keys": {user("alice"): []}}, by="bob"))["device_keys"]
    assert keys[user("alice")]["DRY"]["dehydrated"] is True
    assert (await claimed(site, "DRY"))[user("alice")]["DRY"]["signed_curve25519:A"]["key"] == "one of DRY"
    assert "signed_curve25519:F" in (await claimed(site, "DRY"))[user("alice")]["DRY"]
    assert await site.ok("DELETE", DEVICE) == {"device_id": "DRY"}
    assert await site.error("GET", DEVICE) == (404, "M_NOT_FOUND")
    assert await claimed(site, "DRY") == {}
    assert "DRY" not in await device_ids(site)


@pytest.mark.parametrize("following", ["DRY", "WET"])
async def test_a_new_one_takes_the_place_of_the_former(site: WholeSite, following: str) -> None:
    await site.ok("PUT", DEVICE, upload())
    before = (await site.ok("GET", "/sync"))["next_batch"]
    await tell(site, 1)
    again = {**upload(following), "device_data": {**DATA, "nonce": "z"}}
    again["one_time_keys"] = {"signed_curve25519:B": {"key": "new", "signatures": {}}}
    await site.ok("PUT", DEVICE, again)
    assert (await site.ok("GET", DEVICE))["device_data"]["nonce"] == "z"
    assert {"DRY", "WET"} & await device_ids(site) == {following}
    assert "signed_curve25519:B" in (await claimed(site, following))[user("alice")][following]
    assert await site.ok("GET", f"{DEVICE}/{following}/events") == {"events": []}
    changed = (await site.ok("GET", f"/sync?since={before}"))["device_lists"]["changed"]
    assert changed == [user("alice")]


async def test_messages_are_read_in_batches_and_kept(site: WholeSite) -> None:
    await site.ok("PUT", DEVICE, upload())
    for number in range(3):
        await tell(site, number)
    for _ in range(2):
        first = await site.ok("GET", f"{DEVICE}/DRY/events?limit=2")
        assert [event["content"]["number"] for event in first["events"]] == [0, 1]
        assert first["events"][0]["sender"] == user("bob")
        rest = await site.ok("GET", f"{DEVICE}/DRY/events?from={first['next_batch']}")
        assert [event["content"]["number"] for event in rest["events"]] == [2]
        assert "next_batch" not in rest
    batch: dict[str, Any] = {}
    seen: list[int] = []
    while (answer := await site.ok("POST", f"{DEVICE}/DRY/events?limit=2", batch))["events"]:
        seen += [event["content"]["number"] for event in answer["events"]]
        batch = {"next_batch": answer["next_batch"]}
    assert seen == [0, 1, 2]
    assert await site.error("GET", f"{DEVICE}/OTHER/events") == (403, "M_FORBIDDEN")
    assert await site.error("GET", f"{DEVICE}/DRY/events", by="bob") == (403, "M_FORBIDDEN")
    assert await site.error("GET", f"{DEVICE}/DRY/events?from=x") == (400, "M_INVALID_PARAM")


async def test_what_cannot_be_a_dehydrated_device(site: WholeSite) -> None:
    (own,) = await device_ids(site)
    assert await site.error("PUT", DEVICE, upload(own)) == (400, "M_INVALID_PARAM")
    assert await site.error("PUT", DEVICE, {**upload(), "device_id": "OTHER"}) == (400, "M_INVALID_PARAM")
    assert await site.error("PUT", DEVICE, {"device_id": "DRY", "device_data": DATA}) == (400, "M_MISSING_PARAM")
    assert await site.error("PUT", DEVICE, {**upload(), "device_data": {}}) == (400, "M_BAD_JSON")
    for wrong in ({"device_id": "a\0"}, {"one_time_keys": {"signed_curve25519:A": {"key": 2**70}}}, {"device_id": ""}):
        assert (await site.error("PUT", DEVICE, {**upload(), **wrong}))[0] == 400
    large = {**upload(), "device_data": {**DATA, "device_pickle": "x" * 300_000}}
    assert await site.error("PUT", DEVICE, large) == (413, "M_TOO_LARGE")
    assert await site.error("GET", DEVICE) == (404, "M_NOT_FOUND")


async def test_its_data_is_given_back_whatever_it_holds(site: WholeSite) -> None:
    data = {**DATA, "number": 2**70, "text": "ä"}
    await site.ok("PUT", DEVICE, upload(device_data=data))
    assert (await site.ok("GET", DEVICE))["device_data"] == data


async def test_it_goes_with_its_device(site: WholeSite) -> None:
    await site.ok("PUT", DEVICE, upload())
    assert "DRY" in await device_ids(site)
    identity = {"type": "m.id.user", "user": "alice"}
    proof = {"auth": {"type": "m.login.password", "identifier": identity, "password": PASSWORD}}
    await site.ok("DELETE", "/devices/DRY", proof)
    assert await site.error("GET", DEVICE) == (404, "M_NOT_FOUND")
