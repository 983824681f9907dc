"""Time as a parameter. Only this file asks the operating system what time it is."""

import asyncio
import time


class Clock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Wall time in milliseconds since the epoch: what `origin_server_ts` and the like hold."""
        return time.time_ns() // 1_000_000

    def now_us(self) -> int:
        """Wall time in microseconds since the epoch."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that never run backwards; for durations only."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        await asyncio.sleep(seconds)


class FrozenClock(Clock):
    """A clock for tests: it stands still until `advance` moves it, and then wakes whoever slept long enough."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._start_us = now_ms * 1000
        self._elapsed_us = 0
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return (self._start_us + self._elapsed_us) // 1000

    def now_us(self) -> int:
        return self._start_us + self._elapsed_us

    def monotonic(self) -> float:
        return self._elapsed_us / 1_000_000

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed_us + round(seconds * 1_000_000), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds; sleepers whose time has come run at the loop's next turn, the earliest first."""
        self._elapsed_us += round(seconds * 1_000_000)
        due = sorted((s for s in self._sleepers if s[0] <= self._elapsed_us), key=lambda sleeper: sleeper[0])
        self._sleepers = [s for s in self._sleepers if s[0] > self._elapsed_us and not s[1].done()]
        for _, future in due:
            if not future.done():
                future.set_result(None)
