"""The deprecated ways to read."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import WholeSite, user, whole_site

WORLD_READABLE = {
    "initial_state": [{"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}]
}


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


async def test_a_world_readable_room_is_watched_without_joining_it(site: WholeSite) -> None:
    room = await site.room(**WORLD_READABLE)
    sent = await site.send(room, "before")
    initial = await site.ok("GET", f"/rooms/{quote(room)}/initialSync?limit=2", by="bob")
    assert initial["messages"]["chunk"][-1]["event_id"] == sent
    assert len(initial["messages"]["chunk"]) == 2
    assert "membership" not in initial
    end = initial["messages"]["end"]
    path = f"/events?room_id={quote(room)}&timeout=60000&from="
    waiting = asyncio.create_task(site.ok("GET", path + end, by="bob"))
    seen = await site.send(room, "after")
    answer = await waiting
    assert [event["event_id"] for event in answer["chunk"]] == [seen]
    assert (await site.ok("GET", f"/events?room_id={quote(room)}&from={answer['end']}", by="bob"))["chunk"] == []
    earlier = await site.ok("GET", f"/rooms/{quote(room)}/messages?dir=b&from={end}&limit=1", by="bob")
    assert earlier["chunk"][0]["event_id"] == sent


async def test_a_room_that_is_not_world_readable_is_not_shown(site: WholeSite) -> None:
    room = await site.room()
    for path in (f"/events?room_id={quote(room)}", f"/rooms/{quote(room)}/initialSync"):
        assert await site.error("GET", path, by="bob") == (403, "M_FORBIDDEN")
    sent = await site.send(room, "x")
    assert await site.error("GET", f"/events/{quote(sent)}", by="bob") == (404, "M_NOT_FOUND")
    assert (await site.ok("GET", f"/events/{quote(sent)}"))["content"]["body"] == "x"


async def test_events_of_all_rooms_come_as_they_happen(site: WholeSite) -> None:
    room, other = await site.room("bob"), await site.room()
    start = (await site.ok("GET", "/events", by="bob"))["end"]
    waiting = asyncio.create_task(site.ok("GET", f"/events?timeout=60000&from={start}", by="bob"))
    await site.send(other, "hidden")
    seen = await site.send(room, "seen")
    answer = await waiting
    assert [event["event_id"] for event in answer["chunk"]] == [seen]
    assert (answer["start"], answer["chunk"][0]["room_id"]) == (start, room)
    assert await site.error("GET", "/events?from=x") == (400, "M_INVALID_PARAM")
    assert await site.error("GET", "/events?from=t1_1") == (400, "M_INVALID_PARAM")


async def test_an_account_as_a_whole(site: WholeSite) -> None:
    room, left = await site.room("bob"), await site.room("bob")
    invited = await site.room(preset="private_chat")
    await site.ok("POST", f"/rooms/{quote(invited)}/invite", {"user_id": user("bob")})
    await site.ok("POST", f"/rooms/{quote(left)}/leave", {}, by="bob")
    answer = await site.ok("GET", "/initialSync", by="bob")
    assert {one["room_id"]: one["membership"] for one in answer["rooms"]} == {room: "join", invited: "invite"}
    archived = await site.ok("GET", "/initialSync?archived=true&limit=1", by="bob")
    found = {one["room_id"]: one for one in archived["rooms"]}
    assert found[left]["membership"] == "leave"
    assert len(found[room]["messages"]["chunk"]) == 1
    assert found[invited]["invite"]["content"]["membership"] == "invite"
