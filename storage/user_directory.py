"""The directory of people: entries with the words of ids and names, and who may find whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orjson import loads
from sqlalchemy import Select, and_, select

from storage.database import Read, Write
from storage.dialect import Engine
from storage.events import chunks
from storage.tables import directory_entries, memberships, profiles, rooms, users


@dataclass(frozen=True, slots=True)
class RoomName:
    """What a user is called in a room that they are joined to."""

    user_id: str
    room_nid: int
    display_name: str | None
    avatar_url: str | None
    is_listed: bool


async def matching(tx: Read, engine: Engine, terms: Sequence[tuple[str, ...]], limit: int) -> list[str]:
    """Users whose id or one of whose names has words that begin with these, the best first."""
    found = engine.full_text(directory_entries, "entry_id", terms, beginnings=True)
    statement = select(directory_entries.c.user_id).select_from(found.source).where(found.where)
    statement = statement.order_by(found.rank.desc(), directory_entries.c.entry_id).limit(limit)
    return [row.user_id for row in await tx.fetch_all(statement)]


async def accounts_without_entry(tx: Read, limit: int) -> dict[str, str | None]:
    """Accounts of this server whose users are in no room: user id → display name."""
    source = users.outerjoin(
        profiles, and_(profiles.c.user_id == users.c.user_id, profiles.c.field == "displayname")
    ).outerjoin(directory_entries, directory_entries.c.user_id == users.c.user_id)
    statement = (
        select(users.c.user_id, profiles.c.value)
        .select_from(source)
        .where(users.c.deactivated.is_(False), users.c.is_guest.is_(False), directory_entries.c.entry_id.is_(None))
        .order_by(users.c.user_id)
        .limit(limit)
    )
    return {user_id: None if name is None else loads(name) for user_id, name in await tx.fetch_all(statement)}


async def shared_names(tx: Read, searcher: str, user_ids: Sequence[str]) -> list[RoomName]:
    """What these users are called in the rooms that the searcher is in, too; the newest name last."""
    own = memberships.alias()
    mine = select(own.c.room_nid).where(own.c.user_id == searcher, own.c.membership == "join")
    return await _names(tx, user_ids, mine)


async def names_of(tx: Read, user_ids: Sequence[str]) -> list[RoomName]:
    """What these users are called in all of their rooms; the newest name last."""
    return await _names(tx, user_ids, None)


async def _names(tx: Read, user_ids: Sequence[str], of_rooms: Select[tuple[int]] | None) -> list[RoomName]:
    member = memberships.c
    found: list[RoomName] = []
    for ids in chunks(user_ids):
        statement = (
            select(member.user_id, member.room_nid, member.display_name, member.avatar_url, rooms.c.is_public)
            .join(rooms, rooms.c.room_nid == member.room_nid)
            .where(member.user_id.in_(ids), member.membership == "join")
            .order_by(member.position)
        )
        if of_rooms is not None:
            statement = statement.where(member.room_nid.in_(of_rooms))
        found += [RoomName(*row) for row in await tx.fetch_all(statement)]
    return found


async def distinct_names(tx: Read, user_ids: Sequence[str]) -> dict[str, set[str]]:
    """What users are called in the rooms that they are joined to; those who are in none are absent."""
    member = memberships.c
    found: dict[str, set[str]] = {}
    for ids in chunks(user_ids):
        statement = select(member.user_id, member.display_name).distinct()
        statement = statement.where(member.user_id.in_(ids), member.membership == "join")
        for user_id, name in await tx.fetch_all(statement):
            names = found.setdefault(user_id, set())
            if name:
                names.add(name)
    return found


async def members_without_entry(tx: Read, room_nid: int, limit: int) -> list[str]:
    """Users who are joined to the room and have no entry."""
    statement = (
        select(memberships.c.user_id)
        .outerjoin(directory_entries, directory_entries.c.user_id == memberships.c.user_id)
        .where(
            memberships.c.room_nid == room_nid,
            memberships.c.membership == "join",
            directory_entries.c.entry_id.is_(None),
        )
        .limit(limit)
    )
    return [row.user_id for row in await tx.fetch_all(statement)]


async def entry_ids(tx: Read, user_ids: Iterable[str]) -> dict[str, int]:
    """Those of the users that have an entry."""
    found: dict[str, int] = {}
    for ids in chunks(user_ids):
        statement = select(directory_entries.c.user_id, directory_entries.c.entry_id)
        statement = statement.where(directory_entries.c.user_id.in_(ids))
        found.update((row.user_id, row.entry_id) for row in await tx.fetch_all(statement))
    return found


def put(tx: Write, user_id: str, entry_id: int, words: Iterable[str]) -> None:
    """Put off: let a user be found by these words."""
    tx.upsert(directory_entries, user_id=user_id, entry_id=entry_id, words=" ".join(words))


def remove(tx: Write, user_id: str) -> None:
    """Put off: let a user not be found."""
    tx.delete(directory_entries, user_id=user_id)
