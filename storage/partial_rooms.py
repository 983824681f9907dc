"""Rooms that were joined without their members: which they are, and what has to be judged again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, select

from storage.database import AnyRow, Position, Read, Write
from storage.tables import events, partial_rooms, room_hosts, told_states


@dataclass(frozen=True, slots=True)
class PartialRoom:
    """A room whose members are not known yet. `servers`: those said to be in it, first the one joined through."""

    room_nid: int
    room_id: str
    join_event_id: str
    servers: tuple[str, ...]


def _partial(row: AnyRow) -> PartialRoom:
    return PartialRoom(row.room_nid, row.room_id, row.join_event_id, tuple(orjson.loads(row.servers)))


async def partial_ones(tx: Read) -> list[PartialRoom]:
    """All rooms that are partial."""
    rows = await tx.fetch_all(select(partial_rooms).where(partial_rooms.c.whole_at.is_(None)))
    return [_partial(row) for row in rows]


async def of_room(tx: Read, room_nid: int) -> PartialRoom | None:
    """The room, if it is partial."""
    where = (partial_rooms.c.room_nid == room_nid, partial_rooms.c.whole_at.is_(None))
    row = await tx.fetch_one(select(partial_rooms).where(*where))
    return None if row is None else _partial(row)


async def whole_between(tx: Read, after: int, upto: int) -> list[int]:
    """Rooms (integer ids) that became whole at places in the log of (after, upto]."""
    where = (partial_rooms.c.whole_at > after, partial_rooms.c.whole_at <= upto)
    return [row.room_nid for row in await tx.fetch_all(select(partial_rooms.c.room_nid).where(*where))]


async def are_any_with(tx: Read, server_name: str) -> bool:
    """Whether the server may have users in a room that is partial."""
    statement = (
        select(partial_rooms.c.room_nid)
        .join(room_hosts, room_hosts.c.room_nid == partial_rooms.c.room_nid)
        .where(partial_rooms.c.whole_at.is_(None), room_hosts.c.server_name == server_name)
        .limit(1)
    )
    return await tx.fetch_one(statement) is not None


async def progress(tx: Read) -> dict[str, int | None]:
    """Room id → the place in the log at which the room became whole, None where it is not; of rooms that were partial
    once."""
    statement = select(partial_rooms.c.room_id, partial_rooms.c.whole_at).order_by(partial_rooms.c.whole_at)
    return {row.room_id: row.whole_at for row in await tx.fetch_all(statement)}


def put(tx: Write, room: PartialRoom) -> None:
    """Put off: the room is partial."""
    tx.upsert(
        partial_rooms,
        room_nid=room.room_nid,
        room_id=room.room_id,
        join_event_id=room.join_event_id,
        servers=orjson.dumps(room.servers),
        whole_at=None,
    )


def set_whole(tx: Write, room_nid: int, position: Position) -> None:
    """Put off: all of the room's state is known from this place in the log on."""
    tx.update(partial_rooms, {"room_nid": room_nid}, whole_at=position, servers=b"[]")


def put_told_state(tx: Write, room_nid: int, event_id: str, snapshot_id: int) -> None:
    """Put off: the state after an event that is missing here, as another server told it."""
    tx.upsert(told_states, room_nid=room_nid, event_id=event_id, snapshot_id=snapshot_id)


async def states_told(tx: Read, room_nid: int) -> dict[str, int]:
    """Event id → snapshot of the state after it, as `put_told_state` had it."""
    rows = await tx.fetch_all(select(told_states).where(told_states.c.room_nid == room_nid))
    return {row.event_id: row.snapshot_id for row in rows}


async def forget_told_states(tx: Write, room_nid: int) -> None:
    """They are not needed any more."""
    await tx.execute(delete(told_states).where(told_states.c.room_nid == room_nid))


async def arrived_since(tx: Read, room_nid: int, position: int) -> Sequence[tuple[int, str]]:
    """(position, event id) of what came into the timeline at and after a position, in that order; rejected events
    too."""
    statement = (
        select(events.c.position, events.c.event_id)
        .where(events.c.room_nid == room_nid, events.c.position >= position, events.c.outlier.is_(False))
        .order_by(events.c.position)
    )
    rows: Sequence[Any] = await tx.fetch_all(statement)
    return [(row.position, row.event_id) for row in rows]
