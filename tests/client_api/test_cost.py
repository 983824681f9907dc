"""What frequent requests cost the database: no query, once in memory is what they need, however large the room is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Executable

from homeserver.runtime.bus import Hint
from storage.database import AnyRow, Read
from storage.streams import Stream
from tests.client_api.whole_site import WholeSite, whole_site


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that was read with since; clear it as you like."""
    made: list[str] = []
    fetch_all = Read.fetch_all

    async def noted(self: Read, statement: Executable) -> Any:
        made.append(str(statement))
        rows: list[AnyRow] = list(await fetch_all(self, statement))
        return rows

    monkeypatch.setattr(Read, "fetch_all", noted)
    return made


class Followers:
    """Waits until what follows events behind their answers has come as far: who else has to be told of them."""

    def __init__(self, site: WholeSite) -> None:
        self._sender = site.server.federation.sender
        self._events = 0
        site.server.base.bus.subscribe(self._on_hints)

    def _on_hints(self, hints: list[Hint]) -> None:
        self._events = max((hint.position for hint in hints if hint.stream == Stream.EVENTS), default=self._events)

    async def are_done(self) -> None:
        while self._sender._routed < self._events:
            await asyncio.sleep(0)


@pytest.mark.parametrize("members", [1, 30])
async def test_joining_a_room_of_this_server_costs_no_query(site: WholeSite, queries: list[str], members: int) -> None:
    followers = Followers(site)
    room_id = await site.room(*(f"member{number}" for number in range(members)))
    await site.ok("GET", "/sync", by="bob")
    await site.ok("POST", f"/join/{quote(await site.room())}", {}, by="bob")
    await followers.are_done()
    queries.clear()
    await site.ok("POST", f"/join/{quote(room_id)}", {}, by="bob")
    await followers.are_done()
    assert queries == []


async def test_sending_and_hearing_of_it_cost_no_query(site: WholeSite, queries: list[str]) -> None:
    followers = Followers(site)
    room_id = await site.room("bob")
    await site.send(room_id, "one")
    since = (await site.ok("GET", "/sync", by="bob"))["next_batch"]
    await site.send(room_id, "two")
    since = (await site.ok("GET", f"/sync?since={since}", by="bob"))["next_batch"]
    await followers.are_done()
    queries.clear()
    await site.send(room_id, "three")
    answer = await site.ok("GET", f"/sync?since={since}", by="bob")
    assert answer["rooms"]["join"][room_id]["timeline"]["events"][-1]["content"]["body"] == "three"
    await followers.are_done()
    assert queries == []
