"""Rooms that new people are in from the start: they join them when their account is made."""

import logging
from collections.abc import Sequence

from homeserver.errors import Forbidden, MatrixError, NotFound, RoomInUse
from homeserver.services.accounts import Accounts
from homeserver.services.create_room import CreateRoom
from homeserver.services.directory import Directory
from homeserver.services.membership import Membership
from homeserver.services.sessions import Requester

log = logging.getLogger(__name__)


class AutoJoin:
    """`aliases` of any server. Those of this server whose room is missing are made where `may_create`, by `creator` (a
    user id) or by whoever comes first; the creator also invites where a room is not open."""

    def __init__(
        self,
        accounts: Accounts,
        membership: Membership,
        directory: Directory,
        create_room: CreateRoom,
        aliases: Sequence[str],
        *,
        server_name: str,
        may_create: bool,
        creator: str | None,
    ) -> None:
        self._accounts = accounts
        self._membership = membership
        self._directory = directory
        self._create_room = create_room
        self._aliases = tuple(dict.fromkeys(aliases))
        self._suffix = f":{server_name}"
        self._may_create = may_create
        self._creator = creator

    async def welcome(self, user_id: str) -> None:
        """A new user joins all of them. What fails is logged."""
        for alias in self._aliases:
            try:
                await self._join(user_id, alias)
            except MatrixError as error:
                log.warning("%s, who is new, could not join %s: %s", user_id, alias, error)

    async def _join(self, user_id: str, alias: str) -> None:
        room_id, via = await self._room(user_id, alias)
        requester = Requester(user_id, None)
        try:
            await self._membership.join(requester, room_id, via=via)
        except Forbidden:
            if self._creator is None or self._creator == user_id:
                raise
            await self._membership.invite(Requester(self._creator, None), room_id, user_id)
            await self._membership.join(requester, room_id, via=via)

    async def _room(self, user_id: str, alias: str) -> tuple[str, list[str]]:
        try:
            return await self._directory.resolve(alias)
        except NotFound:
            if not (self._may_create and alias.endswith(self._suffix)):
                raise
        creator = await self._maker(user_id)
        body = {"preset": "public_chat", "room_alias_name": alias[1:].removesuffix(self._suffix)}
        try:
            room_id, _ = await self._create_room.create(Requester(creator, None, is_admin=True), body)
        except RoomInUse:  # somebody else who is new was quicker
            return await self._directory.resolve(alias)
        log.info("the room %s was made by %s, for everybody who is new", alias, creator)
        return room_id, []

    async def _maker(self, user_id: str) -> str:
        if self._creator is None:
            return user_id
        maker = await self._accounts.find(self._creator)
        if maker is None or maker.deactivated:
            raise NotFound(f"there is no {self._creator}, who should make the room (registration.auto_join_creator)")
        return self._creator
