"""`RemoteDirectory` over federation."""

from collections.abc import Mapping
from typing import Any, Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.identifiers import is_valid_room_id, is_valid_server_name
from homeserver.errors import BadGateway, Forbidden, InvalidParam

_TOKENS: Final = ("next_batch", "prev_batch")


class FederationDirectory:
    """Asks other servers for their published rooms."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def public_rooms(self, server_name: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """What the server answers to the body of a POST publicRooms request.

        Raises InvalidParam, Forbidden, BadGateway.
        """
        if not is_valid_server_name(server_name):
            raise InvalidParam("server is not a server name")
        try:
            answer = await self._client.public_rooms(server_name, dict(query))
        except FederationError as error:
            if error.errcode == "M_FORBIDDEN":
                raise Forbidden(error.message) from error
            raise BadGateway(f"{server_name} could not be asked: {error.message}") from error
        chunk = answer.get("chunk")
        rooms = [room for room in chunk if _is_room(room)] if isinstance(chunk, list) else []
        checked: dict[str, Any] = {"chunk": rooms}
        checked.update({name: answer[name] for name in _TOKENS if isinstance(answer.get(name), str)})
        if type(answer.get("total_room_count_estimate")) is int:
            checked["total_room_count_estimate"] = answer["total_room_count_estimate"]
        return checked


def _is_room(room: object) -> bool:
    """Whether an entry has what clients rely on."""
    if not isinstance(room, dict) or not isinstance(room.get("room_id"), str) or not is_valid_room_id(room["room_id"]):
        return False
    flags = all(isinstance(room.get(name), bool) for name in ("world_readable", "guest_can_join"))
    return flags and type(room.get("num_joined_members")) is int
