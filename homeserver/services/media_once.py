"""The same work, asked for by several at the same time, is done once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar, cast

from homeserver.runtime.tasks import Tasks

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Once(Generic[K, V]):
    """Work under way, by key. It goes on when those who asked go away: what it yields is kept for the next."""

    def __init__(self, name: str, tasks: Tasks) -> None:
        self._name = name
        self._tasks = tasks
        self._under_way: dict[K, asyncio.Task[tuple[V | None, Exception | None]]] = {}

    async def __call__(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """The result of `work`, or of the same work that was begun before. Raises what it raises, to all."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = self._tasks.start(self._name, _outcome(work))
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        result, error = await asyncio.shield(task)
        if error is not None:
            raise error
        return cast("V", result)


async def _outcome(work: Callable[[], Awaitable[V]]) -> tuple[V | None, Exception | None]:
    """As a value, since a failure is the business of whoever asked and no failure of a background task."""
    try:
        return await work(), None
    except Exception as error:  # noqa: BLE001 (it is raised to all who asked)
        return None, error
