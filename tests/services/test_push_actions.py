"""Whom people ignore and what they have muted holds for the next event, wherever and whenever they said so."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from homeserver.runtime.bus import Bus
from homeserver.services.account_data import IGNORED_USERS
from storage import account_data
from storage.database import Database, Read
from tests.services.sync_world import World, joined, user
from tests.services.test_notifier_processes import Pair, level, pair

__all__ = ["pair"]

ALICE, BOB = user("alice"), user("bob")

Hold = Callable[[], tuple[asyncio.Event, asyncio.Event]]


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    """The next reading tells when it has read, and goes on when it may."""
    original, held = account_data.contents_of_type, list[tuple[asyncio.Event, asyncio.Event]]()

    async def contents_of_type(tx: Read, data_type: str, *users: object) -> dict[str, bytes]:
        contents = await original(tx, data_type, *users)  # type: ignore[arg-type]
        if data_type == IGNORED_USERS and held:
            has_read, may_go_on = held.pop()
            has_read.set()
            await may_go_on.wait()
        return contents

    def arrange() -> tuple[asyncio.Event, asyncio.Event]:
        held.append((asyncio.Event(), asyncio.Event()))
        return held[-1]

    monkeypatch.setattr(account_data, "contents_of_type", contents_of_type)
    return arrange


async def has_read_all() -> None:
    """Nothing is being read any more."""
    async with asyncio.timeout(60):
        while any("push rules" in task.get_name() for task in asyncio.all_tasks()):
            await asyncio.sleep(0.001)


async def ignore(world: World, *users: str) -> None:
    await world.account_data.put(BOB, "", IGNORED_USERS, {"ignored_users": {user_id: {} for user_id in users}})


async def mute(world: World, room_id: str) -> None:
    await world.push_rules.put(BOB, "room", room_id, {"actions": []}, None, None)


async def unread(world: World, room_id: str) -> int:
    counts = joined(await world.sync(BOB), room_id)["unread_notifications"]
    return int(counts["notification_count"])


async def room_with_bob(world: World) -> str:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await ignore(world, user("carol"))
    await mute(world, "!elsewhere")
    return room_id


@pytest.mark.parametrize("muted", [True, False])
async def test_what_is_said_while_the_lists_are_read_counts(world: World, hold: Hold, muted: bool) -> None:
    room_id = await room_with_bob(world)
    has_read, may_go_on = hold()
    world.notifier.reset()
    await has_read.wait()
    await (mute(world, room_id) if muted else ignore(world, ALICE))
    may_go_on.set()
    await has_read_all()
    await world.send(ALICE, room_id)
    assert await unread(world, room_id) == 0


async def test_of_two_resets_the_later_one_counts(world: World, hold: Hold) -> None:
    room_id = await room_with_bob(world)
    has_read, may_go_on = hold()
    world.notifier.reset()
    await has_read.wait()
    listeners = list(world.db.on_commit)
    world.db.on_commit.clear()  # what is written is not heard of
    await ignore(world, ALICE)
    world.db.on_commit.extend(listeners)
    world.notifier.reset()
    await world.sync(BOB)
    may_go_on.set()
    await has_read_all()
    await world.send(ALICE, room_id)
    assert await unread(world, room_id) == 0


@pytest.mark.parametrize("muted", [True, False])
async def test_what_is_said_to_another_process_counts(pair: Pair, muted: bool) -> None:
    here, there = pair
    room_id = await room_with_bob(here)
    await (mute(here, room_id) if muted else ignore(here, ALICE))
    await level(pair)
    await has_read_all()
    await there.send(ALICE, room_id)
    assert await unread(there, room_id) == 0


async def test_what_could_not_be_read_is_read_with_what_comes_next(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pair
    room_id = await room_with_bob(here)
    with monkeypatch.context() as failing:
        failing.delattr(account_data, "contents_of_type")
        await ignore(here, ALICE)
        await level(pair)
        await has_read_all()
    await here.account_data.put(ALICE, "", IGNORED_USERS, {"ignored_users": {}})
    await level(pair)
    await has_read_all()
    await there.send(ALICE, room_id)
    assert await unread(there, room_id) == 0


async def test_the_rules_of_who_joined_by_another_process_count(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await level(pair)
    await mute(there, room_id)
    await there.send(ALICE, room_id)
    await here.join(BOB, room_id)
    await level(pair)
    await has_read_all()
    await there.send(ALICE, room_id)
    assert await unread(there, room_id) == 0
