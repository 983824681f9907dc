"""Local users and rooms that this server is not in: whom to ask, and how to leave when nobody answers."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from signedjson.types import SigningKey

from homeserver.core.event_builder import EventDraft, build_event
from homeserver.core.events import MEMBER
from homeserver.core.identifiers import InvalidIdentifier, is_valid_server_name, server_name_of
from homeserver.errors import Forbidden, MatrixError
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.events import Events
from homeserver.services.import_room import ImportRoom
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.room_heads import RoomHeads
from storage import memberships
from storage.database import Database, Write

log = logging.getLogger(__name__)


class OutOfRoom:
    """What can be done about a room from outside of it."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        import_room: ImportRoom,
        remote: RemoteRooms,
        *,
        server_name: str,
        signing_key: SigningKey,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._import = import_room
        self._remote = remote
        self._server_name = server_name
        self._signing_key = signing_key
        self._clock = clock
        self._randomness = randomness

    async def servers(self, room_id: str, user_id: str, via: Sequence[str] = ()) -> list[str]:
        """Other servers that may be in the room: those named by the client, that of whoever invited the user, those
        that are known since the user knocked. Where there is none, those that were in it when this server last was, or
        that of the room id in older room versions.
        """
        found = [server for server in via if is_valid_server_name(server)]
        async with self._database.read() as tx:
            membership = await memberships.membership_of(tx, room_id, user_id)
        if membership is not None and membership.membership == "invite":
            found.append(_server_of(membership.sender))
        if membership is not None and membership.membership == "knock":
            # Those who made the room what was told of it with the knock: room ids of later versions name no server.
            found += [_server_of(str(event.get("sender"))) for event in await self.stripped_state(room_id, user_id)]
        head = None if found else await self._heads.get(room_id)
        if head is not None:
            found += head.hosts_besides()
        others = [server for server in dict.fromkeys(found) if server and server != self._server_name]
        # A room id says where a room was created, not who is in it.
        last_resort = _server_of(room_id)
        return others or [server for server in (last_resort,) if server and server != self._server_name]

    async def leave(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        """Reject an invite or take back a knock. Where no server of the room can be reached, for this server alone."""
        try:
            await self._remote.leave(user_id, room_id, await self.servers(room_id, user_id), content)
        except MatrixError as error:
            log.info("leaving %s alone: %s", room_id, error.errcode)
            await self._leave_alone(user_id, room_id, content)

    async def stripped_state(self, room_id: str, user_id: str) -> list[dict[str, Any]]:
        """What was told of the room with the user's invite or knock."""
        async with self._database.read() as tx:
            found = await memberships.stripped_state(tx, room_id, user_id)
        state: list[dict[str, Any]] = [] if found is None else orjson.loads(found)
        return state

    async def _leave_alone(self, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        async def operation(tx: Write) -> None:
            room = await self._heads.draft(tx, room_id)
            current = await memberships.membership_of(tx, room_id, user_id)
            if room is None or current is None:
                raise Forbidden("You are not in the room")
            before = list((await self._events.get_many_by_nid((current.event_nid,), tx)).values())
            event = build_event(
                EventDraft(MEMBER, user_id, dict(content), room_id, state_key=user_id),
                room.room_version,
                prev_events=[stored.event for stored in before],
                auth_events=[stored.event for stored in before],
                depth=max((stored.event.depth for stored in before), default=0) + 1,
                origin_server_ts=self._clock.now_ms(),
                server_name=self._server_name,
                signing_key=self._signing_key,
                event_id_opaque=self._randomness.opaque_id(),
            )
            await self._import.membership(tx, room, event)

        head = await self._heads.get(room_id)
        await self._database.write(operation, rooms=() if head is None else (head.room_nid,))


def _server_of(identifier: str) -> str:
    try:
        return server_name_of(identifier)
    except InvalidIdentifier:
        return ""
