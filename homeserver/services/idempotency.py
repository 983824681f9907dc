"""Requests with a transaction id happen once, however often they are sent.

https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers: the scope of an id is a device and an
endpoint. What a device did lately is in memory, so that a new request is known to be new without asking the database.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.runtime.clock import Clock
from homeserver.services.bounded_cache import BoundedCache
from storage import transactions
from storage.database import Database, Write

_RETENTION_MS = 24 * 3600 * 1000
# How many requests of a device are remembered in memory; beyond that the database is asked.
_REMEMBERED = 500


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose request it is, and which: `key` names the operation, its target and the client's transaction id."""

    user_id: str
    device_id: str
    key: str


@dataclass(slots=True)
class _Device:
    """The answers to a device's requests, oldest first; `is_complete`: there are no others in the database."""

    results: dict[str, Any] = field(default_factory=dict)
    is_complete: bool = True


class Idempotency:
    """Remembers the answers to requests for a day."""

    def __init__(self, database: Database, clock: Clock, *, cache_size: int = 5_000) -> None:
        self._database = database
        self._clock = clock
        self._devices: BoundedCache[tuple[str, str], _Device] = BoundedCache(cache_size)
        self._under_way: dict[Scope, asyncio.Future[Any]] = {}

    async def once(self, scope: Scope | None, operation: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to the request: that of the first time, else what `operation` returns, which must call `record` in
        its write. An operation that fails may be tried again. Without a scope the operation just runs."""
        if scope is None:
            return await operation()
        while (running := self._under_way.get(scope)) is not None:
            # The same request, sent again before the first was answered.
            await asyncio.wait((running,))
        running = self._under_way[scope] = asyncio.get_running_loop().create_future()
        try:
            found = await self._find(scope)
            return await operation() if found is None else found
        finally:
            del self._under_way[scope]
            running.set_result(None)

    async def recorded(self, tx: Write, scope: Scope | None) -> Any:
        """Inside the write, with what serialises such requests locked: the answer that another process has given."""
        if scope is None or not self._database.is_shared:
            return None
        result = await transactions.result_of(tx, scope.user_id, scope.device_id, scope.key)
        return None if result is None else orjson.loads(result)

    def record(self, tx: Write, scope: Scope | None, result: Any) -> None:
        """Put off: the request is answered with `result` (JSON data, not None)."""
        if scope is None:
            return
        transactions.put(tx, scope.user_id, scope.device_id, scope.key, orjson.dumps(result), self._clock.now_ms())
        tx.after_commit(lambda: self._remember(scope, result))

    async def forget_old(self) -> None:
        """Forget what is older than a day. To be called now and then."""

        async def operation(tx: Write) -> int:
            return await transactions.forget_before(tx, self._clock.now_ms() - _RETENTION_MS)

        await self._database.write(operation)
        self._devices.clear()

    async def _find(self, scope: Scope) -> Any:
        device = self._devices.get((scope.user_id, scope.device_id))
        if device is None:
            device = await self._load(scope.user_id, scope.device_id)
        result = device.results.get(scope.key)
        if result is not None or device.is_complete:
            return result
        async with self._database.read() as tx:
            found = await transactions.result_of(tx, scope.user_id, scope.device_id, scope.key)
        return None if found is None else orjson.loads(found)

    async def _load(self, user_id: str, device_id: str) -> _Device:
        async with self._database.read() as tx:
            rows = await transactions.newest_of(tx, user_id, device_id, _REMEMBERED)
        device = self._devices.get((user_id, device_id))
        if device is None:
            results = {row.key: orjson.loads(row.result) for row in reversed(rows)}
            device = _Device(results, is_complete=len(rows) < _REMEMBERED)
            self._devices.put((user_id, device_id), device)
        return device

    def _remember(self, scope: Scope, result: Any) -> None:
        device = self._devices.get((scope.user_id, scope.device_id))
        if device is None:
            return
        device.results[scope.key] = result
        if len(device.results) > 2 * _REMEMBERED:
            device.is_complete = False
            for key in list(device.results)[:_REMEMBERED]:
                del device.results[key]
