"""Transactions: what other servers push here."""

from typing import Any

from homeserver.services.receive_transaction import ReceiveTransaction
from homeserver.web.request import Request


class TransactionHandlers:
    """server-server-api §Transactions"""

    def __init__(self, receive: ReceiveTransaction) -> None:
        self._receive = receive

    async def send(self, request: Request) -> dict[str, Any]:
        body = request.body
        results = await self._receive.receive(
            request.signed_by, request.path["txnId"], body["pdus"], body.get("edus") or []
        )
        return {"pdus": results}
