"""Background work with a keeper: whatever is started here is named, logged when it fails, and ended at the stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from homeserver.runtime.clock import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")


class Tasks:
    """The tasks that belong to one owner (the server, a test). `close()` cancels them and waits for them."""

    def __init__(self, name: str = "hearth") -> None:
        self._name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, name: str, coro: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run `coro` in the background. A failure is logged, once, with its traceback; cancelling is not a failure.

        After `close()` nothing starts any more: the coroutine is closed and a cancelled task comes back.
        """
        task = asyncio.get_running_loop().create_task(coro, name=f"{self._name}:{name}")
        if self._closing:
            task.cancel()
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def loop(
        self, name: str, step: Callable[[], Awaitable[object]], *, every_s: float, clock: Clock
    ) -> "asyncio.Task[None]":
        """Call `step` again and again, `every_s` seconds after it last ended; failures are logged and survived."""

        async def run() -> None:
            while True:
                await clock.sleep(every_s)
                try:
                    await step()
                except asyncio.CancelledError:
                    raise
                except Exception:
                    log.exception("background loop %s failed; it goes on", name)

        return self.start(name, run())

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task %s failed", task.get_name(), exc_info=error)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Cancel everything and wait for it to end, at most `timeout_s` seconds."""
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        for task in pending:
            log.warning("background task %s did not end in %s s", task.get_name(), timeout_s)
