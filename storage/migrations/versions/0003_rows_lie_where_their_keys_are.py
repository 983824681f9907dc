"""Rows lie where their keys are: on SQLite, tables without an index of their own key beside them."""

import logging
import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

log = logging.getLogger(__name__)

_KEPT_BY_KEY = frozenset({
    "auth_chain_links",
    "backward_extremities",
    "current_state",
    "destination_events",
    "device_list_changes",
    "event_auth",
    "event_edges",
    "forward_extremities",
    "read_marks",
    "redactions",
    "room_hosts",
    "room_threads",
    "state_changes",
    "state_deltas",
    "told_states",
    "transactions",
})
# Of the index of words, whose tables SQLite makes by itself, and of others.
_NOT_OURS = ("words_of_", "alembic_", "sqlite_")


def upgrade() -> None:
    """SQLite cannot change a key in place: tables are copied into those of the new form, with indexes and triggers."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    schema = sa.text("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = connection.execute(schema).all()
    for kind, name, _, sql in found:
        if kind != "table" or name.startswith(_NOT_OURS):
            continue
        wanted = sql.replace("BIGINT", "INTEGER") + (" WITHOUT ROWID" if name in _KEPT_BY_KEY else "")
        if wanted != sql:
            beside = [one.sql for one in found if one.tbl_name == name and one.type != "table"]
            _copy(connection, name, wanted, beside)


def _copy(connection: sa.Connection, name: str, wanted: str, beside: Sequence[str]) -> None:
    log.info("copying the table %s", name)
    quote = connection.dialect.identifier_preparer.quote
    described = connection.execute(sa.text(f"PRAGMA table_info({quote(name)})"))
    columns = ", ".join(quote(column.name) for column in described)
    into = quote(f"new_{name}")
    made = re.sub(r"^CREATE TABLE \S+", lambda _: f"CREATE TABLE {into}", wanted, count=1)
    for statement in (
        made,
        f"INSERT INTO {into} ({columns}) SELECT {columns} FROM {quote(name)}",  # noqa: S608 (names of our own tables)
        f"DROP TABLE {quote(name)}",
        f"ALTER TABLE {into} RENAME TO {quote(name)}",
        *beside,
    ):
        connection.exec_driver_sql(statement)
