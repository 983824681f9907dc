"""Whole servers in one thread: what a run does follows from its seed alone, and costs no hops between threads."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any
from unittest import mock

import aiosqlite


class AtOnce(Executor):
    """Runs what it is given on the spot."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 (it is handed on)
            done.set_exception(error)
        return done


@contextmanager
def one_thread(pause: Callable[[], bool]) -> Iterator[None]:
    """SQLite is asked, and signatures are checked, in the thread of the loop.

    `pause`: whether others have their turn before the database answers.
    """

    async def execute(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if pause():
            await asyncio.sleep(0)
        return function(*args, **kwargs)

    async def connect(self: Any) -> Any:
        connection = self._connection = self._connector()
        # Nothing here has to survive a loss of power.
        connection.execute("PRAGMA synchronous = OFF")
        return self

    def opened(self: Any) -> Generator[Any, None, Any]:
        return connect(self).__await__()

    async def close(self: Any) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    with (
        mock.patch.multiple(aiosqlite.Connection, _execute=execute, __await__=opened, close=close),
        mock.patch("tests.federation.hearth.ThreadPoolExecutor", return_value=AtOnce()),
    ):
        yield
