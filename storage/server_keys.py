"""Signing keys of other servers, as they published them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import select

from storage.database import Read, Write
from storage.tables import server_keys


@dataclass(frozen=True, slots=True)
class ServerKey:
    """One key of a server. Times are ms since the epoch.

    `expired_at` is set for keys that the server no longer signs with; `response` is the key object, as JSON, that the
    key was learnt from, with the signature of its server.
    """

    key_id: str
    verify_key: bytes
    valid_until: int
    expired_at: int | None
    fetched_at: int
    response: bytes


async def keys_of(tx: Read, server_name: str) -> list[ServerKey]:
    """Every key of a server that was ever seen."""
    table = server_keys
    statement = select(*(table.c[field.name] for field in fields(ServerKey))).where(table.c.server_name == server_name)
    return [ServerKey(*row) for row in await tx.fetch_all(statement)]


def store_keys(tx: Write, server_name: str, keys: Sequence[ServerKey]) -> None:
    """Keeps keys; one of the same id is replaced."""
    for key in keys:
        tx.upsert(
            server_keys,
            server_name=server_name,
            key_id=key.key_id,
            verify_key=key.verify_key,
            valid_until=key.valid_until,
            expired_at=key.expired_at,
            fetched_at=key.fetched_at,
            response=key.response,
        )
