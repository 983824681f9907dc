"""Users of other servers join, leave and knock through this one, and invite its users."""

from typing import Any

from homeserver.services.receive_invite import ReceiveInvite
from homeserver.services.resident import ResidentServer
from homeserver.web.request import Request
from homeserver.web.responses import Json


class MembershipHandlers:
    """server-server-api §Joining Rooms, §Inviting to a room, §Leaving Rooms, §Knocking upon a room"""

    def __init__(self, resident: ResidentServer, invites: ReceiveInvite) -> None:
        self._resident = resident
        self._invites = invites

    async def make_join(self, request: Request) -> dict[str, Any]:
        path = request.path
        return await self._resident.make_join(request.signed_by, path["roomId"], path["userId"], _versions(request))

    async def send_join(self, request: Request) -> bytes:
        path = request.path
        omit_members = request.query.bool_("omit_members", False)
        return await self._resident.send_join(
            request.signed_by, path["roomId"], path["eventId"], request.body, omit_members=omit_members
        )

    async def send_join_v1(self, request: Request) -> bytes:
        """The first version of the endpoint: a status in the body too."""
        return b"[200,%b]" % await self.send_join(request)

    async def make_knock(self, request: Request) -> dict[str, Any]:
        path = request.path
        return await self._resident.make_knock(request.signed_by, path["roomId"], path["userId"], _versions(request))

    async def send_knock(self, request: Request) -> dict[str, Any]:
        path = request.path
        state = await self._resident.send_knock(request.signed_by, path["roomId"], path["eventId"], request.body)
        return {"knock_room_state": state}

    async def make_leave(self, request: Request) -> dict[str, Any]:
        return await self._resident.make_leave(request.signed_by, request.path["roomId"], request.path["userId"])

    async def send_leave(self, request: Request) -> dict[str, Any]:
        path = request.path
        await self._resident.send_leave(request.signed_by, path["roomId"], path["eventId"], request.body)
        return {}

    async def send_leave_v1(self, request: Request) -> Json:
        """The first version of the endpoint: a status in the body too."""
        return Json([200, await self.send_leave(request)])

    async def invite(self, request: Request) -> dict[str, Any]:
        path, body = request.path, request.body
        signed = await self._invites.receive(
            request.signed_by,
            path["roomId"],
            path["eventId"],
            body["room_version"],
            body["event"],
            body.get("invite_room_state") or [],
        )
        return {"event": signed}

    async def invite_v1(self, request: Request) -> Json:
        """The first version of the endpoint knows room versions 1 and 2 only."""
        path, event = request.path, request.body
        unsigned = event.get("unsigned")
        room_state = unsigned.get("invite_room_state") if isinstance(unsigned, dict) else None
        signed = await self._invites.receive(
            request.signed_by,
            path["roomId"],
            path["eventId"],
            "1",
            event,
            room_state if isinstance(room_state, list) else [],
        )
        return Json([200, {"event": signed}])


def _versions(request: Request) -> list[str]:
    return request.query.all("ver") or ["1"]
