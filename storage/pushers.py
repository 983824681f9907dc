"""Pushers: where users want to be told of events, and how far each has been told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from storage.database import AnyRow, Position, Read, Write
from storage.tables import events, memberships, pushers, rooms


@dataclass(frozen=True, slots=True)
class PusherRow:
    """One pusher. `pusher` is JSON text, as clients know it; `changed_at` in ms since the epoch.

    `position`: from where on in the log its user is told. `sent_position`: up to where that was done, if something
    waits to be sent; `failing_since` (ms) where sending failed and was not yet done again.
    """

    user_id: str
    app_id: str
    pushkey: str
    device_id: str | None
    pusher: bytes
    changed_at: int
    position: int
    sent_position: int | None
    failing_since: int | None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.user_id, self.app_id, self.pushkey


_COLUMNS = tuple(pushers.c[name] for name in PusherRow.__slots__)


async def of_user(tx: Read, user_id: str) -> list[PusherRow]:
    """A user's pushers, the oldest first."""
    statement = select(*_COLUMNS).where(pushers.c.user_id == user_id)
    statement = statement.order_by(pushers.c.position, pushers.c.app_id, pushers.c.pushkey)
    return [PusherRow(*row) for row in await tx.fetch_all(statement)]


async def all_of_them(tx: Read) -> list[PusherRow]:
    """Everybody's pushers."""
    return [PusherRow(*row) for row in await tx.fetch_all(select(*_COLUMNS))]


async def users_with(tx: Read, app_id: str, pushkey: str) -> list[str]:
    """Who has a pusher with this key."""
    statement = select(pushers.c.user_id).where(pushers.c.app_id == app_id, pushers.c.pushkey == pushkey)
    return [row.user_id for row in await tx.fetch_all(statement)]


def put(
    tx: Write,
    key: tuple[str, str, str],
    *,
    device_id: str | None,
    pusher: bytes,
    changed_at: int,
    position: Position | None,
) -> None:
    """Put off: set a pusher. `position` where it is new; one that is there goes on where it is."""
    values: dict[str, Any] = {"device_id": device_id, "pusher": pusher, "changed_at": changed_at}
    user_id, app_id, pushkey = key
    if position is None:
        tx.update(pushers, _named(key), **values)
    else:
        tx.upsert(pushers, user_id=user_id, app_id=app_id, pushkey=pushkey, **values, position=position)


def store_progress(tx: Write, key: tuple[str, str, str], sent_position: int | None, failing_since: int | None) -> None:
    """Put off: note how far a pusher is, if it is still there."""
    tx.update(pushers, _named(key), sent_position=sent_position, failing_since=failing_since)


async def remove(tx: Write, key: tuple[str, str, str]) -> bool:
    """Forget a pusher; False where there was none."""
    user_id, app_id, pushkey = key
    table = pushers.c
    where = (table.user_id == user_id, table.app_id == app_id, table.pushkey == pushkey)
    return bool(await tx.execute(delete(pushers).where(*where)))


async def events_for(tx: Read, user_id: str, after: int, upto: int, limit: int) -> list[tuple[int, str]]:
    """(position, event id) of the newest events of (after, upto] in the user's rooms, the oldest first."""
    statement = (
        select(events.c.position, events.c.event_id)
        .join(memberships, memberships.c.room_nid == events.c.room_nid)
        .where(
            memberships.c.user_id == user_id,
            memberships.c.membership.in_(("join", "invite")),
            events.c.position > after,
            events.c.position <= upto,
        )
        .order_by(events.c.position.desc())
        .limit(limit)
    )
    return [(position, event_id) for position, event_id in reversed(await tx.fetch_all(statement))]


async def invites_after(tx: Read, user_ids: Sequence[str], after: int, upto: int) -> Sequence[AnyRow]:
    """(position, user_id, event_id) of invites to rooms that no user of this server is in, of (after, upto]."""
    member = memberships.c
    found: list[AnyRow] = []
    for start in range(0, len(user_ids), 500):
        statement = (
            select(member.position, member.user_id, events.c.event_id)
            .join(events, events.c.event_nid == member.event_nid)
            .join(rooms, rooms.c.room_nid == member.room_nid)
            .where(
                member.user_id.in_(user_ids[start : start + 500]),
                member.membership == "invite",
                member.position > after,
                member.position <= upto,
                events.c.outlier.is_(True),
            )
        )
        found += await tx.fetch_all(statement)
    return found


def _named(key: tuple[str, str, str]) -> dict[str, Any]:
    return dict(zip(("user_id", "app_id", "pushkey"), key, strict=True))
