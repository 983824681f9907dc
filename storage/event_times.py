"""Events of a room by when their senders say that they happened."""

from dataclasses import dataclass

from sqlalchemy import select, tuple_

from storage.database import Read
from storage.tables import events


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """Where an event stands among the others of its room: by time (ms since the epoch), then as in the timeline."""

    origin_server_ts: int
    depth: int
    position: int
    event_id: str = ""


async def closest(
    tx: Read,
    room_nid: int,
    timestamp: int,
    *,
    backwards: bool,
    limit: int,
    beyond: Moment | None = None,
) -> list[Moment]:
    """The first events at or after a time, or (backwards) the last ones at or before it, the closest first.

    `beyond`: where an earlier call ended.
    """
    table = events.c
    place = tuple_(table.origin_server_ts, table.depth, table.position)
    conditions = [
        table.room_nid == room_nid,
        table.rejected.is_(None),
        table.soft_failed.is_(False),
        table.outlier.is_(False),
        table.origin_server_ts <= timestamp if backwards else table.origin_server_ts >= timestamp,
    ]
    if beyond is not None:
        end = tuple_(beyond.origin_server_ts, beyond.depth, beyond.position)
        conditions.append(place < end if backwards else place > end)
    columns = (table.origin_server_ts, table.depth, table.position)
    order = [column.desc() for column in columns] if backwards else list(columns)
    statement = select(*columns, table.event_id).where(*conditions).order_by(*order).limit(limit)
    return [Moment(*row) for row in await tx.fetch_all(statement)]
