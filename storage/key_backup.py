"""Backups of room keys: their versions and the keys in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from storage.database import Read, Write
from storage.events import chunks
from storage.tables import backed_up_keys, key_backups

# How many keys go into one statement: eight parameters each.
_KEYS_AT_ONCE = 500
Place = tuple[str, str]
"""Where a key is: room id and session id."""


@dataclass(frozen=True, slots=True)
class KeyBackup:
    """One version of a user's backup. `auth_data` is JSON text; `etag` grows with every change of the keys."""

    version: int
    algorithm: str
    auth_data: bytes
    etag: int
    key_count: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class KeyRank:
    """What decides whether another key may take a key's place."""

    is_verified: bool
    first_message_index: int
    forwarded_count: int


@dataclass(frozen=True, slots=True)
class BackedUpKey:
    """A key as it is backed up. `session_data` is JSON text, which only the user can read."""

    rank: KeyRank
    session_data: bytes


_BACKUP = tuple(key_backups.c[name] for name in KeyBackup.__slots__)


async def current(tx: Read, user_id: str) -> KeyBackup | None:
    """The newest backup that was not deleted."""
    statement = (
        select(*_BACKUP)
        .where(key_backups.c.user_id == user_id, key_backups.c.deleted.is_(False))
        .order_by(key_backups.c.version.desc())
        .limit(1)
    )
    row = await tx.fetch_one(statement)
    return None if row is None else KeyBackup(*row)


async def backup_of(tx: Read, user_id: str, version: int) -> KeyBackup | None:
    """One version, deleted ones too."""
    statement = select(*_BACKUP).where(*_is_backup(user_id, version))
    row = await tx.fetch_one(statement)
    return None if row is None else KeyBackup(*row)


async def lock(tx: Write, user_id: str, version: int) -> None:
    """Let no other process change the backup until the commit."""
    await tx.fetch_one(select(key_backups.c.version).where(*_is_backup(user_id, version)).with_for_update())


async def create(tx: Write, user_id: str, algorithm: str, auth_data: bytes) -> int:
    """A new version, which is the current one from now on. Returns its number, which was never used before."""
    newest = await tx.fetch_value(select(func.max(key_backups.c.version)).where(key_backups.c.user_id == user_id))
    version = (newest or 0) + 1
    values = {"user_id": user_id, "version": version, "algorithm": algorithm, "auth_data": auth_data}
    await tx.execute(insert(key_backups).values(**values, etag=0, key_count=0, deleted=False))
    return version


async def set_auth_data(tx: Write, user_id: str, version: int, auth_data: bytes) -> None:
    """Change the data of the backup's algorithm."""
    await tx.execute(update(key_backups).where(*_is_backup(user_id, version)).values(auth_data=auth_data))


async def remove(tx: Write, user_id: str, version: int) -> None:
    """Delete a backup with its keys."""
    await tx.execute(delete(backed_up_keys).where(*_is_in(user_id, version)))
    values = {"deleted": True, "auth_data": b"{}", "key_count": 0}
    await tx.execute(update(key_backups).where(*_is_backup(user_id, version)).values(**values))


async def count_change(tx: Write, user_id: str, version: int, keys: int) -> tuple[int, int]:
    """The keys of the backup have changed, and there are `keys` more of them. Returns (etag, number of keys)."""
    table = key_backups.c
    values = {"etag": table.etag + 1, "key_count": table.key_count + keys}
    await tx.execute(update(key_backups).where(*_is_backup(user_id, version)).values(**values))
    backup = await backup_of(tx, user_id, version)
    assert backup is not None
    return backup.etag, backup.key_count


async def ranks(tx: Read, user_id: str, version: int, room_id: str, session_ids: Iterable[str]) -> dict[str, KeyRank]:
    """Those of a room's sessions that are in the backup: session id → rank."""
    table = backed_up_keys.c
    found: dict[str, KeyRank] = {}
    for ids in chunks(session_ids):
        statement = select(table.session_id, table.is_verified, table.first_message_index, table.forwarded_count)
        statement = statement.where(*_is_in(user_id, version, room_id), table.session_id.in_(ids))
        found.update((session_id, KeyRank(*rank)) for session_id, *rank in await tx.fetch_all(statement))
    return found


async def put(
    tx: Write, user_id: str, version: int, keys: Mapping[Place, BackedUpKey], present: Sequence[Place]
) -> None:
    """Keep these keys; those at the places `present` are there in another form."""
    by_room: dict[str, list[str]] = {}
    for room_id, session_id in present:
        by_room.setdefault(room_id, []).append(session_id)
    for room_id, session_ids in by_room.items():
        for ids in chunks(session_ids):
            where = (*_is_in(user_id, version, room_id), backed_up_keys.c.session_id.in_(ids))
            await tx.execute(delete(backed_up_keys).where(*where))
    for some in chunks(keys.items(), _KEYS_AT_ONCE):
        await tx.execute(insert(backed_up_keys).values([_row(user_id, version, *item) for item in some]))


async def keys_of(
    tx: Read, user_id: str, version: int, room_id: str | None = None, session_id: str | None = None
) -> dict[Place, BackedUpKey]:
    """The keys of a backup, of one room in it, or of one session."""
    table = backed_up_keys.c
    statement = select(
        table.room_id,
        table.session_id,
        table.is_verified,
        table.first_message_index,
        table.forwarded_count,
        table.session_data,
    ).where(*_is_in(user_id, version, room_id, session_id))
    return {
        (row.room_id, row.session_id): BackedUpKey(
            KeyRank(row.is_verified, row.first_message_index, row.forwarded_count), row.session_data
        )
        for row in await tx.fetch_all(statement)
    }


async def remove_keys(
    tx: Write, user_id: str, version: int, room_id: str | None = None, session_id: str | None = None
) -> int:
    """Delete all keys, those of a room or that of a session. Returns how many there were."""
    return await tx.execute(delete(backed_up_keys).where(*_is_in(user_id, version, room_id, session_id)))


def _is_backup(user_id: str, version: int) -> tuple[ColumnElement[bool], ...]:
    return key_backups.c.user_id == user_id, key_backups.c.version == version


def _is_in(
    user_id: str, version: int, room_id: str | None = None, session_id: str | None = None
) -> tuple[ColumnElement[bool], ...]:
    table = backed_up_keys.c
    where: tuple[ColumnElement[bool], ...] = (table.user_id == user_id, table.version == version)
    if room_id is not None:
        where += (table.room_id == room_id,)
    if session_id is not None:
        where += (table.session_id == session_id,)
    return where


def _row(user_id: str, version: int, place: Place, key: BackedUpKey) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "version": version,
        "room_id": place[0],
        "session_id": place[1],
        "first_message_index": key.rank.first_message_index,
        "forwarded_count": key.rank.forwarded_count,
        "is_verified": key.rank.is_verified,
        "session_data": key.session_data,
    }
