"""Profiles."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.client_api.account_site import AccountSite, account_site

ALICE = "v3/profile/@alice:hearth.test"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AccountSite]:
    async with account_site(tmp_path) as running:
        yield running


@pytest.fixture
async def token(site: AccountSite) -> str:
    return (await site.register("alice"))["access_token"]


async def put(site: AccountSite, field: str, value: Any, token: str) -> dict[str, Any]:
    return await site.good("PUT", f"{ALICE}/{field}", {field: value}, token=token)


async def test_fields_are_set_read_and_removed(site: AccountSite, token: str) -> None:
    assert await site.good("GET", ALICE) == {"displayname": "alice"}  # as people are called at first
    await put(site, "displayname", "Alice", token)
    await put(site, "avatar_url", "mxc://hearth.test/abc", token)
    await put(site, "org.example.pronouns", ["she", "her"], token)
    assert await site.good("GET", ALICE) == {
        "displayname": "Alice",
        "avatar_url": "mxc://hearth.test/abc",
        "org.example.pronouns": ["she", "her"],
    }
    assert await site.good("GET", f"{ALICE}/displayname") == {"displayname": "Alice"}
    await site.good("DELETE", f"{ALICE}/org.example.pronouns", token=token)
    await site.good("DELETE", f"{ALICE}/org.example.pronouns", token=token)
    await put(site, "avatar_url", "", token)
    assert await site.good("GET", ALICE) == {"displayname": "Alice"}
    assert await site.refused("GET", f"{ALICE}/avatar_url") == (404, "M_NOT_FOUND")


async def test_unknown_user_is_not_found(site: AccountSite) -> None:
    assert await site.refused("GET", "v3/profile/@nobody:hearth.test") == (404, "M_NOT_FOUND")
    assert await site.refused("GET", "v3/profile/@nobody:hearth.test/displayname") == (404, "M_NOT_FOUND")
    assert await site.refused("GET", "v3/profile/nobody") == (400, "M_INVALID_PARAM")


async def test_an_avatar_need_not_be_a_uri_but_is_never_on_another_site(site: AccountSite, token: str) -> None:
    await put(site, "avatar_url", "lemur", token)
    assert (await site.good("GET", f"{ALICE}/avatar_url"))["avatar_url"] == "lemur"


async def test_rooms_are_told_of_name_and_avatar_only(site: AccountSite, token: str) -> None:
    await put(site, "displayname", "Alice", token)
    await put(site, "displayname", "Alice", token)
    await put(site, "m.tz", "Europe/Vienna", token)
    await asyncio.sleep(0)
    assert site.member_updates.changed == ["@alice:hearth.test"]
    assert await site.profiles.member_fields("@alice:hearth.test") == {"displayname": "Alice"}


@pytest.mark.parametrize(
    ("field", "body", "refusal"),
    [
        ("displayname", {}, (400, "M_MISSING_PARAM")),
        ("displayname", {"displayname": 5}, (400, "M_INVALID_PARAM")),
        ("displayname", {"displayname": "x" * 257}, (400, "M_INVALID_PARAM")),
        ("avatar_url", {"avatar_url": "https://x"}, (400, "M_INVALID_PARAM")),
        ("m.tz", {"m.tz": {}}, (400, "M_INVALID_PARAM")),
        ("Bad-Key", {"Bad-Key": 1}, (400, "M_INVALID_PARAM")),
        ("a." + "b" * 254, {}, (400, "M_KEY_TOO_LARGE")),
        ("org.example.big", {"org.example.big": "x" * 70_000}, (400, "M_PROFILE_TOO_LARGE")),
        ("org.example.float", {"org.example.float": 1.5}, (400, "M_BAD_JSON")),
        ("displayname", ["displayname"], (400, "M_BAD_JSON")),
    ],
)
async def test_bad_field_is_refused(
    site: AccountSite, token: str, field: str, body: Any, refusal: tuple[int, str]
) -> None:
    assert await site.refused("PUT", f"{ALICE}/{field}", body, token=token) == refusal


async def test_only_ones_own_profile_can_be_changed(site: AccountSite, token: str) -> None:
    bob = (await site.register("bob"))["access_token"]
    body = {"displayname": "Mallory"}
    assert await site.refused("PUT", f"{ALICE}/displayname", body, token=bob) == (403, "M_FORBIDDEN")
    assert await site.refused("DELETE", f"{ALICE}/displayname", token=bob) == (403, "M_FORBIDDEN")
    assert await site.refused("PUT", f"{ALICE}/displayname", body) == (401, "M_MISSING_TOKEN")


async def test_guest_may_change_the_display_name_only(site: AccountSite) -> None:
    guest = await site.good("POST", "v3/register?kind=guest", {})
    path = f"v3/profile/{guest['user_id']}"
    await site.good("PUT", f"{path}/displayname", {"displayname": "G"}, token=guest["access_token"])
    body = {"avatar_url": "mxc://a/b"}
    assert await site.refused("PUT", f"{path}/avatar_url", body, token=guest["access_token"]) == (403, "M_FORBIDDEN")


async def test_profiles_elsewhere_are_asked_for(site: AccountSite, token: str) -> None:
    site.remote_profiles.profiles["@bob:elsewhere.test"] = {"displayname": "Bob"}
    path = "v3/profile/@bob:elsewhere.test"
    assert await site.good("GET", path, token=token) == {"displayname": "Bob"}
    assert await site.good("GET", f"{path}/displayname", token=token) == {"displayname": "Bob"}
    assert await site.refused("GET", f"{path}/avatar_url", token=token) == (404, "M_NOT_FOUND")
    assert await site.good("GET", path) == {"displayname": "Bob"}
