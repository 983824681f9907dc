"""What application services have been told, and what comes next for them."""

from dataclasses import dataclass

from sqlalchemy import select

from storage.database import Read, Write
from storage.tables import appservice_queues, events


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One application service's. Positions are places in the log.

    `pending_position` is where the transaction `txn_id` ends as long as it is not known to have arrived.
    """

    appservice_id: str
    sent_position: int
    pending_position: int | None = None
    txn_id: int = 0


async def queue_of(tx: Read, appservice_id: str) -> QueueRow | None:
    """How far an application service is; None where it was never told anything."""
    table = appservice_queues.c
    statement = select(table.appservice_id, table.sent_position, table.pending_position, table.txn_id)
    row = await tx.fetch_one(statement.where(table.appservice_id == appservice_id))
    return None if row is None else QueueRow(*row)


def store(tx: Write, row: QueueRow) -> None:
    """Put off: how far it is now."""
    tx.upsert(appservice_queues, **{name: getattr(row, name) for name in QueueRow.__slots__})


async def events_after(tx: Read, after: int, upto: int, limit: int) -> list[tuple[int, int]]:
    """(position, event_nid) of the accepted events at positions of (after, upto], in order, at most `limit`."""
    table = events.c
    statement = (
        select(table.position, table.event_nid)
        .where(
            table.position > after,
            table.position <= upto,
            table.outlier.is_(False),
            table.rejected.is_(None),
            table.soft_failed.is_(False),
        )
        .order_by(table.position)
        .limit(limit)
    )
    return [(row.position, row.event_nid) for row in await tx.fetch_all(statement)]
