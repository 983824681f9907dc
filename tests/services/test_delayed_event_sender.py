"""Delayed events, sent by one of several processes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from homeserver.errors import LimitExceeded
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.tasks import Tasks
from homeserver.services.delayed_event_posting import DelayedEventPosting
from homeserver.services.delayed_event_sender import LEASE_MS, DelayedEventSender
from homeserver.services.delayed_events import DelayedEvents, Wanted
from homeserver.services.sessions import Requester
from storage import delayed_events, users
from storage.database import Database, Read, Write
from tests.services.linked import linked_databases
from tests.services.spine import ALICE, Spine

WHO = Requester(ALICE.user_id, "DEVICE")


class Limiter:
    """Lets so many events pass."""

    left = 1_000

    def check(self, bucket: str, key: str, cost: float = 1.0) -> None:
        assert (bucket, key) == ("message", ALICE.user_id)
        self.left -= 1
        if self.left < 0:
            raise LimitExceeded(retry_after_ms=1)


class Process:
    """What one process has of it."""

    def __init__(self, databases: Sequence[Database], clock: FrozenClock, name: str, seed: int) -> None:
        """The first of the databases is its own."""
        database = databases[0]
        self.databases = databases
        self.spine = Spine(database, seed=seed)
        spine, self.clock, self.tasks, self.limiter = self.spine, clock, Tasks(name), Limiter()
        posting = DelayedEventPosting(
            database,
            spine.send,
            spine.membership,
            spine.directory,
            clock,
        )
        self.service = DelayedEvents(
            database,
            spine.events,
            spine.heads,
            spine.idempotency,
            posting,
            clock,
            spine.randomness,
            max_delay_ms=10**9,
            max_scheduled=100,
        )
        self.sender = DelayedEventSender(
            database, spine.events, spine.heads, posting, self.limiter, clock, self.tasks, process_name=name
        )

    async def schedule(self, room_id: str, delay_ms: int, **content: Any) -> str:
        return await self.service.schedule(WHO, Wanted(room_id, "org.example", None, content, delay_ms))

    async def settled(self, *delay_ids: str) -> list[dict[str, Any]]:
        """The events once they are done with; time goes on meanwhile."""
        async with asyncio.timeout(60):
            while True:
                found = [await self.service.one_of(ALICE.user_id, delay_id) for delay_id in delay_ids]
                if all("finalised_ts" in one for one in found):
                    return found
                self.clock.advance(0.5)
                await asyncio.sleep(0.001)

    async def timeline(self, room_id: str) -> list[Any]:
        """What was said in the room, in order."""
        for database in self.databases:
            await database.write(_nothing)  # what is committed is in memory, too
        head = await self.spine.heads.get(room_id)
        said: list[Any] = []
        event_id = next(iter(head.extremities)) if head is not None else ""
        while (stored := await self.spine.events.get(event_id)) is not None and stored.event.type == "org.example":
            said.insert(0, stored.event.content["n"])
            (event_id,) = stored.event.prev_events
        return said


async def _nothing(tx: Write) -> None:
    pass


Processes = tuple[Process, Process]


@pytest.fixture
async def processes(make_database: Callable[[], str]) -> AsyncIterator[Processes]:
    clock = FrozenClock()
    async with linked_databases(make_database()) as (first, second):
        await first.write(lambda tx: users.create(tx, ALICE.user_id, 0))
        # They draw different lots, as two processes do.
        both = Process((first, second), clock, "first", 1), Process((second, first), clock, "second", 2)
        yield both
        for process in both:
            await process.tasks.close()


async def test_one_process_sends_what_either_has_scheduled(processes: Processes) -> None:
    first, second = processes
    for process in processes:
        await process.sender.start()
    room_id = await first.spine.new_room()
    ids = [await processes[number % 2].schedule(room_id, 1_000 + number, n=number) for number in range(6)]
    found = await second.settled(*ids)
    assert all("event_id" in one for one in found)
    assert await first.timeline(room_id) == list(range(6))
    assert first.limiter.left == 1_000 - 6
    assert second.limiter.left == 1_000


async def test_another_process_goes_on_where_one_has_died(processes: Processes) -> None:
    first, second = processes
    for process in processes:
        await process.sender.start()
    room_id = await first.spine.new_room()
    delay_id = await first.schedule(room_id, LEASE_MS // 2, n=1)
    await first.tasks.close()  # without giving up its lease
    (found,) = await second.settled(delay_id)
    assert "event_id" in found
    assert found["finalised_ts"] >= found["scheduled_at"] + LEASE_MS // 2
    assert await second.timeline(room_id) == [1]


async def test_an_event_that_two_processes_send_at_once_is_sent_once(processes: Processes) -> None:
    first, second = processes
    room_id = await first.spine.new_room()
    ids = [await first.schedule(room_id, 1_000, n=number) for number in range(20)]
    # Both believe that it is theirs to do, as where a lease ran out unnoticed.
    await asyncio.gather(*(process.service.send(delay_id) for delay_id in ids for process in processes))
    assert sorted(await first.timeline(room_id)) == list(range(20))
    assert all("event_id" in one for one in await second.settled(*ids))


async def test_an_event_that_is_restarted_while_it_is_sent_is_sent_once(processes: Processes) -> None:
    first, second = processes
    await first.sender.start()
    room_id = await first.spine.new_room()
    delay_id = await first.schedule(room_id, 1_000, n=1)
    first.clock.advance(1)
    await asyncio.gather(*(second.service.restart(delay_id) for _ in range(5)), return_exceptions=True)
    await second.settled(delay_id)
    assert await second.timeline(room_id) == [1]


async def test_what_the_rate_limit_refuses_in_its_time_is_not_tried_again(processes: Processes) -> None:
    first, _ = processes
    first.limiter.left = 1
    await first.sender.start()
    room_id = await first.spine.new_room()
    ids = [await first.schedule(room_id, 1_000 + number, n=number) for number in range(2)]
    sent, refused = await first.settled(*ids)
    assert "event_id" in sent
    assert refused["error"]["errcode"] == "M_LIMIT_EXCEEDED"
    assert await first.timeline(room_id) == [0]


async def test_what_is_scheduled_while_nothing_is_found_to_be_due_is_sent(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = processes
    await first.sender.start()
    room_id = await first.spine.new_room()
    original, ids = delayed_events.next_send_at, list[str]()

    async def next_send_at(tx: Read) -> int | None:
        found = await original(tx)
        if found is None and not ids:
            ids.append(await first.schedule(room_id, 1_000, n=2))
        return found

    earlier = await first.schedule(room_id, 1_000, n=1)
    monkeypatch.setattr(delayed_events, "next_send_at", next_send_at)
    await first.settled(earlier)
    while not ids:
        await asyncio.sleep(0.001)
    await first.settled(*ids)
    assert await first.timeline(room_id) == [1, 2]
