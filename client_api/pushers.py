"""Pushers and notifications. client-server-api §Push Notifications"""

from typing import Any

from homeserver.services.notifications import Notifications
from homeserver.services.pushers import Pushers
from homeserver.web.request import Request


class PusherHandlers:
    """Where whoever asks wants to be told of events, and of which they were."""

    def __init__(self, pushers: Pushers, notifications: Notifications) -> None:
        self._pushers = pushers
        self._notifications = notifications

    async def pushers(self, request: Request) -> dict[str, Any]:
        """All pushers."""
        return {"pushers": await self._pushers.of_user(request.user.user_id)}

    async def set(self, request: Request) -> dict[str, Any]:
        """Create, change or delete a pusher."""
        await self._pushers.set(request.user, request.body)
        return {}

    async def notifications(self, request: Request) -> dict[str, Any]:
        """A page of notifications, the newest first."""
        query = request.query
        return await self._notifications.page(
            request.user.user_id,
            query.str_("from"),
            query.int_("limit", 20, minimum=1),
            only_highlights="highlight" in query.str_("only", "").split(","),
        )
