"""Who an OpenID token stands for. server-server-api §OpenID"""

from typing import Any

from homeserver.services.openid import OpenId
from homeserver.web.request import Request


class OpenIdHandlers:
    """Anybody may ask who has the token."""

    def __init__(self, openid: OpenId) -> None:
        self._openid = openid

    async def userinfo(self, request: Request) -> dict[str, Any]:
        """The user whose token it is."""
        return {"sub": await self._openid.user_of(request.query.require("access_token"))}
