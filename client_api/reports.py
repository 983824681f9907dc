"""Reports. client-server-api §Reporting Content"""

from typing import Any

from homeserver.services.reports import Reports
from homeserver.web.request import Request


class ReportHandlers:
    """Takes reports of rooms, events and users."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def room(self, request: Request) -> dict[str, Any]:
        """Report a room."""
        await self._reports.room(request.user.user_id, request.path["roomId"], request.body["reason"])
        return {}

    async def event(self, request: Request) -> dict[str, Any]:
        """Report an event."""
        path, body = request.path, request.body
        reason, score = body.get("reason") or "", body.get("score")
        await self._reports.event(request.user.user_id, path["roomId"], path["eventId"], reason, score)
        return {}

    async def user(self, request: Request) -> dict[str, Any]:
        """Report a user."""
        await self._reports.user(request.user.user_id, request.path["userId"], request.body["reason"])
        return {}
