"""Full-text search as each engine has it: an index of words that follows its table by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Table,
    and_,
    column,
    func,
    literal,
    literal_column,
)
from sqlalchemy import table as lightweight_table

_MIN_BEGINNING: Final = 3
_INDEXED: Final = {"search_documents": "event_nid", "directory_entries": "entry_id"}
"""Tables that have an index of words, with the column that it knows rows by."""


@dataclass(frozen=True, slots=True)
class FullText:
    """Select from `source` `where` the row matches; `rank` grows with how well it does."""

    source: FromClause
    where: ColumnElement[bool]
    rank: ColumnElement[float]


def make_full_text_indexes(connection: Connection) -> None:
    """Make an index of words for each table that has one; it follows the table by itself."""
    for table, key in _INDEXED.items():
        for statement in _full_text_index(connection.dialect.name == "sqlite", table, key):
            connection.exec_driver_sql(statement)


def has_full_text_index(table: Table) -> bool:
    """Whether `make_full_text_indexes` makes an index of words for the table."""
    return table.name in _INDEXED


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


def full_text_sqlite(table: Table, key: str, terms: Sequence[Sequence[str]], beginnings: bool) -> FullText:
    """As `Engine.full_text`."""
    name = f"words_of_{table.name}"
    index = lightweight_table(name, column("rowid", BigInteger))
    if beginnings:
        wanted = " ".join(f'"{word}" *' for term in terms for word in term)
    else:
        wanted = " ".join('"' + " ".join(term) + ('" *' if _is_beginning(term) else '"') for term in terms)
    return FullText(
        table.join(index, index.c.rowid == table.c[key]),
        literal_column(name).bool_op("MATCH")(wanted),
        -literal_column(f"bm25({name})", Float),
    )


def full_text_postgresql(table: Table, terms: Sequence[Sequence[str]], beginnings: bool) -> FullText:
    """As `Engine.full_text`.

    Phrases are looked for in the words themselves: a tsvector knows no places beyond the 16,383rd word, nor more than
    256 of one word.
    """
    language = literal_column("'simple'")
    wanted = " & ".join(
        f"'{word}':*" if beginnings or _is_beginning(term) else f"'{word}'" for term in terms for word in term
    )
    words = func.to_tsvector(language, table.c.words)
    query = func.to_tsquery(language, wanted)
    spaced = literal(" ") + table.c.words + literal(" ")
    phrases = [] if beginnings else [func.strpos(spaced, f" {' '.join(term)} ") > 0 for term in terms if len(term) > 1]
    return FullText(table, and_(words.bool_op("@@")(query), *phrases), func.ts_rank(words, query, type_=Float))


def _is_beginning(term: Sequence[str]) -> bool:
    """A word finds longer ones too (plurals, compounds), unless it is so short that it would find anything."""
    return len(term) == 1 and len(term[0]) >= _MIN_BEGINNING
