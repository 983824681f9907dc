"""Pushers that mail, and what waits to be mailed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select

from storage.database import Read, Write
from storage.tables import email_digests, email_pushers, events, rooms


@dataclass(frozen=True, slots=True)
class EmailPusherRow:
    """`pusher` is JSON as clients know it; `pushkey` the address; `changed_at` in ms since the epoch."""

    user_id: str
    app_id: str
    pushkey: str
    pusher: bytes
    changed_at: int
    unsubscribe_token: str


@dataclass(frozen=True, slots=True)
class DigestRow:
    """What waits for a user in a room, and what was told last: see the table."""

    user_id: str
    room_nid: int
    first_position: int | None
    due_at: int | None
    told_position: int | None
    sent_at: int | None
    pause: int


_PUSHER = tuple(email_pushers.c[name] for name in EmailPusherRow.__slots__)
_DIGEST = tuple(email_digests.c[name] for name in DigestRow.__slots__)


async def of_user(tx: Read, user_id: str) -> list[EmailPusherRow]:
    """A user's, by address."""
    table = email_pushers.c
    statement = select(*_PUSHER).where(table.user_id == user_id).order_by(table.pushkey, table.app_id)
    return [EmailPusherRow(*row) for row in await tx.fetch_all(statement)]


async def users(tx: Read) -> set[str]:
    """Everybody who has one."""
    return {row.user_id for row in await tx.fetch_all(select(email_pushers.c.user_id).distinct())}


async def by_token(tx: Read, token: str) -> EmailPusherRow | None:
    """The one that an unsubscribe link is about."""
    row = await tx.fetch_one(select(*_PUSHER).where(email_pushers.c.unsubscribe_token == token))
    return None if row is None else EmailPusherRow(*row)


def put(tx: Write, row: EmailPusherRow) -> None:
    """Put off: set one."""
    tx.upsert(email_pushers, **{name: getattr(row, name) for name in EmailPusherRow.__slots__})


async def remove(tx: Write, user_id: str, pushkey: str, app_id: str | None = None) -> bool:
    """Forget one, or all of an address; False where there was none."""
    table = email_pushers.c
    where = [table.user_id == user_id, table.pushkey == pushkey]
    if app_id is not None:
        where.append(table.app_id == app_id)
    return bool(await tx.execute(delete(email_pushers).where(*where)))


async def remove_all(tx: Write, user_id: str) -> None:
    """Forget a user's, and what waits."""
    await tx.execute(delete(email_pushers).where(email_pushers.c.user_id == user_id))
    await forget_digests(tx, user_id)


# --- what waits


async def digests_of(tx: Read, user_id: str) -> list[DigestRow]:
    """All that is known of a user's rooms."""
    statement = select(*_DIGEST).where(email_digests.c.user_id == user_id)
    return [DigestRow(*row) for row in await tx.fetch_all(statement)]


async def users_due(tx: Read, now_ms: int, limit: int) -> list[str]:
    """Users whom something is to be told now."""
    statement = select(email_digests.c.user_id).where(email_digests.c.due_at <= now_ms).distinct().limit(limit)
    return [row.user_id for row in await tx.fetch_all(statement)]


def put_digest(tx: Write, row: DigestRow) -> None:
    """Put off: note it."""
    tx.upsert(email_digests, **{name: getattr(row, name) for name in DigestRow.__slots__})


async def forget_digests(tx: Write, user_id: str) -> None:
    """Nothing waits for the user any more."""
    await tx.execute(delete(email_digests).where(email_digests.c.user_id == user_id))


async def room_ids(tx: Read, room_nids: Sequence[int]) -> dict[int, str]:
    """room_nid → room id."""
    statement = select(rooms.c.room_nid, rooms.c.room_id).where(rooms.c.room_nid.in_(room_nids))
    return {row.room_nid: row.room_id for row in await tx.fetch_all(statement)}


async def events_since(tx: Read, room_nid: int, first: int, sender: str, limit: int) -> tuple[list[str], int]:
    """(the newest events of others in a room from a position on, the newest first; how many there are)."""
    where = (events.c.room_nid == room_nid, events.c.position >= first, events.c.sender != sender)
    statement = select(events.c.event_id).where(*where).order_by(events.c.position.desc()).limit(limit)
    found = [row.event_id for row in await tx.fetch_all(statement)]
    return found, int(await tx.fetch_value(select(func.count()).select_from(events).where(*where)))
