"""What a user keeps is in memory as it is in the database, though it changes while it is being read."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from homeserver.runtime.bus import Bus
from storage import account_data
from storage.account_data import AccountDataRow
from storage.database import Database, Read
from tests.services.sync_world import World, user

ALICE = user("alice")
ROOM = "!room"

Hold = Callable[[], tuple[asyncio.Event, asyncio.Event]]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    """The next reading tells when it has read, and goes on when it may."""
    original, held = account_data.all_of, list[tuple[asyncio.Event, asyncio.Event]]()

    async def all_of(tx: Read, user_id: str) -> list[AccountDataRow]:
        rows = await original(tx, user_id)
        if held:
            has_read, may_go_on = held.pop(0)
            has_read.set()
            await may_go_on.wait()
        return rows

    def arrange() -> tuple[asyncio.Event, asyncio.Event]:
        held.append((asyncio.Event(), asyncio.Event()))
        return held[-1]

    monkeypatch.setattr(account_data, "all_of", all_of)
    return arrange


async def kept(world: World) -> dict[tuple[str, str], bytes]:
    rows = (await world.account_data.of_user(ALICE)).rows
    return {key: row.content for key, row in rows.items()}


@pytest.mark.parametrize("first_ends", [True, False])
async def test_a_change_between_two_readings_is_not_lost_whichever_ends_first(
    world: World, hold: Hold, first_ends: bool
) -> None:
    readings = []
    for change in (True, False):
        has_read, may_go_on = hold()
        readings.append((asyncio.create_task(kept(world)), may_go_on))
        await has_read.wait()
        if change:
            await world.account_data.write(ALICE, "", "org.example", b'{"a":1}')
    for task, may_go_on in readings if first_ends else readings[::-1]:
        may_go_on.set()
        assert await task == {("", "org.example"): b'{"a":1}'}
    assert await kept(world) == {("", "org.example"): b'{"a":1}'}


async def test_a_tag_that_is_set_between_two_readings_survives_the_next_one(world: World, hold: Hold) -> None:
    await world.account_data.put_tag(ALICE, ROOM, "one", {})
    world.notifier.reset()
    readings = []
    for change in (True, False):
        has_read, may_go_on = hold()
        readings.append((asyncio.create_task(kept(world)), may_go_on))
        await has_read.wait()
        if change:
            await world.account_data.write(ALICE, ROOM, "m.tag", b'{"tags":{"one":{},"two":{}}}')
    for task, may_go_on in readings:
        may_go_on.set()
        await task
    await world.account_data.put_tag(ALICE, ROOM, "three", {})
    world.notifier.reset()
    assert set(await world.account_data.tags(ALICE, ROOM)) == {"one", "two", "three"}


async def test_a_reset_during_a_reading_voids_it(world: World, hold: Hold) -> None:
    has_read, may_go_on = hold()
    reading = asyncio.create_task(kept(world))
    await has_read.wait()
    world.db.on_commit.clear()  # what is written is not heard of
    await world.account_data.write(ALICE, "", "org.example", b'{"a":1}')
    world.notifier.reset()
    may_go_on.set()
    assert await reading == {("", "org.example"): b'{"a":1}'}
