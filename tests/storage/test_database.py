"""The writer: batches, positions in the order of commits, and operations that fail alone."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import event, func, select, update

from homeserver.runtime.bus import Hint
from storage.database import Database, Position, Read, Write
from storage.dialect.sqlite import SqliteConnections
from storage.streams import Stream
from storage.tables import account_data, destinations, rooms


def keep(tx: Write, name: str, *, by: str = "@a:x") -> Position:
    position = tx.position(Stream.ACCOUNT_DATA, by, payload=name)
    tx.upsert(account_data, user_id=by, room_id="", type=name, content=b"{}", position=position)
    return position


async def types(database: Database) -> dict[str, int]:
    async with database.read() as tx:
        rows = await tx.fetch_all(select(account_data.c.type, account_data.c.position))
    return {name: position for name, position in rows}


async def test_a_write_is_visible_at_the_position_that_its_hint_names(database: Database) -> None:
    heard: list[Hint] = []
    database.on_commit.append(heard.extend)

    async def operation(tx: Write) -> Position:
        return keep(tx, "first")

    position = await database.write(operation)
    assert await types(database) == {"first": int(position)}
    assert [(h.stream, h.position, h.keys, h.payload) for h in heard] == [
        (Stream.ACCOUNT_DATA, int(position), ("@a:x",), "first")
    ]
    assert database.position == int(position)


async def test_positions_follow_the_order_of_operations_without_gaps(database: Database) -> None:
    async def operation(tx: Write) -> list[Position]:
        return [keep(tx, "one", by=f"@{database.new_id()}:x"), keep(tx, "two", by=f"@{database.new_id()}:x")]

    places = await asyncio.gather(*[database.write(operation) for _ in range(20)])
    numbers = [int(p) for pair in places for p in pair]
    assert numbers == list(range(numbers[0], numbers[0] + 40))


async def test_an_operation_that_raises_is_undone_and_the_others_of_its_batch_are_kept(database: Database) -> None:
    async def good(tx: Write) -> None:
        keep(tx, f"good{database.new_id()}")

    async def bad(tx: Write) -> None:
        keep(tx, "bad")
        await tx.execute(destinations.insert().values(server_name="bad", sent_position=1, retry_interval=0))
        raise ValueError("refused")

    results = await asyncio.gather(
        database.write(good), database.write(bad), database.write(good), return_exceptions=True
    )
    assert [type(r) for r in results] == [type(None), ValueError, type(None)]
    kept = await types(database)
    assert len(kept) == 2
    assert "bad" not in kept
    async with database.read() as tx:
        assert await tx.fetch_value(select(func.count()).select_from(destinations)) == 0


async def test_an_operation_that_cannot_be_committed_does_not_take_its_batch_with_it(database: Database) -> None:
    async def good(tx: Write) -> None:
        keep(tx, f"good{database.new_id()}")

    async def double(tx: Write) -> None:
        for _ in range(2):
            tx.insert(destinations, server_name="twice", sent_position=1, retry_at=None, failing_since=None)

    results = await asyncio.gather(
        database.write(good), database.write(double), database.write(good), return_exceptions=True
    )
    assert results[0] is results[2] is None
    assert isinstance(results[1], Exception)
    assert len(await types(database)) == 2


async def test_what_was_assumed_to_be_new_is_looked_for_once_the_commit_refused_it(database: Database) -> None:
    async def first(tx: Write) -> None:
        tx.insert(destinations, server_name="known", sent_position=1, retry_at=None, failing_since=None)

    async def again(tx: Write) -> str:
        if not tx.may_assume:
            return "looked"
        await first(tx)
        return "assumed"

    async def other(tx: Write) -> str:
        keep(tx, "other")
        return "kept"

    await database.write(first)
    assert await asyncio.gather(database.write(again), database.write(other)) == ["looked", "kept"]
    assert await database.write(again) == "looked"  # also where nobody shares its batch
    assert await types(database) == {"other": database.position}


async def test_what_is_executed_at_once_is_seen_by_the_next_operation_of_the_batch(database: Database) -> None:
    async def count_up(tx: Write) -> int:
        seen: int = await tx.fetch_value(select(destinations.c.sent_position)) or 0
        if not seen:
            await tx.execute(destinations.insert().values(server_name="x", sent_position=1, retry_interval=0))
        else:
            await tx.execute(update(destinations).values(sent_position=seen + 1))
        return seen

    assert await asyncio.gather(*[database.write(count_up) for _ in range(5)]) == [0, 1, 2, 3, 4]


async def test_changes_of_one_table_happen_in_the_order_of_the_calls(database: Database) -> None:
    async def operation(tx: Write) -> None:
        row = {"sent_position": 1, "retry_at": None, "failing_since": None, "retry_interval": 0}
        tx.insert(destinations, server_name="x", **row)
        tx.delete(destinations, server_name="x")
        tx.insert(destinations, server_name="x", **row)
        tx.update(destinations, {"server_name": "x"}, sent_position=7)

    await database.write(operation)
    async with database.read() as tx:
        assert await tx.fetch_value(select(destinations.c.sent_position)) == 7


async def test_positions_before_the_beginning_count_downwards(database: Database) -> None:
    async def operation(tx: Write) -> list[Position]:
        return [tx.backwards_position(), tx.backwards_position()]

    assert [int(p) for p in await database.write(operation)] == [-1, -2]
    assert [int(p) for p in await database.write(operation)] == [-3, -4]


async def test_caches_are_installed_before_the_caller_is_answered(database: Database) -> None:
    seen: list[str] = []
    database.on_commit.append(lambda hints: seen.append("told"))

    async def operation(tx: Write) -> None:
        keep(tx, "x")
        tx.after_commit(lambda: seen.append("installed"))

    await database.write(operation)
    assert seen == ["installed", "told"]


async def test_a_batch_leaves_nothing_for_the_garbage_collector(database: Database) -> None:
    class Probe:
        pass

    left: list[weakref.ref[Probe]] = []

    def work_with(probe: Probe) -> Callable[[Write], Awaitable[None]]:
        left.append(weakref.ref(probe))

        async def operation(tx: Write) -> None:
            tx.batch.setdefault("probes", []).append((tx, probe))
            tx.after_commit(lambda: tx.batch)
            tx.on_undo(lambda: tx.batch.pop("probes", None))
            tx.before_commit("probe", lambda summary: summary.after_commit(lambda: summary.batch))
            keep(tx, f"kept{database.new_id()}")

        return operation

    async def only_keep(tx: Write) -> None:
        keep(tx, "after them")

    gc.disable()
    try:
        await asyncio.gather(*(database.write(work_with(Probe())) for _ in range(2)))
        await database.write(only_keep)
        assert [ref() for ref in left] == [None, None]
    finally:
        gc.enable()


async def test_the_caller_goes_on_before_those_who_wait_for_news(database: Database) -> None:
    """A client wants the answer to what it sent before /sync tells it of the event: some SDKs fail otherwise."""
    seen: list[str] = []
    news = asyncio.Event()
    database.on_commit.append(lambda hints: news.set())

    async def wait_for_news() -> None:
        await news.wait()
        seen.append("told")

    async def operation(tx: Write) -> Position:
        return keep(tx, "first")

    waiting = asyncio.ensure_future(wait_for_news())
    await asyncio.sleep(0)
    await database.write(operation)
    seen.append("answered")
    await waiting
    assert seen == ["answered", "told"]


async def test_a_write_is_finished_when_its_caller_goes_away(database: Database) -> None:
    async def operation(tx: Write) -> None:
        keep(tx, "kept")

    task = asyncio.ensure_future(database.write(operation))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def after(tx: Write) -> None:
        keep(tx, "after")

    await database.write(after)
    assert set(await types(database)) == {"kept", "after"}


async def test_a_snapshot_sees_one_moment(database: Database) -> None:
    async def operation(tx: Write) -> None:
        keep(tx, f"t{database.new_id()}")

    async def count(tx: Read) -> int:
        return int(await tx.fetch_value(select(func.count()).select_from(account_data)))

    await database.write(operation)
    async with database.read(snapshot=True) as tx:
        before = await count(tx)
        await database.write(operation)
        assert await count(tx) == before == 1


async def test_ids_are_not_used_twice_by_two_processes(database: Database, database_url: str) -> None:
    other = await Database.open(database_url)
    try:
        assert {database.new_id() for _ in range(10)}.isdisjoint({other.new_id() for _ in range(10)})
    finally:
        await other.close()


async def test_processes_take_positions_in_the_order_of_their_commits(database: Database, database_url: str) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has one writing process")
    other = await Database.open(database_url, is_shared=True)
    database.is_shared = True

    async def insert(tx: Write) -> None:
        tx.insert(rooms, room_nid=1, room_id="!a", room_version="11", creator=None, snapshot_id=None)

    await database.write(insert)

    async def bump(tx: Write) -> int:
        version = await tx.locked_version(1)
        assert version is not None
        tx.update(rooms, {"room_nid": 1}, version=version + 1)
        keep(tx, f"v{version}")
        return version

    try:
        for _ in range(10):
            await asyncio.gather(database.write(bump, rooms=(1,)), other.write(bump, rooms=(1,)))
        kept = await types(database)
        assert [kept[f"v{n}"] for n in range(20)] == sorted(kept.values())
    finally:
        await other.close()


async def test_closing_waits_for_a_connection_whose_taker_gave_up(sqlite_url: str) -> None:
    pool = SqliteConnections(sqlite_url, 1)
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @event.listens_for(pool._engine, "connect")
    def dawdle(*_: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(60)

    taking = asyncio.ensure_future(pool.take())
    await begun.wait()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    closing = asyncio.ensure_future(pool.close())
    await asyncio.sleep(0)
    assert taking.cancelled()
    assert not closing.done()
    may_end.set()
    await closing


async def test_closing_waits_for_who_reads(sqlite_url: str) -> None:
    pool = SqliteConnections(sqlite_url, 2)
    connection = await pool.take()
    closing = asyncio.ensure_future(pool.close())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    await connection.exec_driver_sql("SELECT 1")
    await pool.give_back(connection)
    await closing
    with pytest.raises(RuntimeError):
        await pool.take()
