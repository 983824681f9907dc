"""Requests that come again by way of another process happen once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import func, select

from storage.database import Database
from storage.tables import events
from tests.services.spine import ALICE, BOB, Spine
from tests.services.test_notifier_processes import LinkedBus

Processes = tuple[Spine, Spine]


@pytest.fixture
async def processes(make_database: Callable[[], str]) -> AsyncIterator[Processes]:
    url = make_database()
    left, right = LinkedBus(), LinkedBus()
    left.other, right.other = right, left
    first = await Database.open(url, bus=left, is_shared=True)
    second = await Database.open(url, bus=right, is_shared=True)
    yield Spine(first), Spine(second, seed=2)
    await first.close()
    await second.close()


async def messages(spine: Spine) -> int:
    async with spine.database.read() as tx:
        statement = select(func.count()).select_from(events).where(events.c.type == "m.room.message")
        return int(await tx.fetch_value(statement))


async def test_a_request_that_two_processes_get_at_once_gives_one_event(processes: Processes) -> None:
    room_id = await processes[0].new_room(joined=[BOB])
    requests = [(person, str(number)) for number in range(10) for person in (ALICE, BOB)]
    left, right = await asyncio.gather(
        *(
            asyncio.gather(*(spine.say(person, room_id, txn_id=txn_id) for person, txn_id in requests))
            for spine in processes
        )
    )
    assert left == right
    assert len(set(left)) == await messages(processes[0]) == len(requests)


async def test_a_request_that_another_process_has_answered_is_answered_alike(processes: Processes) -> None:
    first, second = processes
    room_id = await first.new_room(joined=[BOB])
    sent = await first.say(BOB, room_id, txn_id="1")
    assert await second.say(BOB, room_id, txn_id="1") == sent
    await first.membership.leave(BOB, room_id)
    assert await second.say(BOB, room_id, txn_id="1") == sent
    assert await Spine(second.database, seed=3).say(BOB, room_id, txn_id="1") == sent
