"""Delayed events, scheduled and finalised."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update

from storage.database import Read, Write
from storage.tables import delayed_events

_TABLE = delayed_events.c


@dataclass(frozen=True, slots=True)
class DelayedEvent:
    """Times in ms since the epoch. `send_at` is None once it is finalised; `content` and `error` are JSON text."""

    delay_id: str
    user_id: str
    device_id: str | None
    room_id: str
    type: str
    state_key: str | None
    content: bytes
    origin_server_ts: int | None
    delay_ms: int
    scheduled_at: int
    send_at: int | None
    based_on: str | None = None
    finalised_at: int | None = None
    event_id: str | None = None
    error: bytes | None = None


_COLUMNS = tuple(_TABLE[name] for name in DelayedEvent.__slots__)


async def add(tx: Write, event: DelayedEvent) -> None:
    """Schedule it."""
    await tx.execute(insert(delayed_events).values({name: getattr(event, name) for name in DelayedEvent.__slots__}))


async def find(tx: Read, delay_id: str) -> DelayedEvent | None:
    """The delayed event of that id, whoever scheduled it."""
    row = await tx.fetch_one(select(*_COLUMNS).where(_TABLE.delay_id == delay_id))
    return None if row is None else DelayedEvent(*row)


async def scheduled_by(tx: Read, user_id: str) -> list[DelayedEvent]:
    """What a user has scheduled, in the order in which it will be sent."""
    statement = select(*_COLUMNS).where(_TABLE.user_id == user_id, _TABLE.send_at.is_not(None))
    rows = await tx.fetch_all(statement.order_by(_TABLE.send_at, _TABLE.delay_id))
    return [DelayedEvent(*row) for row in rows]


async def finalised_of(tx: Read, user_id: str, limit: int) -> list[DelayedEvent]:
    """What a user had scheduled, the newest `limit` of what is settled, the newest first."""
    statement = select(*_COLUMNS).where(_TABLE.user_id == user_id, _TABLE.send_at.is_(None))
    rows = await tx.fetch_all(statement.order_by(_TABLE.finalised_at.desc(), _TABLE.delay_id).limit(limit))
    return [DelayedEvent(*row) for row in rows]


async def count_of(tx: Read, user_id: str) -> tuple[int, int | None]:
    """How many events a user has scheduled, and when the next of them will be sent."""
    statement = select(func.count(), func.min(_TABLE.send_at))
    row = await tx.fetch_one(statement.where(_TABLE.user_id == user_id, _TABLE.send_at.is_not(None)))
    return (0, None) if row is None else (row[0], row[1])


async def next_send_at(tx: Read) -> int | None:
    """When the next event of all is to be sent."""
    value: int | None = await tx.fetch_value(select(func.min(_TABLE.send_at)))
    return value


async def due(tx: Read, now_ms: int, limit: int) -> Sequence[DelayedEvent]:
    """What is to be sent by now, in the order in which it was to be, at most `limit`."""
    statement = select(*_COLUMNS).where(_TABLE.send_at <= now_ms)
    rows = await tx.fetch_all(statement.order_by(_TABLE.send_at, _TABLE.delay_id).limit(limit))
    return [DelayedEvent(*row) for row in rows]


async def restart(tx: Write, event: DelayedEvent, now_ms: int) -> bool:
    """Count the delay from now on; False where it is finalised."""
    statement = update(delayed_events).where(_TABLE.delay_id == event.delay_id, _TABLE.send_at.is_not(None))
    return bool(await tx.execute(statement.values(scheduled_at=now_ms, send_at=now_ms + event.delay_ms)))


async def finalise(
    tx: Write,
    delay_id: str,
    now_ms: int,
    *,
    event_id: str | None = None,
    error: bytes | None = None,
    due_by: int | None = None,
) -> bool:
    """Note that it was sent, refused, or (neither) cancelled; False where that is settled already.

    With `due_by` only what is to be sent by then: not what was restarted in the meantime.
    """
    where = [_TABLE.delay_id == delay_id, _TABLE.send_at.is_not(None)]
    if due_by is not None:
        where.append(_TABLE.send_at <= due_by)
    values = {"send_at": None, "finalised_at": now_ms, "event_id": event_id, "error": error}
    return bool(await tx.execute(update(delayed_events).where(*where).values(values)))


async def forget_finalised(tx: Write, before_ms: int, keep: int) -> None:
    """Forget what was finalised before then, and of each user all but the newest `keep`."""
    finalised = _TABLE.finalised_at
    await tx.execute(delete(delayed_events).where(finalised < before_ms))
    order = func.row_number().over(partition_by=_TABLE.user_id, order_by=finalised.desc())
    ranked = select(_TABLE.delay_id, order.label("rank")).where(finalised.is_not(None)).subquery()
    surplus = select(ranked.c.delay_id).where(ranked.c.rank > keep)
    await tx.execute(delete(delayed_events).where(_TABLE.delay_id.in_(surplus)))
