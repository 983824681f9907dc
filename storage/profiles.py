"""What users tell of themselves: a row for each field of a profile, `value` being JSON text."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import delete, select

from storage.database import Read, Write
from storage.tables import profiles


async def profile_of(tx: Read, user_id: str) -> dict[str, Any]:
    """field → value; empty where nothing is set."""
    statement = select(profiles.c.field, profiles.c.value).where(profiles.c.user_id == user_id)
    return {row.field: orjson.loads(row.value) for row in await tx.fetch_all(statement)}


async def profiles_of(tx: Read, user_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """user id → field → value; users without a profile are absent."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(user_ids), 500):
        statement = select(profiles).where(profiles.c.user_id.in_(user_ids[start : start + 500]))
        for row in await tx.fetch_all(statement):
            found.setdefault(row.user_id, {})[row.field] = orjson.loads(row.value)
    return found


def put(tx: Write, user_id: str, field: str, value: Any) -> None:
    """Put off: set a field."""
    tx.upsert(profiles, user_id=user_id, field=field, value=orjson.dumps(value))


async def put_now(tx: Write, user_id: str, field: str, value: Any) -> None:
    """Set a field, seen at once by the operations that follow."""
    await remove(tx, user_id, field)
    await tx.execute(profiles.insert().values(user_id=user_id, field=field, value=orjson.dumps(value)))


async def remove(tx: Write, user_id: str, field: str) -> None:
    """Forget a field, at once."""
    await tx.execute(delete(profiles).where(profiles.c.user_id == user_id, profiles.c.field == field))


def remove_all(tx: Write, user_id: str) -> None:
    """Put off: forget the whole profile."""
    tx.delete(profiles, user_id=user_id)
