"""Typing, receipts, read markers, presence. client-server-api §Typing Notifications, §Receipts, §Presence"""

from typing import Any

from client_api.sync import require_own
from homeserver.errors import Forbidden
from homeserver.services.presence import Presence
from homeserver.services.read_markers import ReadMarkers
from homeserver.services.typing import DEFAULT_TIMEOUT_MS, Typing
from homeserver.web.request import Request


class EphemeralHandlers:
    """What passes."""

    def __init__(self, typing: Typing, read_markers: ReadMarkers, presence: Presence) -> None:
        self._typing = typing
        self._read_markers = read_markers
        self._presence = presence

    async def set_typing(self, request: Request) -> dict[str, Any]:
        """Begin or stop to type."""
        require_own(request)
        user_id, room_id = request.user.user_id, request.path["roomId"]
        await self._read_markers.require_joined(user_id, room_id)
        timeout_ms = int(request.given("timeout", DEFAULT_TIMEOUT_MS))
        self._typing.set(user_id, room_id, request.body["typing"], timeout_ms)
        self._presence.active(user_id)
        return {}

    async def post_receipt(self, request: Request) -> dict[str, Any]:
        """A receipt for an event."""
        user_id, path = request.user.user_id, request.path
        await self._read_markers.send_receipt(
            user_id, path["roomId"], path["receiptType"], path["eventId"], request.body.get("thread_id")
        )
        self._presence.active(user_id)
        return {}

    async def set_read_marker(self, request: Request) -> dict[str, Any]:
        """The read marker, with receipts."""
        body = request.body
        await self._read_markers.set(
            request.user.user_id,
            request.path["roomId"],
            fully_read=body.get("m.fully_read"),
            read=body.get("m.read"),
            read_private=body.get("m.read.private"),
        )
        return {}

    async def set_presence(self, request: Request) -> dict[str, Any]:
        """Say how one is."""
        require_own(request)
        user = request.user
        body = request.body
        await self._presence.set(user.user_id, user.device_id or "", body["presence"], body.get("status_msg"))
        return {}

    async def get_presence(self, request: Request) -> dict[str, Any]:
        """How somebody is whom one shares a room with."""
        user_id, other = request.user.user_id, request.path["userId"]
        if user_id != other and not await self._presence.may_see(user_id, other):
            raise Forbidden("You share no room with this user")
        return self._presence.content_of(await self._presence.get(other))
