"""The database: snapshots to read, and one writer that commits what is waiting in batches.

Everything durable gets a place in ONE log. Places are taken last in a batch, under the lock of the counter's row, which
is held until the commit: whoever has seen place N has seen everything up to N. An operation is decided inside the batch
(see `Write`); what it wants to keep is mostly put off and goes out with everybody else's in one statement a table.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from sqlalchemy import Executable, Row, Table, select

from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.telemetry import add_db_ms
from storage.dialect import Change, Engine, Plan, is_transient
from storage.migrate import bring_up_to_date
from storage.streams import Stream
from storage.tables import id_blocks, rooms, stream_position

log = logging.getLogger(__name__)
T = TypeVar("T")
AnyRow = Row[*tuple[Any, ...]]
"""A row of a select; its columns are attributes."""

# Ids that a process may hand out in its life: it takes them all when it starts.
_ID_BLOCK = 1 << 32
# How many operations share a commit at most: bounds how long the first of them waits.
_BATCH_LIMIT = 200


class _Counted:
    """Counts the time until the end of the block as the database's, for the log of the request."""

    __slots__ = ("_start",)

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        add_db_ms((time.perf_counter() - self._start) * 1000)


class Position:
    """A place in the log that is known once the batch is committed; stands in deferred rows until then."""

    __slots__ = ("backwards", "value")

    def __init__(self, *, backwards: bool) -> None:
        self.backwards = backwards
        self.value: int | None = None

    def __int__(self) -> int:
        if self.value is None:
            raise RuntimeError("this position is not committed yet")
        return self.value


class Read:
    """What a reader may do. Statements are SQLAlchemy Core's."""

    def __init__(self, database: "Database", connection: Any = None) -> None:
        self._database = database
        self._connection = connection

    async def fetch_all(self, statement: Executable) -> Sequence[AnyRow]:
        """Every row."""
        with _Counted():
            return (await (await self._connected()).execute(statement)).fetchall()

    async def fetch_one(self, statement: Executable) -> AnyRow | None:
        """The first row, None where there is none."""
        rows = await self.fetch_all(statement)
        return rows[0] if rows else None

    async def fetch_value(self, statement: Executable) -> Any:
        """The first column of the first row, None where there is none."""
        rows = await self.fetch_all(statement)
        return rows[0][0] if rows else None

    async def _connected(self) -> Any:
        return self._connection


