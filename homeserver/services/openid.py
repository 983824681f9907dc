"""OpenID tokens: proof for a third party of who somebody is. https://spec.matrix.org/v1.19/client-server-api/#openid"""

from typing import Any, Final

from homeserver.errors import Forbidden, UnknownToken
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.sessions import token_hash
from storage import tokens
from storage.database import Database, Write

_LIFETIME_S: Final = 3600


class OpenId:
    """Makes these tokens, and tells their users to whoever brings one (server-server-api §OpenID)."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness, server_name: str) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name

    async def request_token(self, requester_id: str, user_id: str) -> dict[str, Any]:
        """A token for the requester. Raises Forbidden where it is for somebody else."""
        if requester_id != user_id:
            raise Forbidden("You can only ask for a token for yourself")
        token = f"hot_{self._randomness.token(32)}"
        expires_at = self._clock.now_ms() + _LIFETIME_S * 1000

        async def operation(tx: Write) -> None:
            tokens.put_openid_token(tx, token_hash(token), user_id, expires_at)

        await self._database.write(operation)
        return {
            "access_token": token,
            "expires_in": _LIFETIME_S,
            "matrix_server_name": self._server_name,
            "token_type": "Bearer",
        }

    async def user_of(self, token: str) -> str:
        """The user that a token stands for. Raises UnknownToken."""
        async with self._database.read() as tx:
            user_id = await tokens.user_of_openid_token(tx, token_hash(token), self._clock.now_ms())
        if user_id is None:
            raise UnknownToken("The OpenID token is not known, or has expired")
        return user_id
