"""Answers that come late, and unevenly so: the database's, Redis's, and those of other servers in a network in memory.

What counts on an order that nothing promises fails under it, be it a test or Hearth. Python imports a module of this
name by itself where its folder is on the path, in the servers that a test starts, too. `make uneven` puts it there;
HEARTH_UNEVEN says how many milliseconds most answers are late at most.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from random import random
from types import ModuleType
from typing import Any

_MOST_S = float(os.environ.get("HEARTH_UNEVEN", "0")) / 1000


async def _be_late() -> None:
    import asyncio  # only where there is a loop: `hearth --help` does without

    kind = random()
    if kind < 0.4:
        return
    if kind < 0.6:
        await asyncio.sleep(0)  # others have their turn
    else:
        await asyncio.sleep(random() * _MOST_S * (1 if kind < 0.9 else 4 if kind < 0.99 else 20))


def _late(owner: Any, name: str, *, before: bool = False, after: bool = False) -> None:
    answer: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @functools.wraps(answer)
    async def late(*args: Any, **options: Any) -> Any:
        if before:
            await _be_late()
        result = await answer(*args, **options)
        if after:
            await _be_late()
        return result

    setattr(owner, name, late)


def _database(module: ModuleType) -> None:
    _late(module.Read, "fetch_all", after=True)
    _late(module.Database, "_run_batch", before=True)
    # Committed, and nobody in this process knows it yet.
    _late(module._Batch, "commit", after=True)


def _bus(module: ModuleType) -> None:
    start = module.RedisBus.start

    async def start_late(self: Any) -> None:
        await start(self)
        _late(self._redis, "publish", before=True)

    module.RedisBus.start = start_late
    # So that what is said until then is lost.
    _late(module.RedisBus, "_listen_once", before=True)


def _network(module: ModuleType) -> None:
    _late(module.MemoryTransport, "_answer", before=True, after=True)


_CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "storage.database": _database,
    "homeserver.runtime.bus_redis": _bus,
    "tests.federation.network": _network,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Changes modules once they are imported."""

    def __init__(self) -> None:
        self._left = dict(_CHANGES)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        change = self._left.pop(fullname, None)
        spec = None if change is None else importlib.util.find_spec(fullname)
        if change is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            change(module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


if _MOST_S:
    sys.meta_path.insert(0, _Finder())
