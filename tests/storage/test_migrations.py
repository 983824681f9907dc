"""From nothing to the newest revision gives the tables that the code knows."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text

from storage import search
from storage.database import Database, Write
from storage.dialect import Engine, is_full_text
from storage.migrate import bring_up_to_date, create_everything
from storage.migrations import HEAD
from storage.migrations.run import newest, upgrade
from storage.tables import event_edges, metadata, search_documents


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


def form_of(connection: Connection) -> list[tuple[object, ...]]:
    """What a comparison of metadata does not see of SQLite: the exact types, where rows lie, indexes and triggers."""
    form: list[tuple[object, ...]] = []
    for kind, name, table, sql in connection.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master")).all():
        if name == "alembic_version" or table == "alembic_version":
            continue
        form.append((kind, name, table, "WITHOUT ROWID" in (sql or "")))
        if kind == "table":
            columns = connection.execute(text(f'PRAGMA table_info("{name}")')).all()
            form += [(name, column.name, column.type, column.notnull, column.pk) for column in columns]
    return sorted(form, key=repr)


async def test_sqlite_gets_tables_of_the_same_form_by_either_way(tmp_path: Path) -> None:
    forms: list[object] = []
    for make in (upgrade, create_everything):
        engine = Engine(f"sqlite:///{tmp_path / make.__name__}.db", readers=1)
        async with engine.connect() as connection:
            await connection.run_sync(make)
            forms.append(await connection.run_sync(form_of))
        await engine.close()
    assert forms[0] == forms[1]


async def test_what_was_said_before_the_tables_were_copied_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = Engine(url, readers=1)
    async with engine.connect() as connection:
        await connection.run_sync(lambda c: upgrade(c, "0002"))
        document = "INSERT INTO search_documents VALUES ({0}, 1, 'content.body', '@a:x', {0}, 'hello number{0}')"
        for nid in (1, 2, 2**40):
            await connection.exec_driver_sql(document.format(nid))
        await connection.exec_driver_sql("INSERT INTO event_edges VALUES (7, '$b'), (7, '$a')")
    await engine.close()
    database = await Database.open(url)

    async def replace(tx: Write) -> None:
        search.remove_document(tx, 1)
        search.put_document(tx, 2, room_nid=1, key="content.body", sender="@a:x", sent_at=2, words=["gone"])

    await database.write(replace)
    found = database.engine.full_text(search_documents, "event_nid", [("hello",)])
    async with database.read() as tx:
        statement = select(search_documents.c.event_nid).select_from(found.source).where(found.where)
        assert [row.event_nid for row in await tx.fetch_all(statement)] == [2**40]
        edges = await tx.fetch_all(select(event_edges).order_by(event_edges.c.prev_event_id))
        assert [tuple(row) for row in edges] == [(7, "$a"), (7, "$b")]
    await database.close()


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
