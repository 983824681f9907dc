"""Read receipts: for each user, receipt type and thread the event that was read up to."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, select

from storage.database import Position, Read, Write
from storage.tables import receipts

UNTHREADED = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A read receipt. `data` is its JSON object as text (`ts`, `thread_id`); `thread_id` is empty where it names
    none."""

    user_id: str
    receipt_type: str
    thread_id: str
    event_id: str
    event_position: int | None
    data: bytes
    position: int


_COLUMNS = (
    receipts.c.user_id,
    receipts.c.receipt_type,
    receipts.c.thread_id,
    receipts.c.event_id,
    receipts.c.event_position,
    receipts.c.data,
    receipts.c.position,
)


async def of_rooms(tx: Read, room_nids: Iterable[int]) -> dict[int, list[Receipt]]:
    """All receipts of the rooms, the oldest first."""
    nids = list(room_nids)
    found: dict[int, list[Receipt]] = {nid: [] for nid in nids}
    for start in range(0, len(nids), 500):
        part = nids[start : start + 500]
        statement = select(receipts.c.room_nid, *_COLUMNS).where(receipts.c.room_nid.in_(part))
        for nid, *columns in await tx.fetch_all(statement.order_by(receipts.c.position)):
            found[nid].append(Receipt(*columns))
    return found


async def changed_in(tx: Read, room_nid: int, after: int) -> list[Receipt]:
    """The receipts of a room that changed after a position, the oldest first."""
    statement = select(*_COLUMNS).where(receipts.c.room_nid == room_nid, receipts.c.position > after)
    return [Receipt(*row) for row in await tx.fetch_all(statement.order_by(receipts.c.position))]


async def receipt_of(tx: Read, room_nid: int, user_id: str, receipt_type: str, thread_id: str) -> Receipt | None:
    """The user's receipt of that type and thread."""
    key = and_(
        receipts.c.room_nid == room_nid,
        receipts.c.user_id == user_id,
        receipts.c.receipt_type == receipt_type,
        receipts.c.thread_id == thread_id,
    )
    row = await tx.fetch_one(select(*_COLUMNS).where(key))
    return None if row is None else Receipt(*row)


def put(tx: Write, room_nid: int, receipt: Receipt, position: Position) -> None:
    """Set a receipt; it replaces the one of the same user, type and thread."""
    tx.upsert(
        receipts,
        room_nid=room_nid,
        user_id=receipt.user_id,
        receipt_type=receipt.receipt_type,
        thread_id=receipt.thread_id,
        event_id=receipt.event_id,
        event_depth=None,
        event_position=receipt.event_position,
        data=receipt.data,
        position=position,
    )
