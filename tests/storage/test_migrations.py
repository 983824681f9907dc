"""From nothing to the newest revision gives the tables that the code knows."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from storage.dialect import Engine, is_full_text
from storage.migrate import bring_up_to_date, create_everything
from storage.migrations import HEAD
from storage.migrations.run import newest, upgrade
from storage.tables import metadata


def differences(connection: Connection) -> list[object]:
    """What the metadata does not know of, the indexes of words, is left out."""

    def is_compared(_: object, name: str | None, *__: object) -> bool:
        return name is None or not is_full_text(name)

    context = MigrationContext.configure(connection, opts={"include_object": is_compared})
    return list(compare_metadata(context, metadata))


async def test_the_scripts_end_at_the_revision_that_the_code_expects() -> None:
    assert newest() == HEAD


async def test_migrating_an_empty_database_gives_the_tables_of_the_code(empty_database_url: str) -> None:
    engine = Engine(empty_database_url, readers=1)
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
        assert await connection.run_sync(differences) == []
    await engine.close()


async def test_a_new_database_gets_the_same_tables_without_the_scripts(empty_database_url: str) -> None:
    engine = Engine(empty_database_url, readers=1)
    async with engine.connect() as connection:
        await connection.run_sync(create_everything)
        assert await connection.run_sync(differences) == []
    await engine.close()


async def test_a_database_of_the_first_tables_keeps_its_rows(empty_database_url: str) -> None:
    engine = Engine(empty_database_url, readers=1)
    async with engine.connect() as connection:
        await connection.run_sync(lambda c: upgrade(c, "0001"))
        users = "INSERT INTO users VALUES ('@alice:x', NULL, 1, true, false, NULL, false, false, false, false)"
        await connection.exec_driver_sql(users)
    await bring_up_to_date(engine)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        assert (await connection.execute(text("SELECT user_id FROM users"))).scalar_one() == "@alice:x"
    await engine.close()


async def test_bringing_up_to_date_twice_changes_nothing(empty_database_url: str) -> None:
    engine = Engine(empty_database_url, readers=1)
    await bring_up_to_date(engine)
    await bring_up_to_date(engine)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == HEAD
        assert "events" in await connection.run_sync(lambda c: inspect(c).get_table_names())
    await engine.close()
