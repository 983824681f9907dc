"""Which room a user hears from the server in."""

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from storage.database import Read, Write
from storage.tables import notice_rooms


class AnotherRoom(Exception):
    """The user has got another room meanwhile."""


async def room_of(tx: Read, user_id: str) -> str | None:
    """The id of the room; None where the user was never told anything."""
    found = await tx.fetch_value(select(notice_rooms.c.room_id).where(notice_rooms.c.user_id == user_id))
    return None if found is None else str(found)


async def put(tx: Write, user_id: str, room_id: str, *, replaces: str | None) -> None:
    """Give a user a room instead of `replaces`, seen at once by the operations that follow. Raises AnotherRoom."""
    if replaces is None:
        try:
            await tx.execute(insert(notice_rooms).values(user_id=user_id, room_id=room_id))
        except IntegrityError as error:
            raise AnotherRoom(user_id) from error
        return
    where = (notice_rooms.c.user_id == user_id, notice_rooms.c.room_id == replaces)
    if not await tx.execute(update(notice_rooms).where(*where).values(room_id=room_id)):
        raise AnotherRoom(user_id)
