"""What application services have been told, and what comes next for them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ScalarSelect, Select, func, or_, select

from storage.database import Read, Write
from storage.events import chunks
from storage.tables import (
    appservice_queues,
    device_keys,
    events,
    memberships,
    receipts,
    rooms,
    state_changes,
    to_device,
    users,
)


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


async def member_changes_after(tx: Read, room_nid: int, after: int) -> list[tuple[str, int | None]]:
    """(user id, event_nid of the member event before) of each change of a member of a room after a position, in
    order."""
    table = state_changes.c
    statement = (
        select(table.state_key, table.previous_event_nid)
        .where(table.room_nid == room_nid, table.position > after, table.type == "m.room.member")
        .order_by(table.position)
    )
    return [(row.state_key, row.previous_event_nid) for row in await tx.fetch_all(statement)]


# --- what hints would have said: read when a process takes the work up, and of its own users only


async def people_near(tx: Read, appservice_id: str, sender: str, user_ids: Iterable[str]) -> set[str]:
    """Those of the people who share a room with users of an application service."""
    member = memberships.c
    found: set[str] = set()
    for ids in chunks(user_ids):
        statement = select(member.user_id).where(
            member.user_id.in_(ids), member.membership == "join", member.room_nid.in_(_rooms(appservice_id, sender))
        )
        found.update(row.user_id for row in await tx.fetch_all(statement))
    return found


async def receipts_after(tx: Read, appservice_id: str, sender: str, after: int) -> dict[str, int]:
    """Rooms with users of an application service → the first receipt's position there after a position."""
    statement = (
        select(rooms.c.room_id, func.min(receipts.c.position).label("first"))
        .join(rooms, rooms.c.room_nid == receipts.c.room_nid)
        .where(receipts.c.room_nid.in_(_rooms(appservice_id, sender)), receipts.c.position > after)
        .group_by(rooms.c.room_id)
    )
    return {row.room_id: row.first for row in await tx.fetch_all(statement)}


async def messages_after(tx: Read, appservice_id: str, sender: str, after: int) -> dict[str, int]:
    """Users of an application service → the position of the first message to a device of theirs after a position."""
    table = to_device.c
    statement = (
        select(table.user_id, func.min(table.position).label("first"))
        .where(table.user_id.in_(_own(appservice_id, sender)), table.position > after)
        .group_by(table.user_id)
    )
    return {row.user_id: row.first for row in await tx.fetch_all(statement)}


async def devices_with_keys(tx: Read, appservice_id: str, sender: str) -> list[tuple[str, str]]:
    """(user id, device id) of the devices of an application service's users that have keys."""
    table = device_keys.c
    statement = select(table.user_id, table.device_id).where(table.user_id.in_(_own(appservice_id, sender)))
    return [(row.user_id, row.device_id) for row in await tx.fetch_all(statement)]


def _rooms(appservice_id: str, sender: str) -> Select[tuple[int]]:
    """Those that its users are in."""
    member = memberships.c
    return (
        select(member.room_nid)
        .where(member.membership == "join", member.user_id.in_(_own(appservice_id, sender)))
        .distinct()
    )


def _own(appservice_id: str, sender: str) -> ScalarSelect[str]:
    of_users = or_(users.c.appservice_id == appservice_id, users.c.user_id == sender)
    return select(users.c.user_id).where(of_users).scalar_subquery()
