"""Messages that wait for their device. They are read in the order of their arrival (`ordinal`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from storage.database import Position, Read, Write
from storage.streams import Stream
from storage.tables import to_device, to_device_seen

# Stands for the position of rows that get theirs when the batch is flushed.
_UNDECIDED = -1


@dataclass(frozen=True, slots=True)
class Message:
    """`message` is the event as JSON text; `ordinal` tells the place of its arrival."""

    ordinal: int
    message: bytes


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """A message and whom it is for."""

    user_id: str
    device_id: str
    ordinal: int
    position: int
    message: bytes


def put(tx: Write, position: Position, user_id: str, device_id: str, message: bytes) -> None:
    """Put off: a message for a device. `position` is of `Stream.TO_DEVICE` with the user among its keys."""
    tx.insert(to_device, user_id=user_id, device_id=device_id, ordinal=position, position=position, message=message)


async def pending(tx: Read, user_id: str, device_id: str, since: int, upto: int, limit: int) -> Sequence[Message]:
    """The oldest messages at positions of (since, upto]."""
    table = to_device.c
    statement = (
        select(table.ordinal, table.message)
        .where(table.user_id == user_id, table.device_id == device_id, table.position > since, table.position <= upto)
        .order_by(table.ordinal)
        .limit(limit)
    )
    return [Message(row.ordinal, bytes(row.message)) for row in await tx.fetch_all(statement)]


async def of_users(tx: Read, first: Mapping[str, int], limit: int) -> list[DeviceMessage]:
    """The messages to all devices of users, from the position on that `first` gives for each: the oldest `limit`."""
    table, user_ids, found = to_device.c, sorted(first), list[DeviceMessage]()
    columns = (table.user_id, table.device_id, table.ordinal, table.position, table.message)
    for start in range(0, len(user_ids), 500):
        part = user_ids[start : start + 500]
        earliest = min(first[user_id] for user_id in part)
        statement = select(*columns).where(table.user_id.in_(part), table.position >= earliest)
        rows = await tx.fetch_all(statement.order_by(table.position, table.ordinal).limit(limit))
        found += [
            DeviceMessage(row.user_id, row.device_id, row.ordinal, row.position, bytes(row.message))
            for row in rows
            if row.position >= first[row.user_id]
        ]
    return sorted(found, key=lambda message: (message.position, message.ordinal))[:limit]


async def postpone(tx: Write, user_id: str, device_id: str, after: int, upto: int) -> None:
    """Give the messages that arrived after the ordinal `after` and are at positions up to `upto` one position at the
    end of the log; their order stays."""
    table = to_device.c
    waiting = (table.user_id == user_id, table.device_id == device_id, table.ordinal > after, table.position <= upto)
    if await tx.execute(update(to_device).where(*waiting).values(position=_UNDECIDED)):
        key = {"user_id": user_id, "device_id": device_id, "position": _UNDECIDED}
        tx.update(to_device, key, position=tx.position(Stream.TO_DEVICE, user_id))


async def delete_up_to(tx: Write, user_id: str, device_id: str, position: int) -> int:
    """Forget the messages up to a position; returns how many."""
    table = to_device.c
    gone = (table.user_id == user_id, table.device_id == device_id, table.position <= position)
    return await tx.execute(delete(to_device).where(*gone))


async def delete_delivered(tx: Write, last: DeviceMessage) -> int:
    """Forget what was delivered to a device, `last` being the last of it; returns how many."""
    table = to_device.c
    of_device = (table.user_id == last.user_id, table.device_id == last.device_id)
    gone = (table.ordinal <= last.ordinal, table.position <= last.position)
    return await tx.execute(delete(to_device).where(*of_device, *gone))


async def has_any_up_to(tx: Read, user_id: str, device_id: str, position: int) -> bool:
    """Whether `delete_up_to` would delete anything."""
    table = to_device.c
    gone = (table.user_id == user_id, table.device_id == device_id, table.position <= position)
    return await tx.fetch_value(select(table.ordinal).where(*gone).limit(1)) is not None


async def forget_oldest(tx: Write, user_id: str, device_id: str, keep: int) -> int:
    """Forget all but the newest `keep` messages of a device; returns how many went."""
    table = to_device.c
    of_device = (table.user_id == user_id, table.device_id == device_id)
    first_gone = select(table.ordinal).where(*of_device).order_by(table.ordinal.desc()).offset(keep).limit(1)
    newest = await tx.fetch_value(first_gone)
    if newest is None:
        return 0
    return await tx.execute(delete(to_device).where(*of_device, table.ordinal <= newest))


# --- messages of other servers that were received already


async def is_seen(tx: Read, origin: str, message_id: str) -> bool:
    """Whether a message of this id came from the server before."""
    table = to_device_seen.c
    statement = select(table.seen_at).where(table.origin == origin, table.message_id == message_id)
    return await tx.fetch_value(statement) is not None


def note_seen(tx: Write, origin: str, message_id: str, seen_at: int) -> None:
    """Put off: it came now. `seen_at` in ms."""
    tx.upsert(to_device_seen, origin=origin, message_id=message_id, seen_at=seen_at)


async def forget_seen_before(tx: Write, seen_at: int) -> int:
    """Forget ids that will not come again; returns how many."""
    return await tx.execute(delete(to_device_seen).where(to_device_seen.c.seen_at < seen_at))
