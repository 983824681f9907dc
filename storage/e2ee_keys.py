"""Keys for end-to-end encryption: of devices, one-time and fallback keys, cross-signing keys and signatures.

`keys` and `key` columns hold canonical JSON as it was uploaded, without `unsigned`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy import delete, func, select, update

from storage.database import Position, Read, Write
from storage.events import chunks
from storage.tables import cross_signing_keys, device_keys, devices, fallback_keys, key_signatures, one_time_keys

# --- keys of devices


async def device_keys_of(tx: Read, user_ids: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """user id → device id → keys of the device."""
    found: dict[str, dict[str, bytes]] = {}
    table = device_keys.c
    for some in chunks(user_ids):
        statement = select(table.user_id, table.device_id, table["keys"].label("json")).where(table.user_id.in_(some))
        for row in await tx.fetch_all(statement):
            found.setdefault(row.user_id, {})[row.device_id] = bytes(row.json)
    return found


async def named_device_keys_of(tx: Read, user_ids: Iterable[str]) -> list[tuple[str, str, bytes, str | None]]:
    """(user id, device id, keys, display name) of the devices of local users that have keys."""
    keys, of_user = device_keys.c, devices.c
    found: list[tuple[str, str, bytes, str | None]] = []
    for some in chunks(user_ids):
        statement = (
            select(keys.user_id, keys.device_id, keys["keys"].label("json"), of_user.display_name)
            .join(devices, (of_user.user_id == keys.user_id) & (of_user.device_id == keys.device_id))
            .where(keys.user_id.in_(some))
        )
        found += [(r.user_id, r.device_id, bytes(r.json), r.display_name) for r in await tx.fetch_all(statement)]
    return found


async def device_keys_of_device(tx: Read, user_id: str, device_id: str) -> bytes | None:
    """Keys of one device."""
    table = device_keys.c
    value = await tx.fetch_value(select(table["keys"]).where(table.user_id == user_id, table.device_id == device_id))
    return None if value is None else bytes(value)


def put_device_keys(tx: Write, user_id: str, device_id: str, keys: bytes, position: Position) -> None:
    """Put off. `position`: of the change in the log of device lists."""
    tx.upsert(device_keys, user_id=user_id, device_id=device_id, keys=keys, position=position)


# --- one-time keys and fallback keys

_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """A key that was handed out: `key` is JSON text."""

    algorithm: str
    key_id: str
    key: bytes


async def one_time_key_counts(tx: Read, user_id: str, device_id: str) -> dict[str, int]:
    """algorithm → how many one-time keys are left."""
    table = one_time_keys.c
    statement = (
        select(table.algorithm, func.count().label("left"))
        .where(table.user_id == user_id, table.device_id == device_id)
        .group_by(table.algorithm)
    )
    return {row.algorithm: row.left for row in await tx.fetch_all(statement)}


async def one_time_keys_named(
    tx: Read, user_id: str, device_id: str, key_ids: Sequence[str]
) -> dict[tuple[str, str], bytes]:
    """(algorithm, key id) → key, of those that are there."""
    table = one_time_keys.c
    found: dict[tuple[str, str], bytes] = {}
    for some in chunks(key_ids):
        statement = select(table.algorithm, table.key_id, table.key).where(
            table.user_id == user_id, table.device_id == device_id, table.key_id.in_(some)
        )
        found.update(((row.algorithm, row.key_id), bytes(row.key)) for row in await tx.fetch_all(statement))
    return found


async def put_one_time_keys(
    tx: Write, user_id: str, device_id: str, keys: Mapping[tuple[str, str], bytes], created_at: int
) -> None:
    """Keep new keys, (algorithm, key id) → key, seen at once. `created_at` in µs, one more for each: their order."""
    rows = [
        {
            "user_id": user_id,
            "device_id": device_id,
            "algorithm": algorithm,
            "key_id": key_id,
            "key": key,
            "created_at": created_at + index,
        }
        for index, ((algorithm, key_id), key) in enumerate(keys.items())
    ]
    for some in chunks(rows, _ROWS_AT_ONCE):
        await tx.execute(one_time_keys.insert().values(some))


async def take_one_time_key(tx: Write, user_id: str, device_id: str, algorithm: str) -> OneTimeKey | None:
    """Hand out the oldest key of the algorithm, which nobody else gets; None where none is left."""
    table = one_time_keys
    of_device = (table.c.user_id == user_id, table.c.device_id == device_id, table.c.algorithm == algorithm)
    oldest = select(table.c.key_id, table.c.key).where(*of_device).order_by(table.c.created_at, table.c.key_id).limit(1)
    while (row := await tx.fetch_one(oldest)) is not None:
        # Another process may have taken it in the meantime: then nothing is deleted here, and the next one is tried.
        if await tx.execute(delete(table).where(*of_device, table.c.key_id == row.key_id)):
            return OneTimeKey(algorithm, row.key_id, bytes(row.key))
    return None


async def use_fallback_key(tx: Write, user_id: str, device_id: str, algorithm: str) -> OneTimeKey | None:
    """Hand out the fallback key of the algorithm and note that it is used."""
    table = fallback_keys
    of_device = (table.c.user_id == user_id, table.c.device_id == device_id, table.c.algorithm == algorithm)
    row = await tx.fetch_one(select(table.c.key_id, table.c.key, table.c.used).where(*of_device))
    if row is None:
        return None
    if not row.used:
        await tx.execute(update(table).where(*of_device).values(used=True))
    return OneTimeKey(algorithm, row.key_id, bytes(row.key))


async def fallback_keys_of(tx: Read, user_id: str, device_id: str) -> dict[str, tuple[str, bytes, bool]]:
    """algorithm → (key id, key, whether it was used)."""
    table = fallback_keys.c
    statement = select(table.algorithm, table.key_id, table.key, table.used).where(
        table.user_id == user_id, table.device_id == device_id
    )
    return {row.algorithm: (row.key_id, bytes(row.key), row.used) for row in await tx.fetch_all(statement)}


def put_fallback_key(tx: Write, user_id: str, device_id: str, algorithm: str, key_id: str, key: bytes) -> None:
    """Put off: the device's one fallback key of the algorithm, not used yet."""
    tx.upsert(
        fallback_keys, user_id=user_id, device_id=device_id, algorithm=algorithm, key_id=key_id, key=key, used=False
    )


