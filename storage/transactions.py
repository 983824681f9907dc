"""The answers to requests that must happen only once."""

from sqlalchemy import delete, select

from storage.database import Read, Write
from storage.tables import transactions


async def result_of(tx: Read, user_id: str, device_id: str, key: str) -> bytes | None:
    """What a request was answered with (JSON), None where it was not made yet."""
    statement = select(transactions.c.result).where(
        transactions.c.user_id == user_id, transactions.c.device_id == device_id, transactions.c.key == key
    )
    value = await tx.fetch_value(statement)
    return None if value is None else bytes(value)


def put(tx: Write, user_id: str, device_id: str, key: str, result: bytes, created_at: int) -> None:
    """Put off: note the answer to a request. `created_at` in ms. The commit refuses one that was answered before."""
    tx.insert(transactions, user_id=user_id, device_id=device_id, key=key, result=result, created_at=created_at)


async def forget_before(tx: Write, created_at: int) -> int:
    """Forget answers that nobody will ask for again; returns how many."""
    return await tx.execute(delete(transactions).where(transactions.c.created_at < created_at))
