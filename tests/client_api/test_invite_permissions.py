"""Invites to users who do not want them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import WholeSite, user, whole_site

BLOCKED = (403, "M_INVITE_BLOCKED")


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        await running.register("alice")
        await running.register("bob")
        yield running


async def configure(site: WholeSite, content: dict[str, Any], kind: str = "m.invite_permission_config") -> None:
    await site.ok("PUT", f"/user/{user('bob')}/account_data/{kind}", content, by="bob")


async def invites(site: WholeSite) -> set[str]:
    return set((await site.ok("GET", "/sync", by="bob")).get("rooms", {}).get("invite", {}))


async def test_blocked_invite_is_refused_on_every_way(site: WholeSite) -> None:
    await configure(site, {"default_action": "block"})
    room = quote(await site.room())
    assert await site.error("POST", f"/rooms/{room}/invite", {"user_id": user("bob")}) == BLOCKED
    state = f"/rooms/{room}/state/m.room.member/{user('bob')}"
    assert await site.error("PUT", state, {"membership": "invite"}) == BLOCKED


async def test_the_experiment_of_blocking_counts_until_there_is_the_real_one(site: WholeSite) -> None:
    await configure(site, {"default_action": "block"}, "org.matrix.msc4380.invite_permission_config")
    room = quote(await site.room())
    assert await site.error("POST", f"/rooms/{room}/invite", {"user_id": user("bob")}) == BLOCKED
    await configure(site, {"default_action": "allow"})
    await site.ok("POST", f"/rooms/{room}/invite", {"user_id": user("bob")})
    features = (await site.ok("GET", "/_matrix/client/versions"))["unstable_features"]
    assert features["org.matrix.msc4380.stable"] is True


async def test_room_is_created_without_those_who_block_invites(site: WholeSite) -> None:
    await configure(site, {"default_action": "block"})
    await site.register("carol")
    room_id = await site.room(invite=[user("bob"), user("carol")])
    assert room_id not in await invites(site)
    members = await site.ok("GET", f"/rooms/{quote(room_id)}/members")
    assert {event["state_key"] for event in members["chunk"]} == {user("alice"), user("carol")}


async def test_invites_before_the_block_are_hidden_until_it_is_lifted(site: WholeSite) -> None:
    room_id = await site.room(invite=[user("bob")])
    assert await invites(site) == {room_id}
    await configure(site, {"default_action": "block"})
    assert await invites(site) == set()
    await configure(site, {})
    assert await invites(site) == {room_id}


async def test_ignored_invite_succeeds_and_is_not_shown(site: WholeSite) -> None:
    await configure(site, {"ignored_users": [user("alice")]}, "org.matrix.msc4155.invite_permission_config")
    room = quote(await site.room())
    await site.ok("POST", f"/rooms/{room}/invite", {"user_id": user("bob")})
    assert await invites(site) == set()


async def test_one_who_blocks_invites_may_still_join(site: WholeSite) -> None:
    await configure(site, {"default_action": "block"})
    await site.room("bob")
