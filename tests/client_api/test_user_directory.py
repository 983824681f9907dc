"""Finding people over HTTP, on both engines."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import WholeSite, user, whole_site


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


async def search(site: WholeSite, term: str, *, by: str = "eve", **body: Any) -> dict[str, Any]:
    return dict(await site.ok("POST", "/user_directory/search", {"search_term": term, **body}, by=by))


async def found(site: WholeSite, term: str, *, by: str = "eve") -> list[tuple[str, str | None]]:
    return [(one["user_id"], one.get("display_name")) for one in (await search(site, term, by=by))["results"]]


async def name(site: WholeSite, who: str, display_name: str) -> None:
    if who not in site.tokens:
        await site.register(who)
    await site.ok("PUT", f"/profile/{user(who)}/displayname", {"displayname": display_name}, by=who)


async def test_people_in_public_rooms_are_found_by_name_and_id(site: WholeSite) -> None:
    await name(site, "alice", "Älice Cooper")
    assert await found(site, "alice") == []
    await site.room(visibility="public")
    for term in ("alice", "ALI", "coop", "cooper ali", "@alice", "@alice:hearth.test"):
        assert await found(site, term) == [(user("alice"), "Älice Cooper")], term
    assert await found(site, "lice") == []
    assert await found(site, "") == []


async def test_searchers_find_themselves_where_everybody_would_find_them(site: WholeSite) -> None:
    await name(site, "alice", "Alice Cooper")
    room_id = await site.room(preset="private_chat", invite=[user("bob")])
    await site.ok("POST", f"/join/{quote(room_id)}", {}, by="bob")
    assert await found(site, "alice", by="alice") == []
    await site.room(visibility="public")
    assert await found(site, "cooper", by="alice") == [(user("alice"), "Alice Cooper")]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("m.room.join_rules", {"join_rule": "public"}),
        ("m.room.history_visibility", {"history_visibility": "world_readable"}),
    ],
)
async def test_open_rooms_need_not_be_listed(site: WholeSite, kind: str, content: dict[str, str]) -> None:
    room_id = await site.room(preset="private_chat")
    assert await found(site, "alice") == []
    await site.ok("PUT", f"/rooms/{quote(room_id)}/state/{kind}", content)
    assert await found(site, "alice") == [(user("alice"), "alice")]


async def test_people_who_share_a_private_room_find_each_other_and_nobody_else_does(site: WholeSite) -> None:
    room_id = await site.room(preset="private_chat", invite=[user("bob")])
    await site.ok("POST", f"/join/{quote(room_id)}", {}, by="bob")
    assert await found(site, "alice", by="bob") == [(user("alice"), "alice")]
    assert await found(site, "alice") == []
    await site.ok("POST", f"/rooms/{quote(room_id)}/leave", {}, by="bob")
    assert await found(site, "alice", by="bob") == []


async def test_a_name_for_one_room_stays_in_that_room(site: WholeSite) -> None:
    await name(site, "alice", "Alice Cooper")
    await site.room(visibility="public")
    private = await site.room(preset="private_chat", invite=[user("bob")])
    await site.ok("POST", f"/join/{quote(private)}", {}, by="bob")
    content = {"membership": "join", "displayname": "Freddy"}
    await site.ok("PUT", f"/rooms/{quote(private)}/state/m.room.member/{user('alice')}", content)
    for who in ("eve", "bob"):
        assert await found(site, "cooper", by=who) == [(user("alice"), "Alice Cooper")]
    assert await found(site, "freddy") == []


async def test_a_new_name_is_found_and_the_old_one_is_not(site: WholeSite) -> None:
    await name(site, "alice", "Alice Cooper")
    await site.room(visibility="public")
    assert len(await found(site, "cooper")) == 1
    await name(site, "alice", "Alice Smith")
    for _ in range(200):  # the rooms are told of a new name in the background
        if await found(site, "smith"):
            break
    assert await found(site, "smith") == [(user("alice"), "Alice Smith")]
    assert await found(site, "cooper") == []


async def test_people_nearby_come_first_and_the_list_is_limited(site: WholeSite) -> None:
    for number in range(4):
        await site.register(f"anna{number}")
    await site.room("anna0", "anna1", "anna2", "anna3", visibility="public")
    room_id = await site.room(preset="private_chat", invite=[user("eve")], by="anna2")
    await site.ok("POST", f"/join/{quote(room_id)}", {}, by="eve")
    answer = await search(site, "anna", limit=2)
    assert answer["limited"] is True
    assert [one["user_id"] for one in answer["results"]] == [user("anna2"), user("anna0")]
    assert (await search(site, "anna", limit=4))["limited"] is False


async def test_everybody_is_found_where_the_operator_wants_that(database_url: str, tmp_path: Path) -> None:
    async with whole_site(database_url, tmp_path, search_all=True) as site:
        await name(site, "alice", "Alice Cooper")
        assert await found(site, "coop") == [(user("alice"), "Alice Cooper")]
        assert await found(site, "coop", by="alice") == [(user("alice"), "Alice Cooper")]
        await site.room(preset="private_chat")
        for who in ("eve", "alice"):
            assert await found(site, "coop", by=who) == [(user("alice"), "Alice Cooper")]
