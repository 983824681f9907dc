"""The only place that knows which engine is underneath.

SQLAlchemy Core writes the SQL; what is hot goes to the driver in as few calls as there can be: on SQLite a whole batch
is one call in the connection's thread, on PostgreSQL one pipelined `executemany` a table.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Table,
    bindparam,
    column,
    delete,
    event,
    func,
    insert,
    literal_column,
    update,
)
from sqlalchemy import table as lightweight_table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

Rows = list[tuple[Any, ...]]
Plan = Sequence[tuple[str, Rows]]
"""SQL of the driver, with the rows to run it with."""

TRANSIENT_ERRORS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class Engine:
    """The connections to one database, and how SQL is worded for it."""

    def __init__(self, url: str, *, readers: int) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url, readers) if self.is_sqlite else _postgresql_engine(url, readers)
        self._statements: dict[tuple[Any, ...], tuple[str, tuple[str, ...]]] = {}

    def connect(self) -> AsyncConnection:
        """A connection of the pool; statements commit one by one unless a transaction was begun by hand."""
        return self.engine.connect()

    async def close(self) -> None:
        """Give back every connection."""
        await self.engine.dispose()

    @property
    def begin_write(self) -> str:
        """The statement that opens a writing transaction."""
        return "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN"

    @property
    def begin_read(self) -> str:
        """The statement that opens a transaction whose statements all see the same moment."""
        return "BEGIN" if self.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

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
            compiled = self._build(table, kind, columns, keys).compile(dialect=self.engine.dialect)
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
        statement = (sqlite.insert if self.is_sqlite else postgresql.insert)(table).values(values)
        others = {name: statement.excluded[name] for name in values if name not in primary}
        if others:
            return statement.on_conflict_do_update(index_elements=primary, set_=others)
        return statement.on_conflict_do_nothing(index_elements=primary)

    async def finish_batch(
        self, connection: AsyncConnection, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
    ) -> tuple[int, int]:
        """Take `places` (forwards, backwards) of the log, run what `plan` makes of the first of each, and commit.

        The row of the counter stays locked until the commit: that is what puts positions in the order of commits.
        """
        raw = await _driver_connection(connection)
        if self.is_sqlite:
            # The driver's own way to run something in the connection's thread: one hop a batch, not one a statement.
            return await raw._execute(_finish_sqlite, raw._conn, begun, places, plan)
        return await _finish_postgresql(raw, begun, places, plan)

    def full_text(
        self, table: Table, key: str, terms: Sequence[Sequence[str]], *, beginnings: bool = False
    ) -> "FullText":
        """How to find rows of a table that has an index of words (`make_full_text_indexes`).

        `key` is the column that the index knows rows by; `terms` hold words of letters and digits only, all of which
        must be there: in a term one after the other, or with `beginnings` as beginnings of words, anywhere.
        """
        if self.is_sqlite:
            return _full_text_sqlite(table, key, terms, beginnings)
        return _full_text_postgresql(table, terms, beginnings)

    async def roll_back(self, connection: AsyncConnection) -> None:
        """End the transaction begun by hand, undoing it."""
        raw = await _driver_connection(connection)
        if self.is_sqlite:
            await raw._execute(_roll_back_sqlite, raw._conn)
        else:
            await raw.execute("ROLLBACK")


async def _driver_connection(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


_TAKE = "UPDATE stream_position SET value = value + {n} WHERE id = {id} RETURNING value"


def _take_sqlite(cursor: sqlite3.Cursor, count: int, row: int) -> int:
    if not count:
        return 0
    return int(cursor.execute(_TAKE.format(n=count, id=row)).fetchone()[0]) - count


def _finish_sqlite(
    raw: sqlite3.Connection, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
) -> tuple[int, int]:
    cursor = raw.cursor()
    if not begun:
        cursor.execute("BEGIN IMMEDIATE")
    first, backwards = _take_sqlite(cursor, places[0], 1), _take_sqlite(cursor, places[1], 2)
    for sql, rows in plan(first, backwards):
        cursor.executemany(sql, rows)
    cursor.execute("COMMIT")
    return first, backwards


def _roll_back_sqlite(raw: sqlite3.Connection) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK")


async def _finish_postgresql(
    raw: asyncpg.Connection, begun: bool, places: tuple[int, int], plan: Callable[[int, int], Plan]
) -> tuple[int, int]:
    if not begun:
        await raw.execute("BEGIN")
    first, backwards = await _take_postgresql(raw, places[0], 1), await _take_postgresql(raw, places[1], 2)
    for sql, rows in plan(first, backwards):
        if len(rows) == 1:
            await raw.execute(sql, *rows[0])
        else:
            await raw.executemany(sql, rows)
    await raw.execute("COMMIT")
    return first, backwards


async def _take_postgresql(raw: asyncpg.Connection, count: int, row: int) -> int:
    if not count:
        return 0
    newest: Any = await raw.fetchval(_TAKE.format(n=count, id=row))
    return int(newest) - count


def _sqlite_engine(url: str, readers: int) -> AsyncEngine:
    parsed = make_url(url).set(drivername="sqlite+aiosqlite")
    engine = create_async_engine(
        parsed,
        isolation_level="AUTOCOMMIT",
        pool_size=readers + 1,
        max_overflow=0,
        pool_timeout=60,
        connect_args={"timeout": 30, "cached_statements": 256},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


# FULL: an acknowledged write has survived a loss of power. The log is folded back every 4 MB or so.
_SQLITE_PRAGMAS: Iterable[str] = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "busy_timeout = 30000",
    "temp_store = MEMORY",
    "cache_size = -4000",
    "wal_autocheckpoint = 1000",
)


def _postgresql_engine(url: str, readers: int) -> AsyncEngine:
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    host = parsed.query.get("host")
    arguments: dict[str, Any] = {"server_settings": {"application_name": "hearth", "jit": "off"}}
    if host:
        arguments["host"] = host
        parsed = parsed.difference_update_query(["host"])
    return create_async_engine(
        parsed,
        isolation_level="AUTOCOMMIT",
        pool_size=readers + 1,
        max_overflow=0,
        pool_timeout=60,
        pool_pre_ping=False,
        connect_args=arguments,
    )


# --- full text


@dataclass(frozen=True, slots=True)
class FullText:
    """Select from `source` `where` the row matches; `rank` grows with how well it does."""

    source: FromClause
    where: ColumnElement[bool]
    rank: ColumnElement[float]


def make_full_text_indexes(connection: Connection) -> None:
    """Make an index of words for each table that has one; it follows the table by itself."""
    for table, key in (("search_documents", "event_nid"), ("directory_entries", "entry_id")):
        for statement in _full_text_index(connection.dialect.name == "sqlite", table, key):
            connection.exec_driver_sql(statement)


def is_full_text(name: str) -> bool:
    """Whether a table or index of the database is one that `make_full_text_indexes` makes, or a part of one."""
    return name.startswith("words_of_")


def _full_text_index(is_sqlite: bool, table: str, key: str) -> Iterator[str]:
    index = f"words_of_{table}"
    if not is_sqlite:
        yield f"CREATE INDEX {index} ON {table} USING gin (to_tsvector('simple', words))"
        return
    options = f"content='{table}', content_rowid='{key}', tokenize=\"unicode61 categories 'L* N* M* Co'\""
    add = f"INSERT INTO {index} (rowid, words) VALUES (new.{key}, new.words);"  # noqa: S608 (our own names)
    drop = f"INSERT INTO {index} ({index}, rowid, words) VALUES ('delete', old.{key}, old.words);"  # noqa: S608
    yield f"CREATE VIRTUAL TABLE {index} USING fts5 (words, {options})"
    yield f"CREATE TRIGGER {index}_insert AFTER INSERT ON {table} BEGIN {add} END"
    yield f"CREATE TRIGGER {index}_delete AFTER DELETE ON {table} BEGIN {drop} END"
    yield f"CREATE TRIGGER {index}_update AFTER UPDATE ON {table} BEGIN {drop} {add} END"


def _full_text_sqlite(table: Table, key: str, terms: Sequence[Sequence[str]], beginnings: bool) -> FullText:
    name = f"words_of_{table.name}"
    index = lightweight_table(name, column("rowid", BigInteger))
    if beginnings:
        wanted = " ".join(f'"{word}" *' for term in terms for word in term)
    else:
        wanted = " ".join('"' + " ".join(term) + '"' for term in terms)
    return FullText(
        table.join(index, index.c.rowid == table.c[key]),
        literal_column(name).bool_op("MATCH")(wanted),
        -literal_column(f"bm25({name})", Float),
    )


def _full_text_postgresql(table: Table, terms: Sequence[Sequence[str]], beginnings: bool) -> FullText:
    language = literal_column("'simple'")
    if beginnings:
        wanted = " & ".join(f"'{word}':*" for term in terms for word in term)
    else:
        wanted = " & ".join("(" + " <-> ".join(f"'{word}'" for word in term) + ")" for term in terms)
    words = func.to_tsvector(language, table.c.words)
    query = func.to_tsquery(language, wanted)
    return FullText(table, words.bool_op("@@")(query), func.ts_rank(words, query, type_=Float))
