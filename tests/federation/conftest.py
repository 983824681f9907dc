"""Networks of servers in one loop, on a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from homeserver.runtime.clock import FrozenClock
from tests.federation.hearth import Hearth
from tests.federation.network import Network

StartServer = Callable[[str], Awaitable[Hearth]]
Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def start(network: Network, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[StartServer]:
    """Start a server by name; those that still run are stopped after the test."""
    started: dict[str, Hearth] = {}

    async def start(name: str) -> Hearth:
        started[name] = await Hearth.start(network, name, tmp_path, clock)
        return started[name]

    yield start
    for name, server in started.items():
        if name in network.servers:
            await server.stop()


@pytest.fixture
async def hs1(start: StartServer) -> Hearth:
    return await start("hs1")


@pytest.fixture
async def hs2(start: StartServer) -> Hearth:
    return await start("hs2")


@pytest.fixture
async def hs3(start: StartServer) -> Hearth:
    return await start("hs3")


@pytest.fixture
def until(clock: FrozenClock) -> Until:
    """Wait for a condition, moving the clock a little while nothing happens."""

    async def until(holds: Callable[[], Awaitable[bool]]) -> None:
        loop = asyncio.get_running_loop()
        turn, latest = 0, loop.time() + 60  # far above what is needed: the machine may be busy
        while not await holds():
            assert loop.time() < latest, "it never came true"
            turn += 1
            if turn % (10 if turn < 400 else 100) == 0:
                clock.advance(0.5)
            await asyncio.sleep(0.002)

    return until
