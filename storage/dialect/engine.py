"""The connections to one database, and the SQL of what is written in batches."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Table, Text, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from storage.dialect.connections import Connection, Connections, Plan, Rows
from storage.dialect.full_text import FullText, full_text_postgresql, full_text_sqlite, has_full_text_index


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A shape of change to one table. `order`: the parameters in the order in which the driver's `sql` wants them;
    `defaults`: those that an insert was not given; `together`: SQL whose only parameter is JSON, an array of the
    parameters of each row, where many rows are better changed by one statement."""

    table: str
    sql: str
    order: tuple[str, ...]
    defaults: dict[str, Any] = field(default_factory=dict)
    together: str | None = None

    def planned(self, rows: Rows) -> tuple[str, Rows]:
        """What to run for these rows."""
        if self.together is None or len(rows) == 1:
            return self.sql, rows
        return self.together, [(orjson.dumps(rows).decode(),)]


class Engine:
    """`url` is `sqlite:///PATH` or `postgresql://…`; there are `readers` connections beside the writer's."""

    def __init__(self, url: str, *, readers: int) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self._connections = _open(url, self.is_sqlite, readers + 1)
        self._changes: dict[tuple[Any, ...], Change] = {}

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

    @property
    def before_migration(self) -> str:
        """The statement that prepares a connection for changing the tables, before the transaction begins."""
        return self._connections.before_migration

    @property
    def after_migration(self) -> str:
        """The opposite, after the transaction."""
        return self._connections.after_migration

    def change(self, table: Table, kind: str, columns: tuple[str, ...], keys: tuple[str, ...] = ()) -> Change:
        """The one `Change` of this shape.

        `kind`: "insert" and "upsert" of `columns` (where the row exists, an upsert changes what is not of the primary
        key), "update" of `columns` or "delete" where `keys` match; the parameters of keys are named `key_…`.
        """
        shape = (table.name, kind, columns, keys)
        found = self._changes.get(shape)
        if found is None:
            defaults = _missing_defaults(table, columns) if kind == "insert" else {}
            statement = self._build(table, kind, (*columns, *defaults), keys)
            compiled = statement.compile(dialect=self._connections.dialect)
            order = tuple(compiled.positiontup or ())
            # SQLite's index of words is written to the disk after each statement, in several pages.
            is_dear = self.is_sqlite and kind == "upsert" and has_full_text_index(table)
            together = self._upsert_together(table, order) if is_dear else None
            found = self._changes[shape] = Change(table.name, str(compiled), order, defaults, together)
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
        return _or_update(self._connections.insert(table).values(values), table, tuple(values))

    def _upsert_together(self, table: Table, columns: tuple[str, ...]) -> str:
        rows = func.json_each(bindparam("rows", type_=Text)).table_valued("value")
        values = [func.json_extract(rows.c.value, literal_column(f"'$[{index}]'")) for index in range(len(columns))]
        # Without a condition, ON CONFLICT would be taken for the beginning of a join.
        statement = self._connections.insert(table).from_select(columns, select(*values).where(literal_column("true")))
        return str(_or_update(statement, table, columns).compile(dialect=self._connections.dialect))

    async def finish_batch(
        self, connection: Connection, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
    ) -> None:
        """Take `places` (forwards, backwards) of the log, run what `plan` makes of the first of each, and commit.

        The row of the counter stays locked until the commit: that is what puts positions in the order of commits.
        """
        await self._connections.finish_batch(connection, begun, places, plan)

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


def _or_update(insertion: Any, table: Table, columns: tuple[str, ...]) -> Any:
    primary = [c.name for c in table.primary_key]
    others = {name: insertion.excluded[name] for name in columns if name not in primary}
    if others:
        return insertion.on_conflict_do_update(index_elements=primary, set_=others)
    return insertion.on_conflict_do_nothing(index_elements=primary)


def _missing_defaults(table: Table, columns: tuple[str, ...]) -> dict[str, Any]:
    return {
        column.name: column.default.arg
        for column in table.columns
        if isinstance(column.default, ScalarElementColumnDefault) and column.name not in columns
    }


def _open(url: str, is_sqlite: bool, size: int) -> Connections:
    if is_sqlite:
        from storage.dialect.sqlite import SqliteConnections

        return SqliteConnections(url, size)
    from storage.dialect.postgresql import PostgresqlConnections

    return PostgresqlConnections(url, size)