class Write(Read):
    """What one operation of a batch may do.

    `insert`, `upsert`, `update` and `delete` are put off to the batch's end: no reads of the batch see them. `execute`
    happens at once, under a savepoint of this operation, and is seen by the operations after it. When the operation
    raises, both are undone and the rest of the batch goes on.
    """

    def __init__(self, database: "Database", batch: "_Batch") -> None:
        super().__init__(database)
        self._batch = batch
        self._has_savepoint = False
        self._on_undo: list[Callable[[], None]] = []
        # What the batch takes from here, in the order in which it was asked for.
        self.changes: list[tuple[Change, dict[str, Any]]] = []
        self.positions: list[Position] = []
        self.hints: list[tuple[Stream, Position, tuple[str, ...], Any]] = []
        self.to_summarise: dict[str, Callable[[Write], None]] = {}
        self.to_install: list[Callable[[], None]] = []

    @property
    def batch(self) -> dict[str, Any]:
        """Shared by the operations of this batch, and dropped with it."""
        return self._batch.shared

    @property
    def may_assume(self) -> bool:
        """Whether a row that is most likely new may be inserted without looking for it first.

        Where the commit refuses it, the operations run again, one by one, and may not.
        """
        return self._batch.may_assume

    async def locked_version(self, room_nid: int) -> int | None:
        """The version of a room's head, its row being locked for this batch; None where no other process writes."""
        return await self._batch.lock_room(room_nid)

    async def execute(self, statement: Executable) -> int:
        """Run a statement now; returns how many rows it changed."""
        connection = await self._batch.begin()
        if not self._has_savepoint:
            await connection.exec_driver_sql("SAVEPOINT operation")
            self._has_savepoint = True
        with _Counted():
            result = await connection.execute(statement)
        return int(result.rowcount)

    def insert(self, table: Table, **row: Any) -> None:
        """Put off: a new row."""
        change = self._database.engine.change(table, "insert", tuple(row))
        row.update(change.defaults)
        self.changes.append((change, row))

    def upsert(self, table: Table, **row: Any) -> None:
        """Put off: a new row, or these columns of the row that has the same primary key."""
        self.changes.append((self._database.engine.change(table, "upsert", tuple(row)), row))

    def update(self, table: Table, key: dict[str, Any], **values: Any) -> None:
        """Put off: change the rows whose columns equal `key`."""
        change = self._database.engine.change(table, "update", tuple(values), tuple(key))
        self.changes.append((change, values | _as_keys(key)))

    def delete(self, table: Table, **key: Any) -> None:
        """Put off: remove the rows whose columns equal `key`. Changes of one table happen in the order of the calls."""
        change = self._database.engine.change(table, "delete", (), tuple(key))
        self.changes.append((change, _as_keys(key)))

    def position(self, stream: Stream, *keys: str, payload: Any = None) -> Position:
        """The next place in the log, for the rows of one fact; `keys` and `payload` go into the hint of the commit."""
        position = Position(backwards=False)
        self.positions.append(position)
        self.hints.append((stream, position, keys, payload))
        return position

    def backwards_position(self) -> Position:
        """The next place before the log's beginning, for history that arrives late. Nobody is told."""
        position = Position(backwards=True)
        self.positions.append(position)
        return position

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after the commit, before anybody is told or answered."""
        self.to_install.append(callback)

    def on_undo(self, callback: Callable[[], None]) -> None:
        """Have `callback` called if this operation alone is undone: what it left in `batch` has to go. Latest first."""
        self._on_undo.append(callback)

    def before_commit(self, name: str, callback: "Callable[[Write], None]") -> None:
        """Have `callback` write what the batch as a whole needs to be written, once for each `name` and batch."""
        self.to_summarise[name] = callback

    # --- for the batch

    async def release(self, connection: Any) -> None:
        """What was executed stays, for the operations after this one to see."""
        if self._has_savepoint:
            await connection.exec_driver_sql("RELEASE SAVEPOINT operation")

    async def undo(self, connection: Any) -> None:
        """Nothing stays of what was done."""
        for callback in reversed(self._on_undo):
            callback()
        if self._has_savepoint:
            await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT operation")
            await connection.exec_driver_sql("RELEASE SAVEPOINT operation")
        self.let_go()

    def let_go(self) -> None:
        """Forget what is to be called, which refers to this operation in its turn."""
        self._on_undo.clear()
        self.to_install.clear()
        self.to_summarise.clear()

    async def _connected(self) -> Any:
        return await self._batch.reading()


def _as_keys(key: dict[str, Any]) -> dict[str, Any]:
    return {f"key_{name}": value for name, value in key.items()}


_Group = tuple[Change, list[dict[str, Any]]]
"""Rows for one change."""


class _Batch:
    """The operations that share one transaction."""

    def __init__(self, database: "Database", connection: Any, *, may_assume: bool) -> None:
        self._database = database
        self._connection = connection
        self.may_assume = may_assume
        self._begun = False
        self._locked: dict[int, int | None] = {}
        self._kept: list[Write] = []
        self.shared: dict[str, Any] = {}

    async def begin(self) -> Any:
        """The connection, inside the transaction."""
        if not self._begun:
            await self._connection.exec_driver_sql(self._database.engine.begin_write)
            self._begun = True
        return self._connection

    async def reading(self) -> Any:
        """The connection. Where this process alone writes, reads need no transaction: nothing changes meanwhile."""
        return await self.begin() if self._database.is_shared else self._connection

    async def lock_rooms(self, room_nids: Collection[int]) -> None:
        """Lock the rows of these rooms, in the order of their ids, so that two processes never wait for each other."""
        wanted = sorted(set(room_nids) - self._locked.keys()) if self._database.is_shared else ()
        if not wanted:
            return
        statement = (
            select(rooms.c.room_nid, rooms.c.version)
            .where(rooms.c.room_nid.in_(wanted))
            .order_by(rooms.c.room_nid)
            .with_for_update()
        )
        with _Counted():
            found = (await (await self.begin()).execute(statement)).fetchall()
        self._locked.update(dict.fromkeys(wanted))
        self._locked.update({nid: version for nid, version in found})

    async def lock_room(self, room_nid: int) -> int | None:
        await self.lock_rooms((room_nid,))
        return self._locked.get(room_nid)

    async def decide(self, operation: Callable[[Write], Awaitable[Any]]) -> Any:
        """What the operation returns; what it did becomes part of the batch. When it raises, nothing of it is left."""
        write = Write(self._database, self)
        try:
            result = await operation(write)
        except Exception as error:
            if not is_transient(error):  # or the whole batch is undone
                await write.undo(self._connection)
            raise
        await write.release(self._connection)
        self._kept.append(write)
        return result

    async def commit(self) -> list[Hint]:
        """Write what was put off, commit, and say what is new."""
        self._summarise()
        positions = [position for write in self._kept for position in write.positions]
        forwards = [p for p in positions if not p.backwards]
        backwards = [p for p in positions if p.backwards]
        groups = _grouped(self._kept)
        if groups or positions or self._begun:
            with _Counted():
                await self._database.engine.finish_batch(
                    self._connection,
                    self._begun,
                    (len(forwards), len(backwards)),
                    lambda f, b: _plan(groups, forwards, f, backwards, b),
                )
            self._begun = False
        return [Hint(s, int(p), keys, payload) for write in self._kept for s, p, keys, payload in write.hints]

    def _summarise(self) -> None:
        callbacks = {name: callback for write in self._kept for name, callback in write.to_summarise.items()}
        if callbacks:
            summary = Write(self._database, self)
            for callback in callbacks.values():
                callback(summary)
            self._kept.append(summary)

    def after_commit(self) -> None:
        """Install what the operations want installed."""
        for write in self._kept:
            for callback in write.to_install:
                callback()

    def end(self) -> None:
        """Let go of the operations: what they left here refers to them, and would wait for the garbage collector."""
        for write in self._kept:
            write.let_go()
        self._kept.clear()
        self.shared.clear()

    async def roll_back(self) -> None:
        """Undo everything."""
        with suppress(Exception):
            await self._database.engine.roll_back(self._connection)
        self._begun = False


def _grouped(writes: Sequence[Write]) -> list[_Group]:
    """The same change by several operations goes out together; the order of a table's own changes stays."""
    last_of_table: dict[str, _Group] = {}
    groups: list[_Group] = []
    for write in writes:
        for change, row in write.changes:
            last = last_of_table.get(change.table)
            if last is None or last[0] is not change:
                last = last_of_table[change.table] = (change, [])
                groups.append(last)
            last[1].append(row)
    return groups


