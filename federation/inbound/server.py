"""What the server says of itself."""

from typing import Any

from homeserver.errors import NotFound
from homeserver.web.request import Request


class ServerHandlers:
    """server-server-api §Server implementation and §Resolving server names"""

    def __init__(self, *, version: str, well_known_server: str | None) -> None:
        self._version = version
        self._well_known_server = well_known_server

    async def get_version(self, request: Request) -> dict[str, Any]:
        return {"server": {"name": "Hearth", "version": self._version}}

    async def get_well_known(self, request: Request) -> dict[str, Any]:
        if self._well_known_server is None:
            raise NotFound("This server is found without delegation")
        return {"m.server": self._well_known_server}
