"""Notices of the server, sent by its administrators: the endpoints that tools made for Synapse know."""

from typing import Any

from homeserver.services.idempotency import Scope
from homeserver.services.server_notices import MESSAGE, Notice, ServerNotices
from homeserver.web.request import Request


class ServerNoticeHandlers:
    """Tells a user something."""

    def __init__(self, notices: ServerNotices) -> None:
        self._notices = notices

    async def send(self, request: Request) -> dict[str, Any]:
        return await self._send(request, None)

    async def send_once(self, request: Request) -> dict[str, Any]:
        user = request.user
        return await self._send(
            request, Scope(user.user_id, user.device_id or "", f"server notice:{request.path['txnId']}")
        )

    async def _send(self, request: Request, scope: Scope | None) -> dict[str, Any]:
        body = request.body
        notice = Notice(body["content"], body.get("type") or MESSAGE, body.get("state_key"))
        return {"event_id": await self._notices.send(body["user_id"], notice, scope=scope)}
