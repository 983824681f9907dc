"""Devices of local users: what a login makes and a logout ends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import delete, select, update

from storage.database import Read, Write
from storage.tables import (
    cross_signing_keys,
    dehydrated_devices,
    device_keys,
    devices,
    fallback_keys,
    key_signatures,
    one_time_keys,
    pushers,
    to_device,
)


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device. Times are ms since the epoch."""

    user_id: str
    device_id: str
    display_name: str | None
    created_at: int
    last_seen_at: int | None
    last_seen_ip: str | None
    last_seen_user_agent: str | None


_COLUMNS = tuple(devices.c[name] for name in DeviceRow.__slots__)


async def device_of(tx: Read, user_id: str, device_id: str) -> DeviceRow | None:
    """One device."""
    statement = select(*_COLUMNS).where(devices.c.user_id == user_id, devices.c.device_id == device_id)
    row = await tx.fetch_one(statement)
    return None if row is None else DeviceRow(*row)


async def of_user(tx: Read, user_id: str) -> list[DeviceRow]:
    """All devices of a user, the oldest first."""
    statement = (
        select(*_COLUMNS).where(devices.c.user_id == user_id).order_by(devices.c.created_at, devices.c.device_id)
    )
    return [DeviceRow(*row) for row in await tx.fetch_all(statement)]


async def ids_of_users(tx: Read, user_ids: Sequence[str]) -> dict[str, set[str]]:
    """user id → ids of their devices; users without any are absent."""
    found: dict[str, set[str]] = {}
    for start in range(0, len(user_ids), 500):
        some = user_ids[start : start + 500]
        for row in await tx.fetch_all(
            select(devices.c.user_id, devices.c.device_id).where(devices.c.user_id.in_(some))
        ):
            found.setdefault(row.user_id, set()).add(row.device_id)
    return found


async def display_names(tx: Read, user_id: str) -> dict[str, str | None]:
    """device id → what the user calls it."""
    statement = select(devices.c.device_id, devices.c.display_name).where(devices.c.user_id == user_id)
    return {row.device_id: row.display_name for row in await tx.fetch_all(statement)}


def put(
    tx: Write, user_id: str, device_id: str, display_name: str | None, now_ms: int, ip: str, user_agent: str
) -> None:
    """Put off: a new device, seen now."""
    tx.upsert(
        devices,
        user_id=user_id,
        device_id=device_id,
        display_name=display_name,
        created_at=now_ms,
        last_seen_at=now_ms,
        last_seen_ip=ip or None,
        last_seen_user_agent=user_agent or None,
    )


def put_silent(tx: Write, user_id: str, device_id: str, display_name: str | None, now_ms: int) -> None:
    """Put off: a new device that nobody uses."""
    tx.upsert(devices, user_id=user_id, device_id=device_id, display_name=display_name, created_at=now_ms)


async def rename(tx: Write, user_id: str, device_id: str, display_name: str | None) -> bool:
    """False where there is no such device."""
    where = (devices.c.user_id == user_id, devices.c.device_id == device_id)
    return bool(await tx.execute(update(devices).where(*where).values(display_name=display_name)))


def note_seen(tx: Write, user_id: str, device_id: str, now_ms: int, ip: str, user_agent: str) -> None:
    """Put off: the device has asked for something."""
    key = {"user_id": user_id, "device_id": device_id}
    tx.update(devices, key, last_seen_at=now_ms, last_seen_ip=ip, last_seen_user_agent=user_agent)


def remove(tx: Write, user_id: str, device_ids: Iterable[str]) -> None:
    """Put off: forget devices with their keys, pushers and the messages that wait for them. Tokens are apart."""
    for device_id in device_ids:
        for table in (devices, device_keys, one_time_keys, fallback_keys, to_device, pushers, dehydrated_devices):
            tx.delete(table, user_id=user_id, device_id=device_id)
        tx.delete(key_signatures, user_id=user_id, key_id=f"ed25519:{device_id}")


async def remove_all_but(tx: Write, user_id: str, keep: str | None) -> list[str]:
    """Put off: forget every device but one; returns which they are."""
    rows = await tx.fetch_all(select(devices.c.device_id).where(devices.c.user_id == user_id))
    gone = [row.device_id for row in rows if row.device_id != keep]
    remove(tx, user_id, gone)
    if keep is None:
        await tx.execute(delete(pushers).where(pushers.c.user_id == user_id))
    return gone


async def is_cross_signing_key(tx: Read, user_id: str, device_id: str) -> bool:
    """Whether a cross-signing key of the user has this id: signatures could not tell the two apart."""
    rows = await tx.fetch_all(select(cross_signing_keys.c.key).where(cross_signing_keys.c.user_id == user_id))
    return any(device_id in orjson.loads(row.key).get("keys", {}).values() for row in rows)


def remove_cross_signing(tx: Write, user_id: str) -> None:
    """Put off: forget the user's cross-signing keys, with the signatures on them and on the user's devices."""
    tx.delete(cross_signing_keys, user_id=user_id)
    tx.delete(key_signatures, user_id=user_id)
