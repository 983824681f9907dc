"""Claims about time, randomness and background tasks."""

import asyncio
import re

import pytest

from homeserver.runtime.clock import Clock, FrozenClock
from homeserver.runtime.random import Randomness, SeededRandomness
from homeserver.runtime.tasks import Tasks


def test_real_clock_is_in_this_millennium() -> None:
    clock = Clock()
    assert clock.now_ms() > 1_700_000_000_000
    assert abs(clock.now_us() // 1000 - clock.now_ms()) < 1000


async def test_frozen_clock_wakes_sleepers_in_order_when_their_time_has_come() -> None:
    clock = FrozenClock()
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.ensure_future(sleeper(seconds)) for seconds in (3, 1, 2)]
    await asyncio.sleep(0)
    before = clock.now_ms()
    clock.advance(2)
    await asyncio.sleep(0)
    assert woken == [1, 2]
    assert (clock.now_ms() - before, clock.monotonic()) == (2000, 2.0)
    clock.advance(1)
    await asyncio.gather(*tasks)
    assert woken == [1, 2, 3]


def test_seeded_randomness_repeats_and_the_real_one_does_not() -> None:
    first, second = SeededRandomness(7), SeededRandomness(7)
    assert [first.token() for _ in range(3)] == [second.token() for _ in range(3)]
    assert first.token() != SeededRandomness(8).token()
    assert Randomness().token() != Randomness().token()


def test_shapes_of_random_values() -> None:
    random = SeededRandomness(1)
    assert re.fullmatch(r"[\w-]{43}", random.token(32), re.ASCII)
    assert re.fullmatch(r"[A-Za-z]{18}", random.opaque_id())
    assert re.fullmatch(r"[A-Z]{10}", random.device_id())
    assert all(0.8 <= random.jitter(1.0) <= 1.2 for _ in range(100))
    assert {random.below(3) for _ in range(100)} == {0, 1, 2}


async def test_failing_task_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks("test")

    async def fail() -> None:
        raise LookupError("boom")

    await asyncio.wait([tasks.start("job", fail())])
    await asyncio.sleep(0)
    assert "test:job failed" in caplog.text
    assert "boom" in caplog.text
    assert len(tasks) == 0


async def test_close_cancels_what_runs_and_waits_for_it() -> None:
    tasks = Tasks()
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    tasks.start("a", work())
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == ["cleaned up"]


async def test_nothing_starts_after_close() -> None:
    tasks = Tasks()
    await tasks.close()
    ran: list[int] = []

    async def work() -> None:
        ran.append(1)

    with pytest.raises(asyncio.CancelledError):
        await tasks.start("late", work())
    assert ran == []


async def test_loop_survives_a_failing_step(caplog: pytest.LogCaptureFixture) -> None:
    tasks, clock, steps = Tasks(), FrozenClock(), []

    async def step() -> None:
        steps.append(clock.monotonic())
        if len(steps) == 1:
            raise LookupError("boom")

    tasks.loop("tick", step, every_s=10, clock=clock)
    for _ in range(3):
        for _ in range(3):
            await asyncio.sleep(0)
        clock.advance(10)
    for _ in range(3):
        await asyncio.sleep(0)
    assert steps == [10, 20, 30]
    assert "loop tick failed" in caplog.text
    await tasks.close()
