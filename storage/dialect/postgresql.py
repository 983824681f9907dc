"""PostgreSQL, through asyncpg and SQLAlchemy's layer for coroutines."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from storage.dialect.connections import Plan, taking


class PostgresqlConnections:
    """SQLAlchemy's own pool."""

    begin_write: str = "BEGIN"
    begin_read: str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    # Two processes that start at once must not both migrate: the number is the lock's name.
    before_migration: str = "SELECT pg_advisory_lock(4802731)"
    after_migration: str = "SELECT pg_advisory_unlock(4802731)"
    insert: Callable[..., Any] = staticmethod(postgresql.insert)

    def __init__(self, url: str, size: int) -> None:
        parsed = make_url(url).set(drivername="postgresql+asyncpg")
        host = parsed.query.get("host")
        arguments: dict[str, Any] = {"server_settings": {"application_name": "hearth", "jit": "off"}}
        if host:
            arguments["host"] = host
            parsed = parsed.difference_update_query(["host"])
        self._engine = create_async_engine(
            parsed,
            isolation_level="AUTOCOMMIT",
            pool_size=size,
            max_overflow=0,
            pool_timeout=60,
            pool_pre_ping=False,
            connect_args=arguments,
        )

    @property
    def dialect(self) -> Dialect:
        return self._engine.dialect

    def connect(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._engine.connect()

    async def close(self) -> None:
        await self._engine.dispose()

    async def finish_batch(
        self, connection: AsyncConnection, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
    ) -> None:
        raw = await _driver_connection(connection)
        if not begun:
            await raw.execute("BEGIN")
        first, backwards = await _take(raw, places[0], 1), await _take(raw, places[1], 2)
        for sql, rows in plan(first, backwards):
            if len(rows) == 1:
                await raw.execute(sql, *rows[0])
            else:
                await raw.executemany(sql, rows)
        await raw.execute("COMMIT")

    async def roll_back(self, connection: AsyncConnection) -> None:
        await (await _driver_connection(connection)).execute("ROLLBACK")


async def _driver_connection(connection: AsyncConnection) -> asyncpg.Connection:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    return driver


async def _take(raw: asyncpg.Connection, count: int, row: int) -> int:
    if not count:
        return 0
    newest: Any = await raw.fetchval(taking(count, row))
    return int(newest) - count
