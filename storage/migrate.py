"""Brings a database's tables to what this version of Hearth expects.

An empty database gets the tables as they are now; one that has tables is migrated by Alembic, which is imported only
then.
"""

import logging
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from storage.migrations import HEAD
from storage.tables import id_blocks, metadata, stream_position

if TYPE_CHECKING:
    from storage.dialect import Engine

log = logging.getLogger(__name__)


async def bring_up_to_date(engine: "Engine") -> None:
    """Make or migrate the tables; raises what Alembic raises when the database is newer than this version."""
    async with engine.connect() as connection:
        await connection.exec_driver_sql(engine.before_migration)
        try:
            await connection.exec_driver_sql(engine.begin_write)
            try:
                await connection.run_sync(_bring_up_to_date)
            except BaseException:
                await engine.roll_back(connection)
                raise
            await connection.exec_driver_sql("COMMIT")
        finally:
            await connection.exec_driver_sql(engine.after_migration)


def _bring_up_to_date(connection: Connection) -> None:
    names = inspect(connection).get_table_names()
    if not names:
        create_everything(connection)
        return
    current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if current != HEAD:
        log.info("migrating the database from %s to %s", current, HEAD)
        from storage.migrations.run import upgrade

        upgrade(connection)


def create_everything(connection: Connection) -> None:
    """The tables as they are now, and the rows that every database has."""
    from storage.dialect import make_full_text_indexes

    metadata.create_all(connection, checkfirst=False)
    make_full_text_indexes(connection)
    connection.execute(stream_position.insert(), [{"id": 1, "value": 0}, {"id": 2, "value": 0}])
    connection.execute(id_blocks.insert(), [{"kind": "all", "next": 0}])
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
