"""Dehydrated devices: at most one for each user, beside its row among the devices."""

from sqlalchemy import select

from storage.database import Read, Write
from storage.tables import dehydrated_devices, to_device


async def device_of(tx: Read, user_id: str) -> tuple[str, bytes] | None:
    """The user's: its device id, and what its client needs to bring it back, as JSON text."""
    table = dehydrated_devices.c
    row = await tx.fetch_one(select(table.device_id, table.device_data).where(table.user_id == user_id))
    return None if row is None else (row.device_id, bytes(row.device_data))


def put(tx: Write, user_id: str, device_id: str, device_data: bytes) -> None:
    """Put off: this is the user's dehydrated device from now on."""
    tx.upsert(dehydrated_devices, user_id=user_id, device_id=device_id, device_data=device_data)


async def messages(tx: Read, user_id: str, device_id: str, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(ordinal, message as JSON text) of what arrived for the device after an ordinal: the oldest `limit`."""
    table = to_device.c
    where = (table.user_id == user_id, table.device_id == device_id, table.ordinal > after)
    statement = select(table.ordinal, table.message).where(*where).order_by(table.ordinal).limit(limit)
    return [(row.ordinal, bytes(row.message)) for row in await tx.fetch_all(statement)]
