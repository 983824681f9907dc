"""What only application services ask (application-service-api §Client-Server API Extensions)."""

from typing import Any

from homeserver.services.appservice_ping import AppservicePing
from homeserver.web.request import Request


class AppserviceHandlers:
    """Endpoints that want the token of an application service."""

    def __init__(self, ping: AppservicePing) -> None:
        self._ping = ping

    async def ping(self, request: Request) -> dict[str, Any]:
        appservice = request.user.appservice
        assert appservice is not None
        duration = await self._ping.ping(appservice, request.path["appserviceId"], request.body.get("transaction_id"))
        return {"duration_ms": duration}
