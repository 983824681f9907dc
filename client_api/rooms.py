"""Rooms: creating them, and their state and members.

https://spec.matrix.org/v1.19/client-server-api/#rooms
"""

from typing import Any

import orjson

from homeserver.services.client_events import serialise
from homeserver.services.create_room import CreateRoom
from homeserver.services.membership import Membership
from homeserver.services.room_reading import RoomReading
from homeserver.web.request import Request


class RoomHandlers:
    """createRoom and what is read of rooms."""

    def __init__(self, create_room: CreateRoom, membership: Membership, reading: RoomReading) -> None:
        self._create_room = create_room
        self._membership = membership
        self._reading = reading

    async def create_room(self, request: Request) -> dict[str, Any]:
        room_id, alias = await self._create_room.create(request.user, request.body)
        return {"room_id": room_id} if alias is None else {"room_id": room_id, "room_alias": alias}

    async def joined_rooms(self, request: Request) -> dict[str, Any]:
        return {"joined_rooms": await self._membership.joined_rooms(request.user)}

    async def state(self, request: Request) -> bytes:
        return await self._reading.state(request.user, request.path["roomId"])

    async def state_event(self, request: Request) -> bytes:
        path = request.path
        state_key = path.get("stateKey", "")
        stored = await self._reading.state_event(request.user, path["roomId"], path["eventType"], state_key)
        if request.query.str_("format") == "event":
            return serialise(stored)
        return orjson.dumps(stored.shown.content)

    async def members(self, request: Request) -> bytes:
        query = request.query
        chunk = await self._reading.members(
            request.user,
            request.path["roomId"],
            at=query.str_("at"),
            membership=query.str_("membership"),
            not_membership=query.str_("not_membership"),
        )
        return b'{"chunk":' + chunk + b"}"

    async def joined_members(self, request: Request) -> dict[str, Any]:
        return {"joined": await self._reading.joined_members(request.user, request.path["roomId"])}
