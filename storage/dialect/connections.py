"""What both engines offer: connections to run statements with, and a pool of them."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Dialect, Executable

T = TypeVar("T")
Rows = list[tuple[Any, ...]]
Plan = Sequence[tuple[str, Rows]]
"""SQL of the driver, with the rows to run it with."""

_TAKE: Final = "UPDATE stream_position SET value = value + {n} WHERE id = {id} RETURNING value"
_TRANSIENT: Final = ("DeadlockDetectedError", "SerializationError")


class Result(Protocol):
    """What a statement brought. All of it is in memory."""

    @property
    def rowcount(self) -> int:
        """How many rows a change concerned."""
        ...

    def fetchall(self) -> Sequence[Any]:
        """Every row."""
        ...

    def scalar_one(self) -> Any:
        """The only column of the only row."""
        ...


class Connection(Protocol):
    """Statements commit one by one unless a transaction was begun by hand."""

    async def execute(self, statement: Executable) -> Result:
        """Run a statement of SQLAlchemy Core."""
        ...

    async def exec_driver_sql(self, sql: str) -> Any:
        """Run SQL that has no parameters and brings no rows."""
        ...

    async def run_sync(self, function: Callable[[SyncConnection], T]) -> T:
        """Call a function that wants SQLAlchemy's blocking connection."""
        ...


class Connections(Protocol):
    """The connections to one database, and how SQL is worded for it."""

    begin_write: str
    begin_read: str
    before_migration: str
    after_migration: str
    insert: Callable[..., Any]

    @property
    def dialect(self) -> Dialect:
        """What compiles statements."""
        ...

    def connect(self) -> AbstractAsyncContextManager[Any]:
        """A connection of the pool."""
        ...

    async def close(self) -> None:
        """Give back every connection."""
        ...

    async def finish_batch(
        self, connection: Any, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
    ) -> None:
        """As `Engine.finish_batch`."""
        ...

    async def roll_back(self, connection: Any) -> None:
        """End the transaction begun by hand, undoing it."""
        ...


def taking(count: int, row: int) -> str:
    """SQL that takes `count` places of the log, `row` 1, or of the one before its beginning, 2."""
    return _TAKE.format(n=count, id=row)


def is_transient(error: BaseException) -> bool:
    """Whether the same operation may well succeed when tried again: a deadlock between processes."""
    driver = sys.modules.get("asyncpg")  # where it was never imported, nothing is of it
    kinds = () if driver is None else tuple(getattr(driver, name) for name in _TRANSIENT)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, kinds):
            return True
        cause = cause.__cause__ or getattr(cause, "orig", None)
    return False
