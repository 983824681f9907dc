"""This server as the policy server of rooms. server-server-api §Policy Servers"""

from typing import Any

from homeserver.services.policy_servers import PolicySigner
from homeserver.web.request import Request


class PolicyHandlers:
    """Signs what it recommends."""

    def __init__(self, signer: PolicySigner) -> None:
        self._signer = signer

    async def sign(self, request: Request) -> dict[str, Any]:
        return await self._signer.sign(request.signed_by, request.body)
