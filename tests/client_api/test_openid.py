"""OpenID tokens: made for a user, shown to a third party, asked about over federation."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client_api.whole_site import WholeSite, user, whole_site

USERINFO = "/_matrix/federation/v1/openid/userinfo"


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


async def test_whoever_is_shown_a_token_learns_whose_it_is_until_it_expires(site: WholeSite) -> None:
    answer = await site.ok("POST", f"/user/{user('alice')}/openid/request_token", {})
    url = f"{USERINFO}?access_token={answer['access_token']}"
    assert await site.ok("GET", url, by=None) == {"sub": user("alice")}
    site.clock.advance(answer["expires_in"] + 1)
    assert await site.error("GET", url, by=None) == (401, "M_UNKNOWN_TOKEN")


async def test_a_token_that_stands_for_nobody_is_refused(site: WholeSite) -> None:
    token = site.tokens.get("alice") or (await site.register("alice") and site.tokens["alice"])
    assert await site.error("GET", f"{USERINFO}?access_token=x", by=None) == (401, "M_UNKNOWN_TOKEN")
    assert await site.error("GET", f"{USERINFO}?access_token={token}", by=None) == (401, "M_UNKNOWN_TOKEN")
    assert (await site.ask("GET", USERINFO, by=None))[1]["errcode"] in ("M_MISSING_PARAM", "M_MISSING_TOKEN")
