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


# --- restarts


async def restarted(world: World) -> World:
    """The next process over the same database."""
    await world.presence.stop()
    await world.close()
    after = World(world.db, world.db.bus)
    await after.presence.start()
    return after


async def test_who_does_not_come_back_after_a_restart_goes_offline(world: World) -> None:
    await world.presence.set(ALICE, "A", "unavailable", "at lunch")
    await world.sync(BOB, set_presence="online")
    after = await restarted(world)
    assert sorted(after.presence.present()) == [ALICE, BOB]
    assert await shown(after, ALICE) == ("unavailable", "at lunch")
    await advance(after, 20)
    with after.presence.syncing(BOB, "B", "online"):
        await advance(after, 20)
        assert await shown(after, ALICE) == ("offline", "at lunch")
        assert await shown(after, BOB) == ("online", None)
        last = await restarted(after)
    assert last.presence.present() == [BOB]
    await last.close()


async def test_who_was_there_before_a_restart_is_no_news(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await world.presence.set(ALICE, "A", "unavailable", None)
    token = (await world.sync(BOB))["next_batch"]
    after = await restarted(world)
    await after.sync(BOB)  # what is not in memory is not looked for
    assert [event["sender"] for event in (await after.sync(BOB))["presence"]["events"]] == [ALICE]
    assert "presence" not in await after.sync(BOB, token)
    await advance(after, 40)
    (event,) = (await after.sync(BOB, token))["presence"]["events"]
    assert event["content"]["presence"] == "offline"
    await after.close()


async def shown(world: World, user_id: str) -> tuple[str, str | None]:
    state = await world.presence.get(user_id)
    return state.state, state.status_msg
