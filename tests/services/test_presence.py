"""Presence merges devices and follows the time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.sync_world import World, user

ALICE, BOB = user("alice"), user("bob")


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


async def advance(world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.clock.advance(1)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_who_syncs_is_online_and_goes_offline_a_while_after(world: World) -> None:
    await world.sync(ALICE, set_presence="online")
    assert (await world.presence.get(ALICE)).state == "online"
    await advance(world, 20)
    assert (await world.presence.get(ALICE)).state == "online"
    await advance(world, 20)
    assert (await world.presence.get(ALICE)).state == "offline"


async def test_who_does_nothing_for_long_is_away_while_still_syncing(world: World) -> None:
    with world.presence.syncing(ALICE, "A", "online"):
        await advance(world, 310)
        assert (await world.presence.get(ALICE)).state == "unavailable"
        world.presence.active(ALICE)
        assert (await world.presence.get(ALICE)).currently_active


async def test_the_most_present_device_counts(world: World) -> None:
    with world.presence.syncing(ALICE, "A", "unavailable"):
        assert (await world.presence.get(ALICE)).state == "unavailable"
        with world.presence.syncing(ALICE, "B", "online"):
            assert (await world.presence.get(ALICE)).state == "online"


async def test_syncing_with_offline_does_not_show(world: World) -> None:
    await world.sync(ALICE, set_presence="offline")
    assert (await world.presence.get(ALICE)).state == "offline"


async def test_status_message_is_kept(world: World) -> None:
    await world.presence.set(ALICE, "A", "online", "busy")
    assert world.presence.content_of(await world.presence.get(ALICE))["status_msg"] == "busy"


async def test_strangers_do_not_see_each_other(world: World) -> None:
    assert not await world.presence.may_see(ALICE, BOB)
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    assert await world.presence.may_see(ALICE, BOB)