def _plan(groups: list[_Group], forwards: list[Position], first: int, backwards: list[Position], back: int) -> Plan:
    """What to run, now that the places of the log are known: those after `first`, and before `back`."""
    for offset, position in enumerate(forwards, first + 1):
        position.value = offset
    for offset, position in enumerate(backwards, back + 1):
        position.value = -offset
    return [
        change.planned(
            [tuple([v.value if type(v := row[name]) is Position else v for name in change.order]) for row in rows]
        )
        for change, rows in groups
    ]


@dataclass(slots=True)
class _Job:
    operation: Callable[[Write], Awaitable[Any]]
    rooms: Collection[int]
    answer: asyncio.Future[Any]


class Database:
    """One database, its readers, and this process's writer."""

    def __init__(self, engine: Engine, bus: Bus, *, is_shared: bool) -> None:
        self.engine = engine
        self.bus = bus
        self.is_shared = is_shared
        self.position = 0
        self.on_commit: list[Callable[[Sequence[Hint]], None]] = []
        self._next_id = 0
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False

    @classmethod
    async def open(
        cls, url: str, *, readers: int = 4, bus: Bus | None = None, is_shared: bool = False, migrate: bool = True
    ) -> Self:
        """Connect, bring the tables up to date, and start the writer.

        `url` is `sqlite:///PATH` or `postgresql://…`; `is_shared` says that other processes write to it too.
        """
        engine = Engine(url, readers=readers)
        database = cls(engine, bus or Bus(), is_shared=is_shared)
        if migrate:
            await bring_up_to_date(engine)
        # Heard of first, then looked at: what is committed in between is not missed.
        database.bus.subscribe(database._on_hints)
        async with engine.connect() as connection:
            database._next_id = await _take_ids(engine, connection)
            committed = await connection.execute(select(stream_position.c.value).where(stream_position.c.id == 1))
            database.position = max(database.position, committed.scalar_one())
        database._writer = asyncio.get_running_loop().create_task(database._write_batches(), name="database writer")
        return database

    def new_id(self, kind: str = "") -> int:
        """An id that was never used: every process has a block of its own. `kind` only says what for."""
        self._next_id += 1
        return self._next_id

    @asynccontextmanager
    async def read(self, *, snapshot: bool = False) -> AsyncIterator[Read]:
        """A connection to read from; with `snapshot` all statements see the same moment."""
        async with self.engine.connect() as connection:
            read = Read(self, connection)
            if not snapshot:
                yield read
                return
            try:
                await connection.exec_driver_sql(self.engine.begin_read)
                yield read
            finally:
                await self.engine.roll_back(connection)

    async def write(
        self, operation: Callable[[Write], Awaitable[T]], *, rooms: Collection[int] = ()
    ) -> T:
        """Decide and keep something; returns what `operation` returns, once it is durable.

        Operations of a batch run one after the other. `rooms` are locked first. What the operation raises is raised
        here, and nothing of it is kept. The write is finished even when the caller goes away.
        """
        if self._closing:
            raise RuntimeError("the database is closing")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(operation, rooms, answer))
        self._wake.set()
        with _Counted():
            return await answer

    async def close(self) -> None:
        """Finish what is waiting and disconnect."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        await self.engine.close()

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.position > self.position:
                self.position = hint.position
        for callback in self.on_commit:
            callback(hints)

    async def _write_batches(self) -> None:
        while True:
            while self._waiting:
                jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH_LIMIT))]
                await self._run(jobs)
            if self._closing:
                return
            self._wake.clear()
            await self._wake.wait()

    async def _run(self, jobs: list[_Job]) -> None:
        """Run a batch; when it cannot be committed as a whole, run its operations one by one, assuming nothing."""
        try:
            await self._run_batch(jobs, may_assume=True)
        except Exception as error:  # noqa: BLE001 (where it comes again, its callers get it)
            log.info("a batch of %d writes failed (%s): they are tried one by one", len(jobs), type(error).__name__)
            for job in jobs:
                await self._run_alone(job)

    async def _run_alone(self, job: _Job, tries: int = 5) -> None:
        for left in reversed(range(tries)):
            try:
                await self._run_batch([job], may_assume=False)
            except Exception as error:  # noqa: BLE001 (whatever it is, its caller gets it)
                if left and is_transient(error):
                    continue
                _refuse(job, error)
            return

    async def _run_batch(self, jobs: list[_Job], *, may_assume: bool) -> None:
        async with self.engine.connect() as connection:
            batch = _Batch(self, connection, may_assume=may_assume)
            try:
                await batch.lock_rooms({nid for job in jobs for nid in job.rooms})
                outcomes = [await _decide(batch, job) for job in jobs]
                hints = await batch.commit()
            except BaseException:
                await batch.roll_back()
                batch.end()
                raise
        batch.after_commit()
        batch.end()
        # Who wrote goes on before those who are told of it, though not before they know of it: a client that sends
        # something is answered before its /sync shows what it sent.
        for job, (result, error) in zip(jobs, outcomes, strict=True):
            if error is not None:
                _refuse(job, error)
            elif not job.answer.done():
                job.answer.set_result(result)
        self.bus.publish(hints)


async def _decide(batch: _Batch, job: _Job) -> tuple[Any, Exception | None]:
    """What the operation returned, or what it raised; that which undoes the whole batch is raised on."""
    try:
        return await batch.decide(job.operation), None
    except Exception as error:
        if is_transient(error):
            raise
        return None, error


def _refuse(job: _Job, error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)


async def _take_ids(engine: Engine, connection: Any) -> int:
    """Reserve this process's block of ids; returns the id before its first."""
    await connection.exec_driver_sql(engine.begin_write)
    try:
        where = id_blocks.c.kind == "all"
        statement = id_blocks.update().where(where).values(next=id_blocks.c.next + _ID_BLOCK)
        await connection.execute(statement)
        following = (await connection.execute(select(id_blocks.c.next).where(where))).scalar_one()
        await connection.exec_driver_sql("COMMIT")
    except BaseException:
        await engine.roll_back(connection)
        raise
    return int(following) - _ID_BLOCK
