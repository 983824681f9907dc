"""Claims about the supervisor of worker processes, with small programs in place of servers."""

import asyncio
import sys
from pathlib import Path

import pytest

from homeserver import cli_supervisor
from homeserver.cli import EXIT_CONFIG
from homeserver.cli_supervisor import Supervisor
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness

# Writes a line into the file for each start, then waits for SIGTERM.
STEADY = "import signal, sys; open(sys.argv[1], 'a').write(sys.argv[3] + '\\n'); signal.sigwait([signal.SIGTERM])"
STEADY = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); " + STEADY


def supervisor(program: str, file: Path, count: int = 1) -> Supervisor:
    return Supervisor([sys.executable, "-S", "-c", program, str(file)], count, Clock(), Randomness())


async def lines(file: Path, count: int) -> list[str]:
    async with asyncio.timeout(60):
        while not file.exists() or len(file.read_text().splitlines()) < count:
            await asyncio.sleep(0.01)
    return file.read_text().splitlines()


async def test_workers_are_started_by_number_and_stop_together(tmp_path: Path) -> None:
    workers = supervisor(STEADY, tmp_path / "starts", 3)
    running = asyncio.ensure_future(workers.run())
    assert sorted(await lines(tmp_path / "starts", 3)) == ["0", "1", "2"]
    workers.stop()
    assert await asyncio.wait_for(running, 60) == 0


async def test_worker_that_is_killed_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_supervisor, "BACK_OFF_MIN_S", 0.01)
    workers = supervisor(STEADY, tmp_path / "starts")
    running = asyncio.ensure_future(workers.run())
    await lines(tmp_path / "starts", 1)
    workers._processes[0].kill()
    assert await lines(tmp_path / "starts", 2) == ["0", "0"]
    workers.stop()
    await asyncio.wait_for(running, 60)


async def test_worker_that_cannot_work_with_its_config_ends_them_all(tmp_path: Path) -> None:
    program = f"import sys; sys.exit({EXIT_CONFIG})"
    assert await asyncio.wait_for(supervisor(program, tmp_path / "x").run(), 60) == EXIT_CONFIG


async def test_worker_that_will_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_supervisor, "KILL_AFTER_S", 0.1)
    program = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "open(sys.argv[1], 'a').write('up\\n'); signal.sigwait([signal.SIGUSR1])"
    )
    workers = supervisor(program, tmp_path / "starts")
    running = asyncio.ensure_future(workers.run())
    await lines(tmp_path / "starts", 1)
    workers.stop()
    await asyncio.wait_for(running, 60)
    assert workers._processes[0].returncode == -9
