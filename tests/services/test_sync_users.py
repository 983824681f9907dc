"""The rooms of a user in memory: what happens while they are read is in them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.runtime.bus import Bus
from storage import timeline
from storage.database import Database, Read
from storage.timeline import UserRoom
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


class HeldRead:
    """The next time that somebody's rooms are read, what was found is not handed over before `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read = asyncio.Event()
        self.go_on = asyncio.Event()
        self._original = timeline.rooms_of_user
        monkeypatch.setattr(timeline, "rooms_of_user", self._read)

    async def _read(self, tx: Read, user_id: str) -> list[UserRoom]:
        found = await self._original(tx, user_id)
        self.has_read.set()
        await self.go_on.wait()
        return found


async def test_a_gap_in_the_news_while_rooms_are_read_has_them_read_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await world.create_room(ALICE)
    read = HeldRead(monkeypatch)
    loading = asyncio.ensure_future(world.users.get(BOB, None))
    await read.has_read.wait()
    heard, world.db.on_commit = world.db.on_commit, []
    await world.join(BOB, room_id)
    world.db.on_commit = heard
    world.notifier.reset()
    read.go_on.set()
    assert room_id in (await loading).joined


async def test_who_gives_up_waiting_leaves_the_reading_to_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await world.create_room(ALICE)
    read = HeldRead(monkeypatch)
    first = asyncio.ensure_future(world.users.get(BOB, None))
    await read.has_read.wait()
    first.cancel()
    await asyncio.wait({first})
    await world.join(BOB, room_id)
    second = asyncio.ensure_future(world.users.get(BOB, None))
    await asyncio.sleep(0)
    assert len(world.tasks) == 1
    read.go_on.set()
    assert room_id in (await second).joined
    assert world.users.cached(BOB) is await second
