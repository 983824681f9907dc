"""Connections: what each was sent, so that only what is new goes out. Stored; kept in memory where they are in use.

A `pos` names a connection, a state of it and a place in the log. A new state is made (and committed before the answer
goes out) only where an answer changes what the connection was sent in a way that the place in the log does not say: a
room for the first time, a member, a room that falls out of the windows. The client may name the newest state or the
one before, as it may not have got the last answer; what is older is forgotten. Proposal 4186, "Connections".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from homeserver.core.tokens import MAX_NUMBER, SyncToken
from homeserver.errors import UnknownPos
from homeserver.runtime.clock import Clock
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.sliding_sync.request import SlidingSyncRequest
from homeserver.services.sliding_sync.required_state import Required, RequiredState
from storage import sliding_sync as storage
from storage.database import Database, Write
from storage.sliding_sync import ConnectionRow, RoomRow

MOST_OF_A_DEVICE = 20
_UNUSED_MS = 30 * 24 * 3_600_000
_TOUCH_MS = 3_600_000
_MAX_CONFIGS = 100
_POS = re.compile(r"([0-9]{1,19})\.([0-9]{1,19})/s([0-9]{1,19})_([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Pos:
    """A place in a connection."""

    connection_nid: int
    state: int
    token: SyncToken

    def __str__(self) -> str:
        return f"{self.connection_nid}.{self.state}/{self.token}"

    @classmethod
    def parse(cls, text: str) -> "Pos":
        """Raises UnknownPos for what this server did not give out."""
        match = _POS.fullmatch(text)
        if match is None:
            raise UnknownPos
        nid, state, position, ephemeral = map(int, match.groups())
        if max(nid, position, ephemeral) > MAX_NUMBER:
            raise UnknownPos
        return cls(nid, state, SyncToken(position, ephemeral))


@dataclass(frozen=True, slots=True)
class SentRoom:
    """What the client has of a room. `upto`: the place in the log up to which it was told; 0 for that of its `pos`.

    `membership` is what the user was when it was sent; `timeline_limit`: so many of the newest events were sent;
    `members`: whose member events it has, where they are loaded lazily.
    """

    membership: str
    timeline_limit: int
    required: Required
    is_dm: bool = False
    upto: int = 0
    members: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Entry:
    sent: SentRoom | None
    pending_state: int = 0
    pending: SentRoom | None = None

    def at(self, state: int) -> SentRoom | None:
        return self.pending if 0 < self.pending_state <= state else self.sent


@dataclass(slots=True, eq=False)
class Connection:
    """A connection in memory. `settled`: for the last two answers, by their `pos`, the rules of their requests and
    the place up to which all of their windows were looked through."""

    row: ConnectionRow
    rooms: dict[str, _Entry] = field(default_factory=dict)
    configs: list[Required] = field(default_factory=list)
    settled: dict[str, object] = field(default_factory=dict)

    def sent(self, room_id: str, state: int) -> SentRoom | None:
        """What the client has of the room in that state."""
        entry = self.rooms.get(room_id)
        return None if entry is None else entry.at(state)

    def sent_rooms(self, state: int) -> dict[str, SentRoom]:
        """Everything the client has in that state."""
        return {room_id: sent for room_id, entry in self.rooms.items() if (sent := entry.at(state)) is not None}

    def knows(self, state: int) -> bool:
        """Whether a client may name the state."""
        return state in (self.row.acked, self.row.pending)

    def settle(self, pos: Pos, rules: object) -> None:
        """All windows of these rules were looked through for the answer with that `pos`."""
        self.settled[str(pos)] = rules
        while len(self.settled) > 2:
            del self.settled[next(iter(self.settled))]


class OtherProcess(Exception):
    """Another process has taken the connection further: read it anew."""


_Key = tuple[str, str, str]


class Connections:
    """Reads, makes and advances connections."""

    def __init__(self, db: Database, clock: Clock, *, size: int = 5_000) -> None:
        self._db = db
        self._clock = clock
        self._open: BoundedCache[_Key, Connection] = BoundedCache(size)

    def forget(self, request: SlidingSyncRequest) -> None:
        """Read the connection anew when it is asked for next."""
        self._open.drop(_key(request))

    async def of_pos(self, request: SlidingSyncRequest, pos: Pos) -> Connection:
        """The connection that a request goes on with. Raises UnknownPos for those of others, and what is too old."""
        key = _key(request)
        connection = self._open.get(key)
        if connection is None or not _fits(connection, pos):
            connection = await self._load(key)
            if connection is None or not _fits(connection, pos):
                raise UnknownPos
            self._open.put(key, connection)
        now = self._clock.now_ms()
        if connection.row.last_used_at < now - _UNUSED_MS:
            raise UnknownPos
        if connection.row.last_used_at < now - _TOUCH_MS:
            await self._touch(connection, now)
        return connection

    async def create(
        self, request: SlidingSyncRequest, changes: Mapping[str, SentRoom | None]
    ) -> tuple[Connection, int]:
        """A new connection whose first answer sends these rooms; (it, the state after that answer)."""
        user_id, device_id, conn_id = key = _key(request)
        connection = Connection(
            ConnectionRow(self._db.new_id("sliding_sync_connection"), 1, 1, b"[]", self._clock.now_ms())
        )
        rows = _record(connection, 0, 1, changes)
        row = connection.row = replace(connection.row, configs=_dump_configs(connection))

        async def operation(tx: Write) -> None:
            await storage.create(tx, row.connection_nid, user_id, device_id, conn_id, row, MOST_OF_A_DEVICE)
            storage.put_rooms(tx, row.connection_nid, rows)

        await self._db.write(operation)
        self._open.put(key, connection)
        return connection, 1

    async def advance(
        self, request: SlidingSyncRequest, connection: Connection, state: int, changes: Mapping[str, SentRoom | None]
    ) -> int:
        """Keep what an answer to a request with that state sends; returns the state after it.

        Raises OtherProcess where the connection was taken further elsewhere, UnknownPos where it ends here.
        """
        known = connection.row
        after = known.pending + 1
        self.forget(request)  # until it is written down
        rows = _record(connection, state, after, changes)
        if len(connection.configs) > _MAX_CONFIGS:
            raise UnknownPos
        row = replace(
            known, acked=state, pending=after, configs=_dump_configs(connection), last_used_at=self._clock.now_ms()
        )

        async def operation(tx: Write) -> None:
            if not await storage.advance(tx, known, state, row):
                raise OtherProcess
            storage.put_rooms(tx, row.connection_nid, rows)

        await self._db.write(operation)
        connection.row = row
        self._open.put(_key(request), connection)
        return after

    async def expire(self) -> None:
        """Forget connections that were not used for thirty days, and those of devices that are gone."""
        before = self._clock.now_ms() - _UNUSED_MS

        async def operation(tx: Write) -> int:
            found = await storage.stale(tx, before)
            await storage.drop(tx, found)
            return len(found)

        while await self._db.write(operation):
            pass

    async def _touch(self, connection: Connection, now: int) -> None:
        async def operation(tx: Write) -> None:
            storage.touch(tx, connection.row.connection_nid, now)

        connection.row = replace(connection.row, last_used_at=now)
        await self._db.write(operation)

    async def _load(self, key: _Key) -> Connection | None:
        async with self._db.read(snapshot=True) as tx:
            row = await storage.connection_of(tx, *key)
            rows = [] if row is None else await storage.rooms_of(tx, row.connection_nid)
        if row is None:
            return None
        configs = [frozenset(RequiredState.parse(rule) for rule in rules) for rules in orjson.loads(row.configs)]
        connection = Connection(row, configs=configs)
        for one in rows:
            sent, pending = _parse(one.sent, configs), _parse(one.pending, configs)
            connection.rooms[one.room_id] = _Entry(sent, one.pending_state, pending)
        return connection


def _key(request: SlidingSyncRequest) -> _Key:
    return (request.user_id, request.device_id or "", request.conn_id)


def _fits(connection: Connection, pos: Pos) -> bool:
    return connection.row.connection_nid == pos.connection_nid and connection.knows(pos.state)


def _record(connection: Connection, state: int, after: int, changes: Mapping[str, SentRoom | None]) -> list[RoomRow]:
    """Have the changes stand in the state `after`, which follows `state`; the rows to write."""
    rooms = connection.rooms
    if state and state < connection.row.pending:
        for room_id, entry in list(rooms.items()):
            if entry.pending_state > state:
                if entry.sent is None:
                    del rooms[room_id]
                else:
                    entry.pending_state, entry.pending = 0, None
    rows: list[RoomRow] = []
    for room_id, sent in changes.items():
        before = rooms.get(room_id)
        entry = rooms[room_id] = _Entry(None if before is None else before.at(state), after, sent)
        rows.append(RoomRow(room_id, _dump(connection, entry.sent), after, _dump(connection, sent)))
    return rows


def _dump(connection: Connection, sent: SentRoom | None) -> bytes | None:
    if sent is None:
        return None
    if sent.required not in connection.configs:
        connection.configs.append(sent.required)
    value: list[Any] = [
        sent.membership,
        sent.timeline_limit,
        connection.configs.index(sent.required),
        sent.is_dm,
        sent.upto,
        sorted(sent.members),
    ]
    return orjson.dumps(value)


def _parse(body: bytes | None, configs: list[Required]) -> SentRoom | None:
    if body is None:
        return None
    membership, limit, config, is_dm, upto, members = orjson.loads(body)
    return SentRoom(membership, limit, configs[config], is_dm, upto, frozenset(members))


def _dump_configs(connection: Connection) -> bytes:
    return orjson.dumps([[rule.as_json() for rule in required] for required in connection.configs])
