"""Who is in which room, as what. Rows follow the current state; invites and knocks to rooms elsewhere have one too."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from storage.database import AnyRow, Position, Read, Write
from storage.events import chunks
from storage.tables import invited_rooms_state, memberships, rooms


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's membership of a room. `position`: since when in the log; `forgotten`: the user wants to hear no more."""

    room_nid: int
    room_id: str
    user_id: str
    membership: str
    event_nid: int
    sender: str
    position: int
    display_name: str | None
    avatar_url: str | None
    forgotten: bool


_COLUMNS = select(memberships, rooms.c.room_id).join(rooms, rooms.c.room_nid == memberships.c.room_nid)


def _membership(row: AnyRow) -> Membership:
    return Membership(
        room_nid=row.room_nid,
        room_id=row.room_id,
        user_id=row.user_id,
        membership=row.membership,
        event_nid=row.event_nid,
        sender=row.sender,
        position=row.position,
        display_name=row.display_name,
        avatar_url=row.avatar_url,
        forgotten=row.forgotten,
    )


async def membership_of(tx: Read, room_id: str, user_id: str) -> Membership | None:
    """One user's membership of one room; None where they never had any."""
    row = await tx.fetch_one(_COLUMNS.where(rooms.c.room_id == room_id, memberships.c.user_id == user_id))
    return None if row is None else _membership(row)


async def of_user(tx: Read, user_id: str, of: Collection[str] | None = None) -> Sequence[Membership]:
    """All memberships of a user, or those that are one of `of`; forgotten ones too."""
    statement = _COLUMNS.where(memberships.c.user_id == user_id)
    if of is not None:
        statement = statement.where(memberships.c.membership.in_(of))
    return [_membership(row) for row in await tx.fetch_all(statement)]


async def of_room(tx: Read, room_nid: int, of: Collection[str] | None = None) -> Sequence[Membership]:
    """All memberships of a room, or those that are one of `of`."""
    statement = _COLUMNS.where(memberships.c.room_nid == room_nid)
    if of is not None:
        statement = statement.where(memberships.c.membership.in_(of))
    return [_membership(row) for row in await tx.fetch_all(statement)]


async def user_ids_of_room(tx: Read, room_nid: int, of: Collection[str]) -> dict[str, str]:
    """user id → membership, of those whose membership is one of `of`."""
    statement = select(memberships.c.user_id, memberships.c.membership).where(
        memberships.c.room_nid == room_nid, memberships.c.membership.in_(of)
    )
    return {row.user_id: row.membership for row in await tx.fetch_all(statement)}


async def joined_room_ids(tx: Read, user_id: str) -> list[str]:
    """The rooms that a user is joined to."""
    statement = (
        select(rooms.c.room_id)
        .join(memberships, memberships.c.room_nid == rooms.c.room_nid)
        .where(memberships.c.user_id == user_id, memberships.c.membership == "join")
    )
    return [row.room_id for row in await tx.fetch_all(statement)]


async def joined_members(tx: Read, room_nid: int) -> Sequence[AnyRow]:
    """(user_id, display_name, avatar_url) of everybody who is joined."""
    statement = select(memberships.c.user_id, memberships.c.display_name, memberships.c.avatar_url)
    return await tx.fetch_all(statement.where(memberships.c.room_nid == room_nid, memberships.c.membership == "join"))


def put(
    tx: Write,
    room_nid: int,
    user_id: str,
    *,
    membership: str,
    event_nid: int,
    sender: str,
    position: Position,
    display_name: str | None,
    avatar_url: str | None,
) -> None:
    """Put off: a user's membership is now this. What was forgotten is remembered again."""
    tx.upsert(
        memberships,
        room_nid=room_nid,
        user_id=user_id,
        membership=membership,
        event_nid=event_nid,
        sender=sender,
        position=position,
        display_name=display_name,
        avatar_url=avatar_url,
        forgotten=False,
    )


def remove(tx: Write, room_nid: int, user_id: str) -> None:
    """Put off: the state says nothing of this user any more."""
    tx.delete(memberships, room_nid=room_nid, user_id=user_id)


def forget(tx: Write, room_nid: int, user_id: str) -> None:
    """Put off: the user wants to hear no more of a room that they are not in."""
    tx.update(memberships, {"room_nid": room_nid, "user_id": user_id}, forgotten=True)


def put_stripped_state(tx: Write, room_id: str, user_id: str, stripped_state: bytes) -> None:
    """Put off: what another server told of the room with an invite or knock. JSON array of stripped state events."""
    tx.upsert(invited_rooms_state, room_id=room_id, user_id=user_id, stripped_state=stripped_state)


async def stripped_state(tx: Read, room_id: str, user_id: str) -> bytes | None:
    """What was kept by `put_stripped_state`."""
    statement = select(invited_rooms_state.c.stripped_state).where(
        invited_rooms_state.c.room_id == room_id, invited_rooms_state.c.user_id == user_id
    )
    value = await tx.fetch_value(statement)
    return None if value is None else bytes(value)


async def of_users(tx: Read, room_nid: int, user_ids: Sequence[str]) -> dict[str, str]:
    """user id → membership, of those of the users that have one in the room."""
    found: dict[str, str] = {}
    statement = select(memberships.c.user_id, memberships.c.membership).where(memberships.c.room_nid == room_nid)
    for some in chunks(user_ids):
        rows = await tx.fetch_all(statement.where(memberships.c.user_id.in_(some)))
        found.update((row.user_id, row.membership) for row in rows)
    return found
