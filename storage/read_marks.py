"""How far local users have read, and where push rules of their own make their counts differ from everybody's."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, delete, func, or_, select

from storage.database import Position, Read, Write
from storage.tables import events, push_exceptions, read_marks, rooms

UNTHREADED = ""
MAIN = "main"


@dataclass(frozen=True, slots=True)
class ReadMark:
    """All up to the event at `position` is read; `notify_seq` is the room's count of notifying events there.

    `thread_id` is empty for the whole room, `main` for what is in no thread, else the thread's root.
    """

    room_nid: int
    thread_id: str
    position: int
    notify_seq: int


@dataclass(frozen=True, slots=True)
class PushException:
    """The event at `position` counts `notify_delta` more (or less) for the user than for others, and may highlight."""

    room_nid: int
    position: int
    thread_id: str
    notify_delta: int
    highlight: bool


async def marks_of(tx: Read, user_id: str) -> list[ReadMark]:
    """Every read mark of the user."""
    table = read_marks.c
    statement = select(table.room_nid, table.thread_id, table.position, table.notify_seq)
    return [ReadMark(*row) for row in await tx.fetch_all(statement.where(table.user_id == user_id))]


async def exceptions_of(tx: Read, user_id: str) -> list[PushException]:
    """Every exception of the user, in order."""
    table = push_exceptions.c
    statement = (
        select(table.room_nid, table.position, table.thread_id, table.notify_delta, table.highlight)
        .where(table.user_id == user_id)
        .order_by(table.position)
    )
    return [PushException(*row) for row in await tx.fetch_all(statement)]


async def unread_by_thread(
    tx: Read, user_id: str, room_nids: Iterable[int], upto: int, event_type: str | None = None
) -> dict[int, dict[str, int]]:
    """How many events of others up to the position `upto` notify by default after what the user has read.

    room_nid → thread (`main` or a root) → count, without what is zero. `event_type`: only of this type.
    """
    whole, thread = read_marks.alias(), read_marks.alias()
    thread_id = func.coalesce(events.c.thread_root, MAIN)
    source = (
        events.join(rooms, rooms.c.room_nid == events.c.room_nid)
        .outerjoin(
            whole,
            and_(whole.c.user_id == user_id, whole.c.room_nid == events.c.room_nid, whole.c.thread_id == UNTHREADED),
        )
        .outerjoin(
            thread,
            and_(thread.c.user_id == user_id, thread.c.room_nid == events.c.room_nid, thread.c.thread_id == thread_id),
        )
    )
    nids = list(room_nids)
    counts: dict[int, dict[str, int]] = {}
    for start in range(0, len(nids), 500):
        statement = (
            select(events.c.room_nid, thread_id, func.count())
            .select_from(source)
            .where(
                events.c.room_nid.in_(nids[start : start + 500]),
                events.c.position > func.coalesce(whole.c.position, 0),
                events.c.position <= upto,
                or_(thread.c.position.is_(None), events.c.position > thread.c.position),
                events.c.thread_notify_seq > 0,
                events.c.sender != user_id,
                # Rooms where all is read are not looked at event by event.
                rooms.c.notify_seq > func.coalesce(whole.c.notify_seq, 0),
            )
            .group_by(events.c.room_nid, thread_id)
        )
        if event_type is not None:
            statement = statement.where(events.c.type == event_type)
        for room_nid, root, count in await tx.fetch_all(statement):
            counts.setdefault(room_nid, {})[root] = count
    return counts


def put_mark(tx: Write, user_id: str, room_nid: int, thread_id: str, position: int | Position, notify_seq: int) -> None:
    """Set how far the user has read."""
    tx.upsert(
        read_marks, user_id=user_id, room_nid=room_nid, thread_id=thread_id, position=position, notify_seq=notify_seq
    )


def put_exception(
    tx: Write,
    user_id: str,
    room_nid: int,
    position: Position,
    *,
    thread_id: str,
    notify_delta: int,
    highlight: bool,
    actions: bytes,
) -> None:
    """Keep that the event at `position` counts differently for the user."""
    tx.insert(
        push_exceptions,
        user_id=user_id,
        room_nid=room_nid,
        position=position,
        thread_id=thread_id,
        notify_delta=notify_delta,
        highlight=highlight,
        actions=actions,
    )


async def drop_exceptions(tx: Write, user_id: str, room_nid: int, thread_id: str, upto: int) -> None:
    """Forget the exceptions that a read mark has passed."""
    table = push_exceptions.c
    conditions = [table.user_id == user_id, table.room_nid == room_nid, table.position <= upto]
    if thread_id != UNTHREADED:
        conditions.append(table.thread_id == thread_id)
    await tx.execute(delete(push_exceptions).where(*conditions))
