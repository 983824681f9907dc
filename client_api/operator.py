"""Orders of the server's operator, from its command line: `hearth user`, `hearth token`, `hearth reports`.

Not for clients, and nothing that a reverse proxy should lead here.
"""

from typing import Any

from homeserver.errors import MissingParam
from homeserver.services.operator_access import OperatorAccess
from homeserver.services.operator_orders import OperatorOrders
from homeserver.web.request import Request


class OperatorHandlers:
    """Whoever can read the signing key may order everything."""

    def __init__(self, access: OperatorAccess, orders: OperatorOrders) -> None:
        self._access = access
        self._orders = orders

    async def order(self, request: Request) -> dict[str, Any]:
        body = request.body
        self._access.require(request.http.headers.get("Authorization"), request.raw_body, body)
        order, arguments = body.get("order"), body.get("arguments")
        if not isinstance(order, str) or not isinstance(arguments, dict):
            raise MissingParam("order and arguments are needed")
        return {"result": await self._orders.perform(order, arguments)}
