"""Sliding sync: connections with what they have been sent, and what rooms are listed and ordered by."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, exists, or_, select, update

from homeserver.core.events import CREATE
from storage.database import Read, Write
from storage.tables import (
    current_state,
    devices,
    event_bodies,
    events,
    rooms,
    sliding_sync_connections,
    sliding_sync_rooms,
)

_connections, _rooms = sliding_sync_connections.c, sliding_sync_rooms.c


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A connection. `configs` is JSON text."""

    connection_nid: int
    acked: int
    pending: int
    configs: bytes
    last_used_at: int


@dataclass(frozen=True, slots=True)
class RoomRow:
    """What was sent of a room, as JSON text; see the table."""

    room_id: str
    sent: bytes | None
    pending_state: int
    pending: bytes | None


# --- connections


async def connection_of(tx: Read, user_id: str, device_id: str, conn_id: str) -> ConnectionRow | None:
    """The device's connection of that name."""
    statement = select(
        _connections.connection_nid,
        _connections.acked,
        _connections.pending,
        _connections.configs,
        _connections.last_used_at,
    ).where(_connections.user_id == user_id, _connections.device_id == device_id, _connections.conn_id == conn_id)
    row = await tx.fetch_one(statement)
    return None if row is None else ConnectionRow(*row)


async def rooms_of(tx: Read, connection_nid: int) -> list[RoomRow]:
    """What a connection was sent."""
    statement = select(_rooms.room_id, _rooms.sent, _rooms.pending_state, _rooms.pending).where(
        _rooms.connection_nid == connection_nid
    )
    return [RoomRow(*row) for row in await tx.fetch_all(statement)]


async def create(
    tx: Write, connection_nid: int, user_id: str, device_id: str, conn_id: str, row: ConnectionRow, most: int
) -> None:
    """A new connection in place of the device's one of the same name; the least recently used beyond `most` go."""
    statement = (
        select(_connections.connection_nid, _connections.conn_id)
        .where(_connections.user_id == user_id, _connections.device_id == device_id)
        .order_by(_connections.last_used_at.desc())
    )
    old = await tx.fetch_all(statement)
    others = [nid for nid, name in old if name != conn_id]
    await drop(tx, [nid for nid, name in old if name == conn_id] + others[most - 1 :])
    tx.insert(
        sliding_sync_connections,
        connection_nid=connection_nid,
        user_id=user_id,
        device_id=device_id,
        conn_id=conn_id,
        acked=row.acked,
        pending=row.pending,
        configs=row.configs,
        last_used_at=row.last_used_at,
    )


async def advance(tx: Write, known: ConnectionRow, state: int, row: ConnectionRow) -> bool:
    """Have `state` acknowledged and `row.pending` follow it. False where the connection is not as `known` any more."""
    statement = (
        update(sliding_sync_connections)
        .where(
            _connections.connection_nid == known.connection_nid,
            _connections.acked == known.acked,
            _connections.pending == known.pending,
        )
        .values(acked=row.acked, pending=row.pending, configs=row.configs, last_used_at=row.last_used_at)
    )
    if await tx.execute(statement) != 1:
        return False
    if state < known.pending:
        # The answer that led to the pending state was given up by the client.
        await tx.execute(
            update(sliding_sync_rooms)
            .where(_rooms.connection_nid == known.connection_nid, _rooms.pending_state > state)
            .values(pending_state=0, pending=None)
        )
    return True


def put_rooms(tx: Write, connection_nid: int, rows: Iterable[RoomRow]) -> None:
    """Keep what was sent of rooms."""
    for row in rows:
        tx.upsert(
            sliding_sync_rooms,
            connection_nid=connection_nid,
            room_id=row.room_id,
            sent=row.sent,
            pending_state=row.pending_state,
            pending=row.pending,
        )


def touch(tx: Write, connection_nid: int, now: int) -> None:
    """The connection is in use; `now` in milliseconds."""
    tx.update(sliding_sync_connections, {"connection_nid": connection_nid}, last_used_at=now)


async def drop(tx: Write, connection_nids: Collection[int]) -> None:
    """Forget connections."""
    if connection_nids:
        await tx.execute(delete(sliding_sync_rooms).where(_rooms.connection_nid.in_(connection_nids)))
        await tx.execute(delete(sliding_sync_connections).where(_connections.connection_nid.in_(connection_nids)))


async def stale(tx: Read, before: int, limit: int = 500) -> list[int]:
    """Connections that were not used since `before`, or whose device is gone."""
    has_device = exists().where(
        devices.c.user_id == _connections.user_id, devices.c.device_id == _connections.device_id
    )
    is_orphan = and_(_connections.device_id != "", ~has_device)
    statement = select(_connections.connection_nid).where(or_(_connections.last_used_at < before, is_orphan))
    return [nid for (nid,) in await tx.fetch_all(statement.limit(limit))]


# --- rooms


async def activity(tx: Read, room_nids: Sequence[int], bump_types: Collection[str]) -> dict[int, tuple[int, int]]:
    """room_nid → position of the newest event that is shown, and of the newest of `bump_types` (0: there is none)."""
    found: dict[int, tuple[int, int]] = {}
    shown = (
        select(events.c.position)
        .where(
            events.c.room_nid == rooms.c.room_nid,
            events.c.position > 0,
            events.c.rejected.is_(None),
            events.c.soft_failed.is_(False),
            events.c.outlier.is_(False),
        )
        .order_by(events.c.position.desc())
        .limit(1)
    )
    bumped = shown.where(events.c.type.in_(sorted(bump_types)))
    for part in _parts(room_nids):
        statement = select(rooms.c.room_nid, shown.scalar_subquery(), bumped.scalar_subquery()).where(
            rooms.c.room_nid.in_(part)
        )
        for nid, last, bump in await tx.fetch_all(statement):
            found[nid] = (last or 0, bump or 0)
    return found


async def state_bodies(tx: Read, room_nids: Sequence[int], types: Collection[str]) -> dict[int, Mapping[str, bytes]]:
    """room_nid → type → the PDU as JSON text, of current state events with an empty state key, unless redacted."""
    found: dict[int, dict[str, bytes]] = {}
    state = current_state.c
    for part in _parts(room_nids):
        statement = (
            select(state.room_nid, state.type, event_bodies.c.body, events.c.redacted_by)
            .join(event_bodies, event_bodies.c.event_nid == state.event_nid)
            .join(events, events.c.event_nid == state.event_nid)
            .where(state.room_nid.in_(part), state.type.in_(sorted(types)), state.state_key == "")
        )
        for nid, event_type, body, redacted_by in await tx.fetch_all(statement):
            is_empty = redacted_by is not None and event_type != CREATE
            found.setdefault(nid, {})[event_type] = b'{"content":{}}' if is_empty else body
    return dict(found)


def _parts(nids: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    for start in range(0, len(nids), size):
        yield nids[start : start + size]
