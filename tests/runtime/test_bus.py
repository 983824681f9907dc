"""Claims about the bus, in one process and between processes over a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.bus_redis import RedisBus, decode_hints, encode_hints
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks

HINTS = [Hint("events", 5, ("!a:b",)), Hint("typing", 0, ("!a:b",), {"users": ["@a:b"]})]


def test_every_subscriber_hears_what_is_published_until_it_ends_its_subscription() -> None:
    bus, heard = Bus(), []
    end = bus.subscribe(heard.extend)
    bus.subscribe(heard.extend)
    bus.publish(HINTS[:1])
    assert heard == HINTS[:1] * 2
    end()
    bus.publish(HINTS[1:])
    assert heard[2:] == HINTS[1:]


def test_failing_subscriber_stops_neither_the_others_nor_the_publisher(caplog: pytest.LogCaptureFixture) -> None:
    bus, heard = Bus(), []

    def fail(_: list[Hint]) -> None:
        raise LookupError("boom")

    bus.subscribe(fail)
    bus.subscribe(heard.extend)
    bus.publish(HINTS)
    assert heard == HINTS
    assert "boom" in caplog.text


def test_hints_travel_unchanged() -> None:
    assert decode_hints(encode_hints("me", HINTS)) == ("me", HINTS)


@pytest.fixture
async def buses(redis_url: str) -> AsyncIterator[list[RedisBus]]:
    """Two processes' buses, connected."""
    tasks = Tasks()
    prefix = Randomness().token(6)
    pair = [RedisBus(redis_url, prefix=prefix, clock=Clock(), random=Randomness(), tasks=tasks) for _ in range(2)]
    for bus in pair:
        await bus.start()
        await asyncio.wait_for(bus.connected.wait(), 60)
    yield pair
    for bus in pair:
        await bus.close()
    await tasks.close()


class Inbox:
    """Hints that arrived, and a way to wait for so many of them."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.changed = asyncio.Event()
        self.gaps = 0

    def receive(self, hints: list[Hint]) -> None:
        self.hints += hints
        self.changed.set()

    def gap(self) -> None:
        self.gaps += 1
        self.changed.set()

    async def until(self, count: int, gaps: int = 0) -> None:
        async with asyncio.timeout(60):
            while len(self.hints) < count or self.gaps < gaps:
                self.changed.clear()
                await self.changed.wait()


async def test_hint_reaches_its_own_process_at_once_and_the_other_once(buses: list[RedisBus]) -> None:
    inboxes = [Inbox(), Inbox()]
    for bus, inbox in zip(buses, inboxes, strict=True):
        bus.subscribe(inbox.receive)
    buses[0].publish(HINTS)
    assert inboxes[0].hints == HINTS
    buses[1].publish([Hint("last", 1)])
    await inboxes[0].until(3)
    await inboxes[1].until(3)
    assert inboxes[0].hints == [*HINTS, Hint("last", 1)]
    assert sorted(inboxes[1].hints, key=lambda hint: hint.stream) == sorted(inboxes[0].hints, key=lambda h: h.stream)


async def test_many_hints_arrive_in_order(buses: list[RedisBus]) -> None:
    inbox = Inbox()
    buses[1].subscribe(inbox.receive)
    for position in range(500):
        buses[0].publish([Hint("events", position)])
        if position % 50 == 0:
            await asyncio.sleep(0)
    await inbox.until(500)
    assert [hint.position for hint in inbox.hints] == list(range(500))


async def test_lost_connection_comes_back_and_tells_that_hints_may_be_missing(
    buses: list[RedisBus], redis_url: str
) -> None:
    from redis.asyncio import Redis

    inbox = Inbox()
    buses[1].subscribe(inbox.receive, inbox.gap)
    assert inbox.gaps == 0
    async with Redis.from_url(redis_url) as redis:
        for client in await redis.client_list(_type="pubsub"):
            await redis.client_kill(client["addr"])
    await inbox.until(0, gaps=1)
    buses[0].publish(HINTS)
    await asyncio.wait_for(buses[0].connected.wait(), 60)
    await inbox.until(2)


async def test_what_was_said_before_the_first_connection_may_be_missing(redis_url: str) -> None:
    tasks, inbox = Tasks(), Inbox()
    bus = RedisBus(redis_url, clock=Clock(), random=Randomness(), tasks=tasks)
    bus.subscribe(inbox.receive, inbox.gap)
    await bus.start()
    await inbox.until(0, gaps=1)
    await bus.close()
    await tasks.close()


async def test_start_does_not_wait_for_a_redis_that_is_away() -> None:
    tasks = Tasks()
    bus = RedisBus("redis://127.0.0.1:1", clock=Clock(), random=Randomness(), tasks=tasks)
    heard: list[Hint] = []
    bus.subscribe(heard.extend)
    await bus.start()
    bus.publish(HINTS)
    assert heard == HINTS
    await bus.close()
    await tasks.close()
