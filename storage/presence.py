"""The last known presence of users; kept sparsely, so that it outlives a restart."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from storage.database import Read, Write
from storage.tables import presence


@dataclass(frozen=True, slots=True)
class PresenceRow:
    """What was last kept of a user's presence; `last_active_at` in milliseconds since the epoch, 0 for never."""

    user_id: str
    state: str
    status_msg: str | None
    last_active_at: int


async def of_users(tx: Read, user_ids: Iterable[str]) -> dict[str, PresenceRow]:
    """The presence of those of the users that have any."""
    wanted = list(user_ids)
    table = presence.c
    found: dict[str, PresenceRow] = {}
    for start in range(0, len(wanted), 500):
        statement = select(table.user_id, table.state, table.status_msg, table.last_active_at)
        for row in await tx.fetch_all(statement.where(table.user_id.in_(wanted[start : start + 500]))):
            found[row[0]] = PresenceRow(*row)
    return found


async def of_those_present(tx: Read) -> list[PresenceRow]:
    """Everybody who was last kept as something else than offline."""
    table = presence.c
    statement = select(table.user_id, table.state, table.status_msg, table.last_active_at)
    return [PresenceRow(*row) for row in await tx.fetch_all(statement.where(table.state != "offline"))]


def put(tx: Write, row: PresenceRow) -> None:
    """Keep a user's presence."""
    tx.upsert(
        presence,
        user_id=row.user_id,
        state=row.state,
        status_msg=row.status_msg,
        last_active_at=row.last_active_at,
    )
