"""Which rooms are partial is known as it is in the database, though it changes while it is being read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.runtime.bus import Bus
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.room_heads import WHOLE
from storage import partial_rooms
from storage.database import Database, Read, Write
from storage.partial_rooms import PartialRoom
from storage.streams import Stream
from tests.services.sync_world import SERVER, World

ROOM = PartialRoom(1, "!room", "$join", ())


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


async def become_whole(tx: Write) -> None:
    partial_rooms.set_whole(tx, ROOM.room_nid, tx.position(Stream.CACHES, WHOLE + ROOM.room_id))


@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_room_that_becomes_whole_while_they_are_read_is_whole(
    world: World, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    rooms = PartialRooms(world.db, world.notifier, world.heads, world.tasks, server_name=SERVER)

    async def put(tx: Write) -> None:
        partial_rooms.put(tx, ROOM)

    await world.db.write(put)
    await rooms.load()
    assert rooms.is_partial(ROOM.room_id)
    original = partial_rooms.progress
    has_read, may_go_on = asyncio.Event(), asyncio.Event()

    async def progress(tx: Read) -> dict[str, int | None]:
        found = await original(tx)
        if not has_read.is_set():
            has_read.set()
            await may_go_on.wait()
        return found

    monkeypatch.setattr(partial_rooms, "progress", progress)
    reading = asyncio.create_task(rooms.load())
    await has_read.wait()
    if not is_heard:
        world.db.on_commit.clear()
    await world.db.write(become_whole)
    if not is_heard:
        world.notifier.reset()
        async with asyncio.timeout(60):
            while rooms.is_partial(ROOM.room_id):
                await asyncio.sleep(0.001)
    may_go_on.set()
    await reading
    assert not rooms.is_partial(ROOM.room_id)
    assert rooms.became_whole(ROOM.room_id, 0)
