"""Several worker processes under one supervisor: it starts them, starts them again when they die, and stops them."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from homeserver.cli import EXIT_CONFIG
from homeserver.config import Config
from homeserver.runtime import logs
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks

log = logging.getLogger(__name__)
BACK_OFF_MIN_S = 0.2
BACK_OFF_MAX_S = 10.0
HEALTHY_AFTER_S = 30.0  # a worker that lived so long starts with a short pause again
KILL_AFTER_S = 5.0


class Supervisor:
    """Keeps `count` processes of `command` (with `--worker N` after it) alive."""

    def __init__(self, command: list[str], count: int, clock: Clock, random: Randomness) -> None:
        self._command = command
        self._count = count
        self._clock = clock
        self._random = random
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self.exit_status = 0

    def stop(self) -> None:
        """Ask every worker to stop; `run` returns when they have."""
        self._stopping.set()
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)

    async def run(self) -> int:
        """Run until `stop()`, or until a worker says that its config cannot work; returns the exit status."""
        tasks = Tasks("supervisor")
        keepers = [tasks.start(f"worker {number}", self._keep(number)) for number in range(self._count)]
        await self._stopping.wait()
        _, late = await asyncio.wait(keepers, timeout=KILL_AFTER_S)
        if late:
            for process in self._processes.values():
                if process.returncode is None:
                    log.warning("worker process %d did not stop in time; it is killed", process.pid)
                    process.kill()
            await asyncio.wait(late)
        await tasks.close()
        return self.exit_status

    async def _keep(self, number: int) -> None:
        pause = BACK_OFF_MIN_S
        while not self._stopping.is_set():
            begin = self._clock.monotonic()
            process = await asyncio.create_subprocess_exec(*self._command, "--worker", str(number))
            self._processes[number] = process
            if self._stopping.is_set():  # asked to while it was being started
                process.send_signal(signal.SIGTERM)
            status = await process.wait()
            if self._stopping.is_set():
                return
            if status == EXIT_CONFIG:
                self.exit_status = status
                self.stop()
                return
            if self._clock.monotonic() - begin > HEALTHY_AFTER_S:
                pause = BACK_OFF_MIN_S
            log.error("worker %d ended (%s); it starts again in %.1f s", number, _how(status), pause)
            await self._pause(self._random.jitter(pause))
            pause = min(pause * 2, BACK_OFF_MAX_S)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def supervise(config: Config, config_path: str) -> int:
    """Run the configured number of workers until SIGTERM or Ctrl-C."""
    sink = logs.configure(config.logging.level, config.logging.format)
    command = [sys.executable, "-m", "homeserver.cli", "run", "--config", config_path]

    async def run() -> int:
        supervisor = Supervisor(command, config.workers, Clock(), Randomness())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        return await supervisor.run()

    pid_file = config.server.pid_file
    if pid_file:
        Path(pid_file).write_text(f"{os.getpid()}\n", encoding="ascii")
    try:
        return asyncio.run(run())
    finally:
        sink.flush()
        if pid_file:
            Path(pid_file).unlink(missing_ok=True)


def _how(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
