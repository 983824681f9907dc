"""Events that may have notified a user, for who looks back at them."""

from sqlalchemy import and_, exists, or_, select

from storage.database import Read
from storage.tables import events, memberships, push_exceptions


async def candidates(
    tx: Read, user_id: str, before: int, limit: int, *, has_own_rules: bool
) -> list[tuple[int, str]]:
    """(position, event id) of events of others in the user's rooms, the newest first, from below a position on.

    Without push rules of the user's own those are left out that notify nobody by the predefined ones.
    """
    event = events.c
    statement = (
        select(event.position, event.event_id)
        .join(memberships, memberships.c.room_nid == event.room_nid)
        .where(
            memberships.c.user_id == user_id,
            memberships.c.membership == "join",
            event.position < before,
            event.position > 0,
            event.sender != user_id,
            event.rejected.is_(None),
            event.soft_failed.is_(False),
            event.outlier.is_(False),
        )
        .order_by(event.position.desc())
        .limit(limit)
    )
    if not has_own_rules:
        excepted = exists().where(
            push_exceptions.c.user_id == user_id,
            push_exceptions.c.room_nid == event.room_nid,
            push_exceptions.c.position == event.position,
        )
        own_membership = and_(event.type == "m.room.member", event.state_key == user_id)
        statement = statement.where(or_(event.thread_notify_seq > 0, own_membership, excepted))
    return [(position, event_id) for position, event_id in await tx.fetch_all(statement)]
