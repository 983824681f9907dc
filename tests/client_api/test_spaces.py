"""Spaces, summaries and rooms in common over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import SERVER_NAME, WholeSite, user, whole_site

SPACE = {"creation_content": {"type": "m.space"}}
V1 = "/_matrix/client/v1"


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


async def add(site: WholeSite, space: str, child: str, **content: Any) -> None:
    site.clock.advance(1)
    body = {"via": [SERVER_NAME], **content}
    await site.ok("PUT", f"/rooms/{quote(space)}/state/m.space.child/{quote(child)}", body)


async def walk(site: WholeSite, space: str, query: str = "", by: str = "alice") -> list[str]:
    answer = await site.ok("GET", f"{V1}/rooms/{quote(space)}/hierarchy{query}", by=by)
    return [room["room_id"] for room in answer["rooms"]]


async def test_a_space_is_walked_depth_first_in_the_order_of_its_children(site: WholeSite) -> None:
    space, inner = await site.room(**SPACE), await site.room(**SPACE)
    a, b, c, d = [await site.room(name=name) for name in "abcd"]
    await add(site, space, a)
    await add(site, space, inner, suggested=True)
    await add(site, space, b, order="zz")
    await add(site, inner, c)
    await add(site, inner, space)
    await add(site, space, d, via=None)
    assert await walk(site, space) == [space, b, a, inner, c]
    assert await walk(site, space, "?max_depth=1") == [space, b, a, inner]
    assert await walk(site, space, "?max_depth=0") == [space]
    assert await walk(site, space, "?suggested_only=true") == [space, inner]
    answer = await site.ok("GET", f"{V1}/rooms/{quote(space)}/hierarchy")
    assert [child["state_key"] for child in answer["rooms"][0]["children_state"]] == [b, a, inner]
    assert answer["rooms"][1]["children_state"] == []
    assert (answer["rooms"][0]["room_type"], answer["rooms"][1]["name"]) == ("m.space", "b")


async def test_pages_of_a_hierarchy_join_on_and_hold_on_to_what_was_asked(site: WholeSite) -> None:
    space = await site.room(**SPACE)
    rooms = [await site.room() for _ in range(4)]
    for room in rooms:
        await add(site, space, room)
    path = f"{V1}/rooms/{quote(space)}/hierarchy"
    first = await site.ok("GET", path + "?limit=2&max_depth=3")
    assert [room["room_id"] for room in first["rooms"]] == [space, rooms[0]]
    token = first["next_batch"]
    second = await site.ok("GET", f"{path}?from={token}&max_depth=3")
    assert [room["room_id"] for room in second["rooms"]] == rooms[1:]
    assert "next_batch" not in second
    for query in (f"?from={token}&max_depth=2", f"?from={token}&suggested_only=true", "?from=x", "?limit=0"):
        assert await site.error("GET", path + query) == (400, "M_INVALID_PARAM")


async def test_only_rooms_that_the_user_could_join_are_shown(site: WholeSite) -> None:
    space = await site.room("bob", **SPACE)
    public, private = await site.room(), await site.room(preset="private_chat")
    invited, knockable = await site.room(preset="private_chat"), await site.room(preset="private_chat")
    allow = [{"type": "m.room_membership", "room_id": space}]
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    restricted = await site.room(initial_state=[rules])
    await site.ok("PUT", f"/rooms/{quote(knockable)}/state/m.room.join_rules", {"join_rule": "knock"})
    await site.ok("POST", f"/rooms/{quote(invited)}/invite", {"user_id": user("bob")})
    for room in (public, private, invited, knockable, restricted):
        await add(site, space, room)
    assert await walk(site, space, by="bob") == [space, public, invited, knockable, restricted]
    assert await walk(site, space, by="carol") == [space, public, knockable]
    assert await site.error("GET", f"{V1}/rooms/{quote(private)}/hierarchy", by="bob") == (403, "M_FORBIDDEN")
    assert await site.error("GET", f"{V1}/rooms/{quote('!none:x')}/hierarchy") == (403, "M_FORBIDDEN")


async def test_a_summary_tells_how_to_get_in(site: WholeSite) -> None:
    body = {"name": "Lounge", "topic": "Tea", "room_alias_name": "lounge", "room_version": "11"}
    room = await site.room(**body)
    alias = quote(f"#lounge:{SERVER_NAME}")
    answer = await site.ok("GET", f"{V1}/room_summary/{alias}", by="bob")
    assert answer == {
        "room_id": room,
        "name": "Lounge",
        "topic": "Tea",
        "canonical_alias": f"#lounge:{SERVER_NAME}",
        "join_rule": "public",
        "room_version": "11",
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": False,
        "membership": "leave",
    }
    anybody = await site.ok("GET", f"/_matrix/client/unstable/im.nheko.summary/summary/{quote(room)}", by=None)
    assert "membership" not in anybody
    private = await site.room(preset="private_chat")
    assert await site.error("GET", f"{V1}/room_summary/{quote(private)}", by="bob") == (404, "M_NOT_FOUND")
    assert await site.error("GET", f"{V1}/room_summary/{quote(private)}", by=None) == (404, "M_NOT_FOUND")
    assert (await site.ok("GET", f"{V1}/room_summary/{quote(private)}"))["membership"] == "join"
    assert await site.error("GET", f"{V1}/room_summary/x") == (400, "M_INVALID_PARAM")


async def test_rooms_in_common(site: WholeSite) -> None:
    rooms = sorted([await site.room("bob"), await site.room("bob")])
    await site.room("carol")
    path = f"{V1}/mutual_rooms?user_id="
    assert await site.ok("GET", path + quote(user("bob"))) == {"joined": rooms, "count": 2}
    assert await site.ok("GET", path + quote(user("nobody"))) == {"joined": [], "count": 0}
    after = await site.ok("GET", f"{path}{quote(user('bob'))}&from={quote(rooms[0])}")
    assert after == {"joined": rooms[1:], "count": 2}
    assert await site.error("GET", path + quote(user("alice"))) == (400, "M_INVALID_PARAM")
    assert await site.error("GET", path + "bob") == (400, "M_INVALID_PARAM")
    assert await site.error("GET", f"{path}{quote(user('bob'))}&from=x") == (400, "M_INVALID_PARAM")
    assert await site.error("GET", f"{V1}/mutual_rooms") == (400, "M_MISSING_PARAM")
