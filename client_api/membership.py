"""Joining, inviting, leaving, kicking, banning, knocking, forgetting.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from typing import Any

from homeserver.core.identifiers import is_valid_room_id
from homeserver.errors import InvalidParam, MissingParam
from homeserver.services.directory import Directory
from homeserver.services.membership import Membership
from homeserver.web.request import Request

# What else a client sends with a join becomes part of the member event.
_NOT_OF_CLIENTS = ("third_party_signed", "reason", "membership", "join_authorised_via_users_server")


class MembershipHandlers:
    """Operations on memberships."""

    def __init__(self, membership: Membership, directory: Directory) -> None:
        self._membership = membership
        self._directory = directory

    async def join(self, request: Request) -> dict[str, Any]:
        return await self._join(request, request.path["roomId"], [])

    async def join_by_id_or_alias(self, request: Request) -> dict[str, Any]:
        return await self._join(request, *await self._room_of(request))

    async def knock(self, request: Request) -> dict[str, Any]:
        room_id, via = await self._room_of(request)
        return {"room_id": await self._membership.knock(request.user, room_id, via=via, reason=_reason(request))}

    async def invite(self, request: Request) -> dict[str, Any]:
        user_id = request.body.get("user_id")
        if user_id is None:
            if "medium" in request.body:
                raise InvalidParam("This server cannot invite by e-mail address or phone number")
            raise MissingParam("user_id is missing")
        if not isinstance(user_id, str):
            raise InvalidParam("user_id must be a string")
        await self._membership.invite(request.user, request.path["roomId"], user_id, reason=_reason(request))
        return {}

    async def leave(self, request: Request) -> dict[str, Any]:
        await self._membership.leave(request.user, request.path["roomId"], reason=_reason(request))
        return {}

    async def kick(self, request: Request) -> dict[str, Any]:
        user_id = request.body["user_id"]
        await self._membership.kick(request.user, request.path["roomId"], user_id, reason=_reason(request))
        return {}

    async def ban(self, request: Request) -> dict[str, Any]:
        user_id = request.body["user_id"]
        await self._membership.ban(request.user, request.path["roomId"], user_id, reason=_reason(request))
        return {}

    async def unban(self, request: Request) -> dict[str, Any]:
        user_id = request.body["user_id"]
        await self._membership.unban(request.user, request.path["roomId"], user_id, reason=_reason(request))
        return {}

    async def forget(self, request: Request) -> dict[str, Any]:
        await self._membership.forget(request.user, request.path["roomId"])
        return {}

    async def _join(self, request: Request, room_id: str, via: list[str]) -> dict[str, Any]:
        joined = await self._membership.join(
            request.user,
            room_id,
            via=via,
            reason=_reason(request),
            third_party_signed=request.body.get("third_party_signed"),
            content={name: value for name, value in request.body.items() if name not in _NOT_OF_CLIENTS},
        )
        return {"room_id": joined}

    async def _room_of(self, request: Request) -> tuple[str, list[str]]:
        """The room that is meant, and servers to ask for it."""
        target = request.path["roomIdOrAlias"]
        via = [*request.query.all("via"), *request.query.all("server_name")]
        if target.startswith("#"):
            room_id, servers = await self._directory.resolve(target)
            return room_id, [*via, *servers]
        if not is_valid_room_id(target):
            raise InvalidParam("That is neither a room id nor a room alias")
        return target, via


def _reason(request: Request) -> str | None:
    reason = request.body.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise InvalidParam("reason must be a string")
    return reason
