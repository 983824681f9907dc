"""What clients are told of a room that was joined without its members, and of its becoming whole."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from federation.outbound.transport import Answer
from tests.client_api.whole_site import SERVER_NAME, user
from tests.federation.network import Sent
from tests.federation.visited import Visited, visited_site

ALICE, BOB, ANN = user("alice"), "@bob:guest.test", "@ann:guest.test"
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
LAZY = [["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]
ALL = [["m.room.member", "*"]]


class Joined:
    """Alice is in a room of another server, whose members are told when `gate` is opened."""

    def __init__(self, visited: Visited, room_id: str, gate: asyncio.Event) -> None:
        self.visited = visited
        self.room_id = room_id
        self.gate = gate

    async def slide(self, required: list[list[str]], pos: str | None = None, timeout_ms: int = 0) -> tuple[str, Any]:
        """A sliding sync for state: where to go on, and what it says of the room (None: nothing)."""
        wanted = {"ranges": [[0, 9]], "timeline_limit": 1, "required_state": required}
        path = f"{SLIDING}?timeout={timeout_ms}" + ("" if pos is None else f"&pos={pos}")
        answer = await self.visited.site.ok("POST", path, {"lists": {"all": wanted}})
        return answer["pos"], answer["rooms"].get(self.room_id)

    async def slide_on(self, required: list[list[str]], pos: str) -> Any:
        """What the next sliding sync with any news says of the room."""
        return (await self.slide(required, pos, 20_000))[1]


@pytest.fixture
async def joined(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Joined]:
    gate = asyncio.Event()

    async def hold(sent: Sent) -> Answer | None:
        if sent.source == SERVER_NAME and "/state_ids/" in sent.target:
            await gate.wait()
        return None

    async with visited_site(sqlite_url, tmp_path) as visited:
        visited.guest.network.interferences.append(hold)
        await visited.site.register("alice")
        room_id = await visited.guest.create_room("bob", name="the room")
        await visited.guest.join("ann", room_id)
        await visited.site.ok("POST", f"/join/{quote(room_id)}?server_name=guest.test", {})
        yield Joined(visited, room_id, gate)
        gate.set()


def members(room: Any) -> set[str]:
    return {event["state_key"] for event in room.get("required_state", ()) if event["type"] == "m.room.member"}


async def test_a_client_that_wants_all_members_gets_the_room_with_them(joined: Joined) -> None:
    pos, room = await joined.slide(ALL)
    assert room is None
    joined.gate.set()
    room = await joined.slide_on(ALL, pos)
    assert members(room) == {ALICE, BOB, ANN}
    assert room["initial"]


async def test_a_client_that_loads_members_lazily_has_the_room_at_once_and_its_counts_later(joined: Joined) -> None:
    pos, room = await joined.slide(LAZY)
    assert ANN not in members(room)
    assert room["joined_count"] == 1
    joined.gate.set()
    room = await joined.slide_on(LAZY, pos)
    assert room["joined_count"] == 3
    assert not room.get("initial")


async def test_a_sync_that_loads_members_lazily_is_told_the_counts_when_they_are_known(joined: Joined) -> None:
    lazy = quote('{"room": {"state": {"lazy_load_members": true}}}')

    async def sync(since: str = "") -> tuple[str, Any]:
        answer = await joined.visited.site.ok("GET", f"/sync?filter={lazy}&timeout=20000{since}")
        return answer["next_batch"], answer.get("rooms", {}).get("join", {}).get(joined.room_id)

    token, room = await sync()
    assert room["summary"]["m.joined_member_count"] == 1
    joined.gate.set()
    token, room = await sync(f"&since={token}")
    assert room["summary"]["m.joined_member_count"] == 3
    assert set(room["summary"]["m.heroes"]) == {BOB, ANN}
    assert not room["timeline"]["events"]


async def test_a_client_that_comes_to_want_all_members_gets_them_when_they_are_known(joined: Joined) -> None:
    pos, _ = await joined.slide(LAZY)
    pos, room = await joined.slide(ALL, pos)
    assert room is None
    joined.gate.set()
    assert members(await joined.slide_on(ALL, pos)) >= {BOB, ANN}


async def test_members_who_are_asked_for_by_name_come_later(joined: Joined) -> None:
    required = [*LAZY, ["m.room.member", ANN]]
    pos, room = await joined.slide(required)
    assert ANN not in members(room)
    joined.gate.set()
    assert ANN in members(await joined.slide_on(required, pos))


async def test_members_are_found_by_name_when_they_are_known(joined: Joined) -> None:
    pos, _ = await joined.slide(LAZY)
    joined.gate.set()
    await joined.slide_on(LAZY, pos)
    found = await joined.visited.site.ok("POST", "/user_directory/search", {"search_term": "ann"})
    assert [person["user_id"] for person in found["results"]] == [ANN]
