"""Requests that come again by way of another process happen once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import func, select

from storage.tables import events
from tests.services.linked import linked_databases
from tests.services.spine import ALICE, BOB, Spine

Processes = tuple[Spine, Spine]


@pytest.fixture
async def processes(make_database: Callable[[], str]) -> AsyncIterator[Processes]:
    async with linked_databases(make_database()) as (first, second):
        yield Spine(first), Spine(second, seed=2)


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
