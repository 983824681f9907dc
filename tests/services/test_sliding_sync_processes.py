"""Sliding sync of two processes over one database."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.services.linked import linked_databases
from tests.services.sliding_world import SlidingWorld
from tests.services.sync_world import user
from tests.services.test_notifier_processes import level, waits

ALICE = user("alice")
NEWEST = {"lists": {"all": {"ranges": [[0, 0]], "timeline_limit": 1, "required_state": []}}}
MORE = {"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 1, "required_state": []}}}
Pair = tuple[SlidingWorld, SlidingWorld]


@pytest.fixture
async def pair(make_database: Callable[[], str]) -> AsyncIterator[Pair]:
    async with linked_databases(make_database()) as databases:
        first, second = (SlidingWorld(database, database.bus) for database in databases)
        yield first, second
        for world in (first, second):
            await world.close()


async def test_the_newest_request_wins_in_whichever_process_it_is(pair: Pair) -> None:
    here, there = pair
    old, older = await here.create_room(ALICE), await here.create_room(ALICE)
    await level(pair)
    start = (await here.slide(ALICE, NEWEST))["pos"]
    waiting = asyncio.ensure_future(there.slide(ALICE, NEWEST, pos=start, timeout_ms=60_000))
    await waits(there, ALICE)
    newer = await here.slide(ALICE, MORE, pos=start)
    assert set(newer["rooms"]) == {old}
    new = await here.create_room(ALICE)
    assert await waiting == {"pos": start, "lists": {}, "rooms": {}, "extensions": {}}
    for world in pair:
        await level(pair)
        newer = await world.slide(ALICE, MORE, pos=newer["pos"])
        assert set(newer["rooms"]) == ({new} if world is here else set())
    assert older in (await there.slide(ALICE, MORE))["rooms"]
