"""What is said and read while counts are read from the database is counted, once; so is what other processes write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from homeserver.runtime.bus import Bus
from homeserver.services.sync.rooms import Rooms
from storage import read_marks
from storage.database import Database
from tests.services.linked import LinkedBus
from tests.services.sync_world import World, joined, user
from tests.services.test_notifier_processes import Pair, level, pair

__all__ = ["pair"]

ALICE, BOB = user("alice"), user("bob")
MENTION = {"body": "bob", "msgtype": "m.text", "m.mentions": {"user_ids": [BOB]}}

During = Callable[[Any, str, Callable[[], Awaitable[Any]]], None]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


@pytest.fixture
def during_the_next(monkeypatch: pytest.MonkeyPatch) -> During:
    """Something happens at the end of a call, when it has what it returns."""

    def arrange(owner: Any, name: str, happening: Callable[[], Awaitable[Any]]) -> None:
        original = getattr(owner, name)
        pending = [happening]

        async def call(*args: Any) -> Any:
            found = await original(*args)
            if pending:
                await pending.pop()()
            return found

        monkeypatch.setattr(owner, name, call)

    return arrange


async def room_of_bob(world: World) -> str:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    return room_id


async def say(world: World, room_id: str, count: int) -> str:
    """More than 10 are more than the log has after a sync: they are counted in the database. Returns the last one."""
    return [await world.send(ALICE, room_id) for _ in range(count)][-1]


async def read(world: World, since: str | None = None, room_id: str = "") -> tuple[int, int]:
    """Bob's [notifications, highlights]."""
    counts = joined(await world.sync(BOB, since), room_id)["unread_notifications"]
    return counts["notification_count"], counts["highlight_count"]


async def test_a_mention_while_the_user_is_read_is_counted(world: World, during_the_next: During) -> None:
    room_id = await room_of_bob(world)
    during_the_next(read_marks, "exceptions_of", lambda: world.send(ALICE, room_id, content=MENTION))
    token = (await world.sync(BOB))["next_batch"]
    assert await read(world, token, room_id) == (1, 1)


async def test_a_mention_that_the_reading_finds_before_it_is_heard_of_is_counted_once(
    world: World, during_the_next: During
) -> None:
    room_id = await room_of_bob(world)
    tokens: list[str] = []

    async def sync() -> None:
        tokens.append((await world.sync(BOB))["next_batch"])

    during_the_next(world.db.engine, "finish_batch", sync)
    await world.send(ALICE, room_id, content=MENTION)
    assert await read(world, tokens[0], room_id) == (1, 1)


async def test_a_receipt_while_unread_messages_are_counted_empties_the_count(
    world: World, during_the_next: During
) -> None:
    room_id = await room_of_bob(world)
    last = await say(world, room_id, 12)
    world.notifier.reset()  # the log of the room is forgotten
    during_the_next(read_marks, "unread_by_thread", lambda: world.receipts.send(BOB, room_id, "m.read", last))
    token = (await world.sync(BOB))["next_batch"]
    assert await read(world, token, room_id) == (0, 0)


async def test_a_second_reading_does_not_hide_from_the_first_what_came_meanwhile(
    world: World, during_the_next: During
) -> None:
    room_id = await room_of_bob(world)
    await say(world, room_id, 3)
    second_reads, first_has_ended = asyncio.Event(), asyncio.Event()
    second: list[asyncio.Future[Any]] = []

    async def hold_second() -> None:
        second_reads.set()
        await first_has_ended.wait()

    async def own_message_and_second() -> None:
        await world.send(BOB, room_id)
        during_the_next(read_marks, "marks_of", hold_second)
        second.append(asyncio.ensure_future(world.sync(BOB, device_id="OTHER")))
        await second_reads.wait()

    during_the_next(read_marks, "marks_of", own_message_and_second)
    await world.sync(BOB)
    first_has_ended.set()
    await asyncio.gather(*second)
    assert await read(world, None, room_id) == (0, 0)


async def test_what_is_read_while_hints_are_lost_is_read_again(pair: Pair, during_the_next: During) -> None:
    here, there = pair
    room_id = await room_of_bob(here)
    await level(pair)

    async def mention_unheard() -> None:
        assert isinstance(here.db.bus, LinkedBus)
        here.db.bus.is_cut = True
        await here.send(ALICE, room_id, content=MENTION)
        there.notifier.reset(here.db.position)

    during_the_next(read_marks, "exceptions_of", mention_unheard)
    await there.sync(BOB)
    assert await read(there, None, room_id) == (1, 1)


@pytest.mark.parametrize("is_read_anew", [False, True])
async def test_what_another_process_tells_of_the_user_leaves_the_answer_its_counts(
    pair: Pair, during_the_next: During, is_read_anew: bool
) -> None:
    here, there = pair
    room_id = await room_of_bob(here)
    elsewhere = await here.create_room(ALICE)
    await here.join(BOB, elsewhere)
    seen = await here.send(ALICE, elsewhere)
    await say(here, room_id, 12)
    await level(pair)
    there.notifier.reset()  # the log of the room is forgotten
    token = (await there.sync(BOB))["next_batch"]
    await say(here, room_id, 1)
    await level(pair)

    async def receipt_elsewhere() -> None:
        await here.receipts.send(BOB, elsewhere, "m.read", seen)
        await level(pair)
        if is_read_anew:
            stored = await there.events.get(seen)
            assert stored is not None
            await there.unread.counts(BOB, {elsewhere: stored.room_nid}, there.notifier.position)

    # The counts are prepared, and not yet written.
    during_the_next(Rooms, "_gather", receipt_elsewhere)
    assert await read(there, token, room_id) == (13, 0)
    assert await read(there, token, room_id) == (13, 0)


async def test_a_message_that_the_user_sends_by_another_process_reads_what_was_before(pair: Pair) -> None:
    here, there = pair
    room_id = await room_of_bob(here)
    await say(here, room_id, 12)
    await level(pair)
    token = (await there.sync(BOB))["next_batch"]
    await here.send(BOB, room_id)
    await level(pair)
    assert await read(there, token, room_id) == (0, 0)
