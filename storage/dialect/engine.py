"""The connections to one database, and the SQL of what is written in batches."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import Table, bindparam, delete, insert, update

from storage.dialect.connections import Connection, Connections, Plan
from storage.dialect.full_text import FullText, full_text_postgresql, full_text_sqlite


class Engine:
    """`url` is `sqlite:///PATH` or `postgresql://…`; there are `readers` connections beside the writer's."""

    def __init__(self, url: str, *, readers: int) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self._connections = _open(url, self.is_sqlite, readers + 1)
        self._statements: dict[tuple[Any, ...], tuple[str, tuple[str, ...]]] = {}

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """A connection of the pool; statements commit one by one unless a transaction was begun by hand."""
        return self._connections.connect()

    async def close(self) -> None:
        """Give back every connection."""
        await self._connections.close()

    @property
    def begin_write(self) -> str:
        """The statement that opens a writing transaction."""
        return self._connections.begin_write

    @property
    def begin_read(self) -> str:
        """The statement that opens a transaction whose statements all see the same moment."""
        return self._connections.begin_read

    def statement(
        self, table: Table, kind: str, columns: tuple[str, ...], keys: tuple[str, ...] = ()
    ) -> tuple[str, tuple[str, ...]]:
        """The driver's SQL for a change of `table`, and the order in which it wants its parameters.

        `kind`: "insert" and "upsert" of `columns` (where the row exists, an upsert changes what is not of the primary
        key), "update" of `columns` or "delete" where `keys` match; the parameters of keys are named `key_…`.
        """
        wanted = (table.name, kind, columns, keys)
        found = self._statements.get(wanted)
        if found is None:
            compiled = self._build(table, kind, columns, keys).compile(dialect=self._connections.dialect)
            found = self._statements[wanted] = (str(compiled), tuple(compiled.positiontup or ()))
        return found

    def _build(self, table: Table, kind: str, columns: tuple[str, ...], keys: tuple[str, ...]) -> Any:
        values = {name: bindparam(name, type_=table.c[name].type) for name in columns}
        if kind == "insert":
            return insert(table).values(values)
        if kind == "upsert":
            return self._upsert(table, values)
        statement = update(table).values(values) if kind == "update" else delete(table)
        for name in keys:
            statement = statement.where(table.c[name] == bindparam(f"key_{name}", type_=table.c[name].type))
        return statement

    def _upsert(self, table: Table, values: dict[str, Any]) -> Any:
        primary = [c.name for c in table.primary_key]
        statement = self._connections.insert(table).values(values)
        others = {name: statement.excluded[name] for name in values if name not in primary}
        if others:
            return statement.on_conflict_do_update(index_elements=primary, set_=others)
        return statement.on_conflict_do_nothing(index_elements=primary)

    async def finish_batch(
        self, connection: Connection, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
    ) -> tuple[int, int]:
        """Take `places` (forwards, backwards) of the log, run what `plan` makes of the first of each, and commit.

        The row of the counter stays locked until the commit: that is what puts positions in the order of commits.
        """
        return await self._connections.finish_batch(connection, begun, places, plan)

    def full_text(
        self, table: Table, key: str, terms: Sequence[Sequence[str]], *, beginnings: bool = False
    ) -> FullText:
        """How to find rows of a table that has an index of words (`make_full_text_indexes`).

        `key` is the column that the index knows rows by; `terms` hold words of letters and digits only, all of which
        must be there: in a term one after the other, or with `beginnings` as beginnings of words, anywhere. A term
        that is one word also finds longer words that begin with it.
        """
        if self.is_sqlite:
            return full_text_sqlite(table, key, terms, beginnings)
        return full_text_postgresql(table, terms, beginnings)

    async def roll_back(self, connection: Connection) -> None:
        """End the transaction begun by hand, undoing it."""
        await self._connections.roll_back(connection)


def _open(url: str, is_sqlite: bool, size: int) -> Connections:
    if is_sqlite:
        from storage.dialect.sqlite import SqliteConnections

        return SqliteConnections(url, size)
    from storage.dialect.postgresql import PostgresqlConnections

    return PostgresqlConnections(url, size)
