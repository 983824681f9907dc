"""Events in the order in which they came, of some rooms."""

from collections.abc import Iterable

from sqlalchemy import select

from storage.database import Read
from storage.events import chunks
from storage.tables import events


async def between(tx: Read, room_nids: Iterable[int], after: int, upto: int, limit: int) -> list[tuple[int, str]]:
    """(position, event id) of the first events of the rooms that clients are shown, at positions of (after, upto]."""
    table = events.c
    found: list[tuple[int, str]] = []
    for nids in chunks(room_nids):
        statement = (
            select(table.position, table.event_id)
            .where(
                table.room_nid.in_(nids),
                table.position > after,
                table.position <= upto,
                table.rejected.is_(None),
                table.soft_failed.is_(False),
                table.outlier.is_(False),
            )
            .order_by(table.position)
            .limit(limit)
        )
        found += [(row.position, row.event_id) for row in await tx.fetch_all(statement)]
    return sorted(found)[:limit]
