"""Transactions of other servers that were processed already, so that one sent twice is answered with the same words."""

from sqlalchemy import delete, select

from storage.database import Read, Write
from storage.tables import inbound_transactions


async def response_to(tx: Read, origin: str, txn_id: str) -> bytes | None:
    """What was answered to a transaction, as JSON; None where it was not seen yet."""
    table = inbound_transactions
    return await tx.fetch_value(select(table.c.response).where(table.c.origin == origin, table.c.txn_id == txn_id))


def remember_response(tx: Write, origin: str, txn_id: str, response: bytes, received_at: int) -> None:
    """`received_at` in ms since the epoch."""
    tx.upsert(inbound_transactions, origin=origin, txn_id=txn_id, response=response, received_at=received_at)


async def forget_responses(tx: Write, before: int) -> int:
    """Drops what was received before a time (ms since the epoch); returns how many."""
    return await tx.execute(delete(inbound_transactions).where(inbound_transactions.c.received_at < before))
