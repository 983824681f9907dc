"""How far those have come who follow the log in the background."""

from sqlalchemy import insert, select, update

from storage.database import Read, Write
from storage.tables import log_readers


class ReadElsewhere(Exception):
    """Another process has read on in the meantime: what was made of the same part of the log is void."""


async def read_position(tx: Read, name: str) -> int | None:
    """How far a reader has come; None where it never began."""
    position: int | None = await tx.fetch_value(select(log_readers.c.position).where(log_readers.c.name == name))
    return position


def store_position(tx: Write, name: str, position: int) -> None:
    """Put off: note how far a reader has come of which there is only one."""
    tx.upsert(log_readers, name=name, position=position)


async def move_position(tx: Write, name: str, before: int | None, now: int) -> None:
    """Note how far a reader has come that several processes may be. Raises ReadElsewhere: let it undo the write."""
    if before is None:
        if await read_position(tx, name) is not None:
            raise ReadElsewhere(name)
        await tx.execute(insert(log_readers).values(name=name, position=now))
        return
    statement = update(log_readers).where(log_readers.c.name == name, log_readers.c.position == before)
    if not await tx.execute(statement.values(position=now)):
        raise ReadElsewhere(name)
