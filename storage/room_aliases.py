"""Room aliases of this server."""

from dataclasses import dataclass

import orjson
from sqlalchemy import delete, select

from storage.database import Read, Write
from storage.streams import Stream
from storage.tables import room_aliases

CHANGED = "room aliases:"
"""The key of `Stream.CACHES` that says that some alias was made, moved or removed."""


@dataclass(frozen=True, slots=True)
class RoomAlias:
    """What an alias points to, and who made it. `servers` are to be asked for the room."""

    alias: str
    room_id: str
    servers: list[str]
    creator: str


async def get(tx: Read, alias: str) -> RoomAlias | None:
    """The alias, None where there is none."""
    row = await tx.fetch_one(select(room_aliases).where(room_aliases.c.alias == alias))
    return None if row is None else RoomAlias(row.alias, row.room_id, orjson.loads(row.servers), row.creator)


async def of_room(tx: Read, room_id: str) -> list[str]:
    """The aliases that point to a room, sorted."""
    statement = select(room_aliases.c.alias).where(room_aliases.c.room_id == room_id).order_by(room_aliases.c.alias)
    return [row.alias for row in await tx.fetch_all(statement)]


async def add(tx: Write, entry: RoomAlias) -> None:
    """Add an alias, at once. It must not exist."""
    values = {"room_id": entry.room_id, "servers": orjson.dumps(entry.servers), "creator": entry.creator}
    await tx.execute(room_aliases.insert().values(alias=entry.alias, **values))
    tx.position(Stream.CACHES, CHANGED)


async def move(tx: Write, old_room_id: str, new_room_id: str) -> None:
    """Have the aliases of one room point to another, at once."""
    statement = room_aliases.update().where(room_aliases.c.room_id == old_room_id)
    if await tx.execute(statement.values(room_id=new_room_id)):
        tx.position(Stream.CACHES, CHANGED)


async def remove(tx: Write, alias: str) -> bool:
    """Remove an alias, at once; whether there was one."""
    tx.position(Stream.CACHES, CHANGED)
    return bool(await tx.execute(delete(room_aliases).where(room_aliases.c.alias == alias)))
