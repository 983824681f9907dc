"""Profiles of other servers' users, asked for over federation (server-server-api §Querying for information)."""

from typing import Any

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.errors import BadGateway, Forbidden, NotFound


class FederatedProfiles:
    """Asks the user's own server each time."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def query(self, user_id: str, field: str | None) -> dict[str, Any]:
        """A profile, or one field of it. Raises NotFound, Forbidden, BadGateway."""
        server_name = user_id.partition(":")[2]
        try:
            return await self._client.query_profile(server_name, user_id, field)
        except FederationError as error:
            if error.errcode == "M_FORBIDDEN":
                raise Forbidden("The user's server does not tell profiles") from error
            if error.is_refusal:
                raise NotFound("The user's server knows of no such profile") from error
            raise BadGateway("The user's server could not be asked for the profile") from error
