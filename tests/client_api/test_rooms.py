"""createRoom, state, members and the directory over HTTP."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.rooms_site import RoomsSite, rooms_site
from tests.services.spine import ALICE, BOB, CAROL, SERVER


@pytest.fixture
async def site(sqlite_url: str) -> AsyncIterator[RoomsSite]:
    async with rooms_site(sqlite_url) as made:
        yield made


async def test_a_room_is_created_and_found_by_its_alias(site: RoomsSite) -> None:
    answer = await site.ok("POST", "/createRoom", {"room_alias_name": "pub"})
    alias = quote(f"#pub:{SERVER}")
    assert await site.ok("GET", f"/directory/room/{alias}", by=None) == {
        "room_id": answer["room_id"],
        "servers": [SERVER],
    }
    assert await site.ok("GET", "/joined_rooms") == {"joined_rooms": [answer["room_id"]]}


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"room_version": "x"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"preset": "x"}, "M_BAD_JSON"),
        ({"initial_state": [{"type": "m.room.name"}]}, "M_BAD_JSON"),
        ({"invite": ["bob"]}, "M_BAD_JSON"),
        ({"name": 3}, "M_BAD_JSON"),
        ({"room_version": "11", "name": "x", "power_level_content_override": {"users": {}}}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": {"ban": "high"}}, "M_INVALID_ROOM_STATE"),
        ({"creation_content": {"x": 1.5}}, "M_BAD_JSON"),
        ({"topic": "x" * 70_000}, "M_TOO_LARGE"),
    ],
)
async def test_a_room_that_cannot_be_is_refused(site: RoomsSite, body: dict[str, Any], errcode: str) -> None:
    status, found = await site.error("POST", "/createRoom", body)
    assert 400 <= status < 500
    assert found in (errcode, "M_INVALID_PARAM")


async def test_state_is_read_by_content_or_as_an_event(site: RoomsSite) -> None:
    room_id = await site.room(name="The pub")
    path = f"/rooms/{room_id}/state/m.room.name"
    assert await site.ok("GET", path) == {"name": "The pub"}
    assert await site.ok("GET", path + "/") == {"name": "The pub"}
    event = await site.ok("GET", path + "?format=event")
    assert event["type"] == "m.room.name"
    assert event["room_id"] == room_id
    assert await site.error("GET", f"/rooms/{room_id}/state/m.room.topic") == (404, "M_NOT_FOUND")
    state = await site.ok("GET", f"/rooms/{room_id}/state")
    assert {"m.room.create", "m.room.name", "m.room.member"} <= {event["type"] for event in state}


async def test_strangers_read_no_state_unless_the_room_is_open_to_the_world(site: RoomsSite) -> None:
    room_id = await site.room()
    for path in ("state", "state/m.room.create", "members", "joined_members", "aliases"):
        assert await site.error("GET", f"/rooms/{room_id}/{path}", by="bob") == (403, "M_FORBIDDEN")
    content = {"history_visibility": "world_readable"}
    await site.ok("PUT", f"/rooms/{room_id}/state/m.room.history_visibility", content)
    assert await site.ok("GET", f"/rooms/{room_id}/state", by="bob")


async def test_who_has_left_sees_the_room_as_it_was_then(site: RoomsSite) -> None:
    room_id = await site.room("bob", name="before")
    await site.ok("POST", f"/rooms/{room_id}/leave", {}, by="bob")
    await site.ok("PUT", f"/rooms/{room_id}/state/m.room.name", {"name": "after"})
    await site.ok("POST", f"/rooms/{room_id}/join", {}, by="carol")
    assert await site.ok("GET", f"/rooms/{room_id}/state/m.room.name", by="bob") == {"name": "before"}
    members = await site.ok("GET", f"/rooms/{room_id}/members", by="bob")
    assert {event["state_key"]: event["content"]["membership"] for event in members["chunk"]} == {
        ALICE.user_id: "join",
        BOB.user_id: "leave",
    }
    assert await site.error("GET", f"/rooms/{room_id}/joined_members", by="bob") == (403, "M_FORBIDDEN")


async def test_who_only_rejected_an_invite_sees_nothing(site: RoomsSite) -> None:
    room_id = await site.room()
    await site.ok("POST", f"/rooms/{room_id}/invite", {"user_id": BOB.user_id})
    assert await site.error("GET", f"/rooms/{room_id}/state", by="bob") == (403, "M_FORBIDDEN")
    await site.ok("POST", f"/rooms/{room_id}/leave", {}, by="bob")
    assert await site.error("GET", f"/rooms/{room_id}/state", by="bob") == (403, "M_FORBIDDEN")


async def test_members_are_filtered_by_membership_and_moment(site: RoomsSite) -> None:
    room_id = await site.room("bob")
    moment = f"s{site.spine.database.position}_0"
    await site.ok("POST", f"/rooms/{room_id}/join", {}, by="carol")
    await site.ok("POST", f"/rooms/{room_id}/leave", {}, by="bob")

    async def members(query: str) -> set[str]:
        return {e["state_key"] for e in (await site.ok("GET", f"/rooms/{room_id}/members{query}"))["chunk"]}

    assert await members("") == {ALICE.user_id, BOB.user_id, CAROL.user_id}
    assert await members("?membership=leave") == {BOB.user_id}
    assert await members("?not_membership=leave") == {ALICE.user_id, CAROL.user_id}
    assert await members(f"?at={moment}") == {ALICE.user_id, BOB.user_id}
    assert await site.error("GET", f"/rooms/{room_id}/members?at=x") == (400, "M_INVALID_PARAM")
    joined = await site.ok("GET", f"/rooms/{room_id}/joined_members")
    nameless = {"display_name": None, "avatar_url": None}
    assert joined == {"joined": {ALICE.user_id: nameless, CAROL.user_id: nameless}}


async def test_at_the_beginning_of_the_timeline_there_is_the_creator(site: RoomsSite) -> None:
    room_id = await site.room("bob")
    members = await site.ok("GET", f"/rooms/{room_id}/members?at=t1_0")
    assert [event["state_key"] for event in members["chunk"]] == [ALICE.user_id]


async def test_what_else_comes_with_a_join_is_in_the_member_event(site: RoomsSite) -> None:
    room_id = await site.room()
    body = {"foo": "bar", "membership": "ban", "join_authorised_via_users_server": "@x:y"}
    await site.ok("POST", f"/join/{quote(room_id)}", body, by="bob")
    content = await site.ok("GET", f"/rooms/{room_id}/state/m.room.member/{quote(BOB.user_id)}", by="bob")
    assert content == {"foo": "bar", "membership": "join"}


async def test_a_room_is_published_and_listed(site: RoomsSite) -> None:
    room_id = await site.room()
    assert await site.ok("GET", f"/directory/list/room/{room_id}", by=None) == {"visibility": "private"}
    await site.ok("PUT", f"/directory/list/room/{room_id}", {"visibility": "public"})
    assert await site.ok("GET", f"/directory/list/room/{room_id}", by=None) == {"visibility": "public"}
    assert [room["room_id"] for room in (await site.ok("GET", "/publicRooms"))["chunk"]] == [room_id]
    found = await site.ok("POST", "/publicRooms", {"filter": {"generic_search_term": "nothing"}})
    assert found["chunk"] == []
    assert await site.error("GET", "/publicRooms?since=x") == (400, "M_INVALID_PARAM")


async def test_aliases_are_made_listed_and_removed(site: RoomsSite) -> None:
    room_id = await site.room()
    alias = f"#pub:{SERVER}"
    path = f"/directory/room/{quote(alias)}"
    await site.ok("PUT", path, {"room_id": room_id})
    assert await site.error("PUT", path, {"room_id": room_id}) == (409, "M_UNKNOWN")
    assert await site.ok("GET", f"/rooms/{room_id}/aliases") == {"aliases": [alias]}
    assert await site.error("DELETE", path, by="bob") == (403, "M_FORBIDDEN")
    await site.ok("DELETE", path)
    assert await site.error("GET", path, by=None) == (404, "M_NOT_FOUND")
