"""SQLite, through aiosqlite: a thread for each connection.

SQLAlchemy works in that thread, too: a statement is compiled, run and fetched in one hop, where its own layer for
coroutines needs four and three times the CPU.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import aiosqlite
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Dialect, Executable, NullPool, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url

from storage.dialect.connections import Plan, taking

T = TypeVar("T")
_WAIT_S: Final = 60.0
_CLOSE_S: Final = 5.0
# FULL: an acknowledged write has survived a loss of power. The log is folded back every 4 MB or so.
_PRAGMAS: Iterable[str] = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "busy_timeout = 30000",
    "temp_store = MEMORY",
    "cache_size = -4000",
    "wal_autocheckpoint = 1000",
)


class Fetched:
    """The rows of a statement, and how many it changed."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchall(self) -> Sequence[Any]:
        return self._rows

    def scalar_one(self) -> Any:
        ((value,),) = self._rows
        return value


class SqliteConnection:
    """What is asked of a connection is done in its thread, in the order in which it was asked for."""

    __slots__ = ("_driver", "_sync")

    def __init__(self, driver: Any, sync: SyncConnection) -> None:
        """`driver`: aiosqlite's connection, of which more is used than it means to show."""
        self._driver = driver
        self._sync = sync

    async def execute(self, statement: Executable) -> Fetched:
        return await self.in_thread(_execute, self._sync, statement)

    async def exec_driver_sql(self, sql: str) -> None:
        await self.in_thread(_run, self._sync, sql)

    async def run_sync(self, function: Callable[[SyncConnection], T]) -> T:
        return await self.in_thread(function, self._sync)

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Have `function` called in the connection's thread: the driver's own way to run something."""
        result: T = await self._driver._execute(function, *arguments)
        return result

    async def with_driver(self, function: Callable[..., T], *arguments: Any) -> T:
        """As `in_thread`, the driver's blocking connection being the first argument."""
        return await self.in_thread(function, self._driver._conn, *arguments)

    async def close(self) -> None:
        """Close it and end its thread."""
        await self.in_thread(self._sync.close)
        await self._driver.close()


def _execute(connection: SyncConnection, statement: Executable) -> Fetched:
    result = connection.execute(statement)
    return Fetched(result.fetchall() if result.returns_rows else (), result.rowcount)


def _run(connection: SyncConnection, sql: str) -> None:
    connection.exec_driver_sql(sql).close()


class SqliteConnections:
    """A pool that opens connections as they are needed."""

    begin_write: str = "BEGIN IMMEDIATE"
    begin_read: str = "BEGIN"
    # Indexes are made by sorting: of a large database, not in memory.
    before_migration: str = "PRAGMA temp_store = FILE"
    after_migration: str = "PRAGMA temp_store = MEMORY"
    insert: Callable[..., Any] = staticmethod(sqlite.insert)

    def __init__(self, url: str, size: int) -> None:
        self._engine = create_engine(
            make_url(url).set(drivername="sqlite"),
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args={"timeout": 30, "cached_statements": 256},
        )
        event.listen(self._engine, "connect", _configure)
        self._idle: list[SqliteConnection] = []
        self._opening: set[asyncio.Task[SqliteConnection]] = set()
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._closed = False

    @property
    def dialect(self) -> Dialect:
        return self._engine.dialect

    def connect(self) -> "_Loan":
        return _Loan(self)

    async def take(self) -> SqliteConnection:
        """A connection for the caller alone. TimeoutError: none became free; RuntimeError: the pool is closed."""
        if self._closed:
            raise RuntimeError("the database is closed")
        if self._free.locked():
            async with asyncio.timeout(_WAIT_S):
                await self._free.acquire()
        else:
            await self._free.acquire()
        try:
            return self._idle.pop() if self._idle else await self._opened()
        except BaseException:
            self._free.release()
            raise

    async def give_back(self, connection: SqliteConnection) -> None:
        """The opposite."""
        self._free.release()
        if self._closed:
            await connection.close()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Those who still read are waited for: a reader that is cancelled meanwhile could not close anything."""
        await asyncio.gather(*self._opening, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                for _ in range(self._size):
                    await self._free.acquire()
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def finish_batch(
        self,
        connection: SqliteConnection,
        begun: bool,
        places: tuple[int, int],
        plan: Callable[[int, int], Plan],
    ) -> None:
        await connection.with_driver(_finish, begun, places, plan)

    async def roll_back(self, connection: SqliteConnection) -> None:
        await connection.with_driver(_roll_back)

    async def _opened(self) -> SqliteConnection:
        """A new connection. Who gives up meanwhile leaves it to others: its thread has work that `close` waits for."""
        task = asyncio.get_running_loop().create_task(self._open(), name="opening of a connection")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._keep)
            raise

    def _keep(self, task: "asyncio.Task[SqliteConnection]") -> None:
        if not task.cancelled() and task.exception() is None:
            self._idle.append(task.result())

    async def _open(self) -> SqliteConnection:
        opened: list[SyncConnection] = []

        def connect() -> sqlite3.Connection:
            opened.append(self._engine.connect())
            driver: Any = opened[0].connection.driver_connection
            return driver

        driver: Any = aiosqlite.Connection(connect, iter_chunk_size=64)
        # A process that ends without having closed its database does not wait for it.
        driver._thread.daemon = True
        await driver
        return SqliteConnection(driver, opened[0])


class _Loan:
    """`async with`: a connection of the pool."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: SqliteConnections) -> None:
        self._pool = pool
        self._connection: SqliteConnection | None = None

    async def __aenter__(self) -> SqliteConnection:
        self._connection = await self._pool.take()
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._pool.give_back(self._connection)


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _take(cursor: sqlite3.Cursor, count: int, row: int) -> int:
    return int(cursor.execute(taking(count, row)).fetchone()[0]) - count if count else 0


def _finish(
    raw: sqlite3.Connection, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
) -> None:
    cursor = raw.cursor()
    if not begun:
        cursor.execute("BEGIN IMMEDIATE")
    first, backwards = _take(cursor, places[0], 1), _take(cursor, places[1], 2)
    for sql, rows in plan(first, backwards):
        cursor.executemany(sql, rows)
    cursor.execute("COMMIT")


def _roll_back(raw: sqlite3.Connection) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK")