# --- cross-signing


async def cross_signing_keys_of(tx: Read, user_ids: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """user id → usage ("master", "self_signing", "user_signing") → key."""
    found: dict[str, dict[str, bytes]] = {}
    table = cross_signing_keys.c
    for some in chunks(user_ids):
        for row in await tx.fetch_all(select(table.user_id, table.usage, table.key).where(table.user_id.in_(some))):
            found.setdefault(row.user_id, {})[row.usage] = bytes(row.key)
    return found


async def cross_signing_key_ids(tx: Read, user_id: str) -> set[str]:
    """The public keys of a user's cross-signing keys, which are also their ids."""
    found = (await cross_signing_keys_of(tx, [user_id])).get(user_id, {})
    return {str(value) for key in found.values() for value in orjson.loads(key).get("keys", {}).values()}


def put_cross_signing_key(tx: Write, user_id: str, usage: str, key: bytes, position: Position | int) -> None:
    """Put off. `position`: of the change in the log of device lists."""
    tx.upsert(cross_signing_keys, user_id=user_id, usage=usage, key=key, position=position)


async def remove_cross_signing_keys(tx: Write, user_id: str, but: Iterable[str] = ()) -> None:
    """Forget a user's cross-signing keys, but those of these usages."""
    table = cross_signing_keys.c
    await tx.execute(delete(cross_signing_keys).where(table.user_id == user_id, table.usage.not_in(list(but))))


@dataclass(frozen=True, slots=True)
class Signature:
    """That `signer_user_id` signed the key `key_id` (`ed25519:DEVICE`, or of a cross-signing key) of `user_id`."""

    user_id: str
    key_id: str
    signer_user_id: str
    signer_key_id: str
    signature: str


async def signatures_on(tx: Read, user_ids: Iterable[str], seen_by: str | None) -> list[Signature]:
    """Signatures on keys of these users: those of the users themselves, and those that `seen_by` made."""
    found: list[Signature] = []
    table = key_signatures.c
    columns = (table.user_id, table.key_id, table.signer_user_id, table.signer_key_id, table.signature)
    for some in chunks(user_ids):
        mine_or_theirs = (table.signer_user_id == table.user_id) | (table.signer_user_id == (seen_by or ""))
        rows = await tx.fetch_all(select(*columns).where(table.user_id.in_(some), mine_or_theirs))
        found += [Signature(*row) for row in rows]
    return found


async def put_signature(tx: Write, signature: Signature) -> bool:
    """Keep a signature, seen at once; False where it was there already."""
    table = key_signatures
    same = [table.c[name] == getattr(signature, name) for name in Signature.__slots__ if name != "signature"]
    if await tx.fetch_value(select(table.c.signature).where(*same)) == signature.signature:
        return False
    await tx.execute(delete(table).where(*same))
    await tx.execute(table.insert().values({name: getattr(signature, name) for name in Signature.__slots__}))
    return True


async def remove_signatures(tx: Write, user_id: str, key_id: str) -> None:
    """Forget the signatures on a key, because it is another one now."""
    table = key_signatures.c
    await tx.execute(delete(key_signatures).where(table.user_id == user_id, table.key_id == key_id))
