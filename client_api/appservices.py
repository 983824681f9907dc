"""What only application services ask (application-service-api §Client-Server API Extensions)."""

from typing import Any

from homeserver.services.appservice_ping import AppservicePing
from homeserver.services.appservice_sender import AppserviceSender
from homeserver.services.directory import Directory
from homeserver.web.request import Request


class AppserviceHandlers:
    """Endpoints that want the token of an application service."""

    def __init__(self, ping: AppservicePing, sender: AppserviceSender, directory: Directory) -> None:
        self._ping = ping
        self._sender = sender
        self._directory = directory

    async def ping(self, request: Request) -> dict[str, Any]:
        appservice = request.user.appservice
        assert appservice is not None
        duration = await self._ping.ping(appservice, request.path["appserviceId"], request.body.get("transaction_id"))
        self._sender.try_again(appservice)
        return {"duration_ms": duration}

    async def list_room(self, request: Request) -> dict[str, Any]:
        appservice = request.user.appservice
        assert appservice is not None
        is_listed = request.body["visibility"] == "public"
        network = (appservice.id, request.path["networkId"])
        await self._directory.set_listed(*network, request.path["roomId"], is_listed)
        return {}
