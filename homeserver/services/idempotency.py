"""Requests with a transaction id happen once, however often they are sent.

https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers: the scope of an id is a device and an
endpoint. What was answered lately is in memory. Beyond that a request is taken to be new, without asking the database:
where it is not, the commit refuses its row, and the operation runs again and looks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.errors import MatrixError
from homeserver.runtime.clock import Clock
from homeserver.services.bounded_cache import BoundedCache
from storage import transactions
from storage.database import Database, Read, Write

_RETENTION_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose request it is, and which: `key` names the operation, its target and the client's transaction id."""

    user_id: str
    device_id: str
    key: str


class Idempotency:
    """Remembers the answers to requests for a day."""

    def __init__(self, database: Database, clock: Clock, *, cache_size: int = 10_000) -> None:
        self._database = database
        self._clock = clock
        self._answers: BoundedCache[Scope, Any] = BoundedCache(cache_size)
        self._under_way: dict[Scope, asyncio.Future[None]] = {}

    async def once(self, scope: Scope | None, operation: Callable[[], Awaitable[Any]]) -> Any:
        """The answer to the request: that of the first time, else what `operation` returns, which must ask `recorded`
        and call `record` in its write. An operation that fails may be tried again. Without a scope it just runs."""
        if scope is None:
            return await operation()
        while (running := self._under_way.get(scope)) is not None:
            # The same request, sent again before the first was answered.
            await asyncio.wait((running,))
        running = self._under_way[scope] = asyncio.get_running_loop().create_future()
        try:
            found = self._answers.get(scope)
            return await self._perform(scope, operation) if found is None else found
        finally:
            del self._under_way[scope]
            running.set_result(None)

    async def recorded(self, tx: Write, scope: Scope | None) -> Any:
        """Inside the write, with what serialises such requests locked: the answer that was given, None where the
        request is new or may be taken to be."""
        return None if scope is None or tx.may_assume else await self._find(tx, scope)

    def record(self, tx: Write, scope: Scope | None, result: Any) -> None:
        """Put off: the request is answered with `result` (JSON data, not None)."""
        if scope is None:
            return
        transactions.put(tx, scope.user_id, scope.device_id, scope.key, orjson.dumps(result), self._clock.now_ms())
        tx.after_commit(lambda: self._answers.put(scope, result))

    async def forget_old(self) -> None:
        """Forget what is older than a day. To be called now and then."""

        async def operation(tx: Write) -> int:
            return await transactions.forget_before(tx, self._clock.now_ms() - _RETENTION_MS)

        await self._database.write(operation)
        self._answers.clear()

    async def _perform(self, scope: Scope, operation: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await operation()
        except MatrixError:
            # What was done once may not be allowed any more.
            async with self._database.read() as tx:
                found = await self._find(tx, scope)
            if found is None:
                raise
            return found

    async def _find(self, tx: Read, scope: Scope) -> Any:
        found = await transactions.result_of(tx, scope.user_id, scope.device_id, scope.key)
        return None if found is None else orjson.loads(found)
