"""What users keep on the server for themselves: account data, of the account or of one room, and filters."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select

from storage.database import Position, Read, Write
from storage.tables import account_data, filters


@dataclass(frozen=True, slots=True)
class AccountDataRow:
    """One piece of account data. `room_id` is empty where it belongs to the account; `content` is JSON text."""

    room_id: str
    type: str
    content: bytes
    position: int

    @property
    def is_deleted(self) -> bool:
        """Whether only the fact is kept that there was something."""
        return self.content == b"{}"


async def all_of(tx: Read, user_id: str) -> list[AccountDataRow]:
    """Everything the user keeps, the oldest change first."""
    table = account_data.c
    statement = (
        select(table.room_id, table.type, table.content, table.position)
        .where(table.user_id == user_id)
        .order_by(table.position)
    )
    return [AccountDataRow(*row) for row in await tx.fetch_all(statement)]


async def contents_of_type(tx: Read, data_type: str, user_ids: Collection[str] | None = None) -> dict[str, bytes]:
    """The account data of one type of every user that has it, or of these: user id → JSON text."""
    table = account_data.c
    statement = select(table.user_id, table.content).where(table.type == data_type, table.room_id == "")
    if user_ids is not None:
        statement = statement.where(table.user_id.in_(user_ids))
    return {user_id: content for user_id, content in await tx.fetch_all(statement)}


def put(tx: Write, user_id: str, room_id: str, data_type: str, content: bytes, position: Position) -> None:
    """Set one piece of account data."""
    tx.upsert(account_data, user_id=user_id, room_id=room_id, type=data_type, content=content, position=position)


async def filter_of(tx: Read, user_id: str, filter_id: str) -> bytes | None:
    """A stored filter as JSON text."""
    table = filters.c
    return await tx.fetch_value(select(table.filter).where(table.user_id == user_id, table.filter_id == filter_id))


async def filter_id_of(tx: Read, user_id: str, definition: bytes) -> str | None:
    """The id of a filter that the user stored before with the same definition."""
    table = filters.c
    return await tx.fetch_value(select(table.filter_id).where(table.user_id == user_id, table.filter == definition))


async def count_filters(tx: Read, user_id: str) -> int:
    """How many filters the user has stored."""
    return int(await tx.fetch_value(select(func.count()).where(filters.c.user_id == user_id)) or 0)


def put_filter(tx: Write, user_id: str, filter_id: str, definition: bytes) -> None:
    """Keep a filter."""
    tx.upsert(filters, user_id=user_id, filter_id=filter_id, filter=definition)
