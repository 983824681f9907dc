"""Third-party invites: exchanged between servers, and told of by identity servers."""

from typing import Any

from homeserver.services.third_party_invites import ThirdPartyInvites
from homeserver.web.request import Request


class ThirdPartyInviteHandlers:
    """server-server-api §Third-party invites"""

    def __init__(self, invites: ThirdPartyInvites) -> None:
        self._invites = invites

    async def exchange(self, request: Request) -> dict[str, Any]:
        await self._invites.exchange(request.signed_by, request.path["roomId"], request.body)
        return {}

    async def bound(self, request: Request) -> dict[str, Any]:
        """Anybody may say so: what counts is what the identity server signed, which the room's rules check."""
        await self._invites.bound(request.body["mxid"], request.body["invites"])
        return {}
