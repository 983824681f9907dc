"""New rooms: all their first events in one write.

https://spec.matrix.org/v1.19/client-server-api/#creation
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from homeserver.core.event_builder import EventDraft
from homeserver.core.room_versions import DEFAULT_ROOM_VERSION, KNOWN_VERSIONS, RoomVersion
from homeserver.errors import BadJson, Forbidden, InvalidRoomState, MatrixError, UnsupportedRoomVersion
from homeserver.runtime.random import Randomness
from homeserver.services.directory import Directory
from homeserver.services.events import StoredEvent
from homeserver.services.membership import Membership
from homeserver.services.persist_event import PersistEvent
from homeserver.services.profile_reader import ProfileReader
from homeserver.services.room_head import RoomHead
from homeserver.services.room_heads import HeadDraft, RoomHeads
from homeserver.services.room_policy import RoomPolicy
from homeserver.services.room_presets import NewRoom, create_content, parse, power_levels_content, state_events
from homeserver.services.send_event import SendEvent
from homeserver.services.suspension import refuse_suspended
from storage.database import Database, Write
from storage.tables import rooms

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester

log = logging.getLogger(__name__)


class CreateRoom:
    """Creates rooms for local users."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        send_event: SendEvent,
        persist: PersistEvent,
        membership: Membership,
        directory: Directory,
        profiles: ProfileReader,
        *,
        server_name: str,
        randomness: Randomness,
        default_room_version: str = DEFAULT_ROOM_VERSION,
        policy: RoomPolicy = RoomPolicy(),  # noqa: B008 (it is frozen)
    ) -> None:
        self._database = database
        self._heads = heads
        self._send = send_event
        self._persist = persist
        self._membership = membership
        self._directory = directory
        self._profiles = profiles
        self._server_name = server_name
        self._randomness = randomness
        self._default_room_version = default_room_version
        self._policy = policy

    async def create(self, requester: "Requester", body: Mapping[str, Any]) -> tuple[str, str | None]:
        """Create a room as the body of a createRoom request says; returns (room id, alias or None).

        Raises `BadJson`, `InvalidParam`, `UnsupportedRoomVersion`, `RoomInUse` for a taken alias, `InvalidRoomState`
        where the events that were asked for do not allow each other, `Forbidden` where the operator does not want it.
        """
        refuse_suspended(requester)
        self._policy.check_creation(requester)
        version = self.version(body.get("room_version"))
        new = self._policy.applied_to(parse(body))
        if new.is_public:
            self._policy.check_publication(requester)
        alias = None
        if new.alias_localpart is not None:
            alias = self._directory.local_alias(new.alias_localpart)
        profile = await self._profiles.member_fields(requester.user_id)
        new = replace(new, invite=tuple(await self._membership.invites.taking(new.invite, requester.user_id)))

        async def operation(tx: Write) -> str:
            draft = await self.begin(tx, version, requester.user_id, create_content(new, version, requester.user_id))
            try:
                await self.fill(tx, draft, new, requester.user_id, alias, profile)
            except Forbidden as error:
                raise InvalidRoomState(f"The room cannot be created like this: {error.message}") from error
            if alias is not None:
                await self._directory.add(tx, alias, draft.room_id, [self._server_name], requester.user_id)
            if new.is_public:
                tx.update(rooms, {"room_nid": draft.room_nid}, is_public=True)
            return draft.room_id

        room_id = await self._database.write(operation)
        await self._invite_elsewhere(requester, room_id, new)
        return room_id, alias

    def version(self, identifier: Any = None) -> RoomVersion:
        """The room version that was asked for, else that of new rooms. Raises `UnsupportedRoomVersion`, `BadJson`."""
        if identifier is None:
            identifier = self._default_room_version
        if not isinstance(identifier, str):
            raise BadJson("room_version must be a string")
        version = KNOWN_VERSIONS.get(identifier)
        if version is None:
            raise UnsupportedRoomVersion(f"This server does not support room version {identifier!r}")
        return version

    def new_room_id(self) -> str:
        """An id for a room of the versions that have ids of their own."""
        return f"!{self._randomness.opaque_id()}:{self._server_name}"

    async def begin(
        self, tx: Write, version: RoomVersion, creator: str, content: Mapping[str, Any], room_id: str | None = None
    ) -> HeadDraft:
        """As part of a write: a room with nothing but its m.room.create event, whose hash is the room's id in the newer
        room versions. `content` as of `create_content`."""
        if not version.room_id_is_create_event_hash:
            room_id = room_id or self.new_room_id()
        draft = EventDraft("m.room.create", creator, dict(content), room_id, state_key="")
        nothing = RoomHead(0, room_id or "", version)
        event = await self._send.build(nothing, draft, tx=tx)
        while await self._heads.draft(tx, event.room_id) is not None:
            # The same user asked for the same room in the same millisecond: without this they would be one.
            later = event.origin_server_ts + 1
            event = await self._send.build(nothing, draft, tx=tx, origin_server_ts=later)
        room = self._heads.create(tx, event.room_id, version, creator)
        await self._send.check(room, event, tx)
        await self._persist.append(tx, room, event, is_local=True, is_new=True)
        return room

    async def fill(
        self, tx: Write, room: HeadDraft, new: NewRoom, creator: str, alias: str | None, profile: Mapping[str, Any]
    ) -> None:
        """As part of a write: what follows the m.room.create event, to the invites of this server's users."""
        async def add(event_type: str, state_key: str, content: dict[str, Any]) -> StoredEvent:
            return await self._send.append(tx, room, EventDraft(event_type, creator, content, room.room_id, state_key))

        await add("m.room.member", creator, {**profile, "membership": "join"})
        power_levels = power_levels_content(new, room.room_version, [creator])
        await add("m.room.power_levels", "", power_levels)
        for event_type, state_key, content in state_events(new, alias):
            await add(event_type, state_key, content)
        for user_id in new.invite:
            if self._is_local(user_id) and user_id != creator:
                extra = {"is_direct": True} if new.is_direct else {}
                content = await self._membership.invite_content(user_id, extra)
                await add("m.room.member", user_id, content)

    async def _invite_elsewhere(self, requester: "Requester", room_id: str, new: NewRoom) -> None:
        for user_id in new.invite:
            if not self._is_local(user_id):
                try:
                    await self._membership.invite(requester, room_id, user_id, is_direct=new.is_direct)
                except MatrixError as error:
                    # The room exists: that somebody could not be reached is no reason to say it does not.
                    log.info("could not invite to the new room %s: %s", room_id, error.errcode)

    def _is_local(self, user_id: str) -> bool:
        return user_id.endswith(":" + self._server_name)
