"""The summary of one room, for somebody who may not be in it.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson

from homeserver.core.identifiers import InvalidIdentifier, is_valid_room_id, server_name_of
from homeserver.errors import InvalidParam, NotFound
from homeserver.services.directory import Directory
from homeserver.services.remote_summaries import RemoteSummaries
from homeserver.services.room_summaries import RoomSummaries, summary
from storage import memberships
from storage.database import Database


class RoomPreview:
    """Of rooms of this server, else by others; of an invite what came with it."""

    def __init__(
        self, database: Database, directory: Directory, summaries: RoomSummaries, remote: RemoteSummaries
    ) -> None:
        self._database = database
        self._directory = directory
        self._summaries = summaries
        self._remote = remote

    async def of(self, user_id: str | None, room_id_or_alias: str, via: Sequence[str] = ()) -> dict[str, Any]:
        """The summary with the user's `membership`. Raises NotFound also for what they may not see, InvalidParam."""
        room_id, servers = room_id_or_alias, list(via)
        if room_id.startswith("#"):
            room_id, found = await self._directory.resolve(room_id)
            servers += found
        elif not is_valid_room_id(room_id):
            raise InvalidParam("That is neither a room id nor an alias")
        membership = await self._membership(room_id, user_id)
        room = await self._room(room_id, user_id, membership, servers)
        if room is None:
            raise NotFound("There is no such room, or you may not see it")
        room.pop("children_state", None)
        if user_id is not None:
            room["membership"] = membership or "leave"
        return room

    async def _membership(self, room_id: str, user_id: str | None) -> str | None:
        if user_id is None:
            return None
        async with self._database.read() as tx:
            member = await memberships.membership_of(tx, room_id, user_id)
        return None if member is None else member.membership

    async def _room(
        self, room_id: str, user_id: str | None, membership: str | None, servers: list[str]
    ) -> dict[str, Any] | None:
        head = await self._summaries.resident_head(room_id)
        if head is not None:
            room = await self._summaries.of(head)
            return room if await self._summaries.may_user_see(head, room, user_id) else None
        with suppress(InvalidIdentifier):
            servers.append(server_name_of(room_id))
        remote = await self._remote.get(room_id, servers)
        if remote is not None and (membership == "invite" or await self._summaries.is_open_to(remote.room, user_id)):
            return dict(remote.room)
        if user_id is None or membership not in ("invite", "knock"):
            return None
        return await self._of_stripped_state(room_id, user_id)

    async def _of_stripped_state(self, room_id: str, user_id: str) -> dict[str, Any] | None:
        async with self._database.read() as tx:
            stripped = await memberships.stripped_state(tx, room_id, user_id)
        events = [] if stripped is None else orjson.loads(stripped)
        contents = {
            event["type"]: event["content"]
            for event in events
            if isinstance(event, dict)
            and event.get("state_key") == ""
            and isinstance(event.get("content"), dict)
            and isinstance(event.get("type"), str)
        }
        return summary(room_id, None, contents, 0) if contents else None
