"""Which threads users follow, and when that changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from storage.database import Position, Read, Write
from storage.tables import thread_subscriptions

_TABLE = thread_subscriptions.c


@dataclass(frozen=True, slots=True)
class ThreadSubscription:
    """Whether a user follows a thread, since a position of the log."""

    room_id: str
    thread_id: str
    subscribed: bool
    automatic: bool
    position: int


_COLUMNS = tuple(_TABLE[name] for name in ThreadSubscription.__slots__)


async def find(tx: Read, user_id: str, room_id: str, thread_id: str) -> ThreadSubscription | None:
    """What is known of the user and the thread; None where they never subscribed."""
    where = (_TABLE.user_id == user_id, _TABLE.room_id == room_id, _TABLE.thread_id == thread_id)
    row = await tx.fetch_one(select(*_COLUMNS).where(*where))
    return None if row is None else ThreadSubscription(*row)


def store(
    tx: Write,
    user_id: str,
    room_id: str,
    thread_id: str,
    *,
    subscribed: bool,
    automatic: bool,
    position: Position,
) -> None:
    """Put off: how it is from now on."""
    tx.upsert(
        thread_subscriptions,
        user_id=user_id,
        room_id=room_id,
        thread_id=thread_id,
        subscribed=subscribed,
        automatic=automatic,
        position=position,
    )


async def changed(tx: Read, user_id: str, after: int, upto: int, limit: int) -> Sequence[ThreadSubscription]:
    """What changed for the user at positions of (after, upto], the newest first, at most `limit`."""
    where = (_TABLE.user_id == user_id, _TABLE.position > after, _TABLE.position <= upto)
    statement = select(*_COLUMNS).where(*where).order_by(_TABLE.position.desc()).limit(limit)
    return [ThreadSubscription(*row) for row in await tx.fetch_all(statement)]


async def subscribers(tx: Read, room_id: str, thread_id: str) -> set[str]:
    """Who follows the thread."""
    where = (_TABLE.thread_id == thread_id, _TABLE.room_id == room_id, _TABLE.subscribed.is_(True))
    return {row.user_id for row in await tx.fetch_all(select(_TABLE.user_id).where(*where))}
