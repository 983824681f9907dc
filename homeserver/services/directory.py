"""Room aliases, and which rooms are shown in the directory.

https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from homeserver.core.event_builder import EventDraft
from homeserver.core.identifiers import is_valid_room_alias
from homeserver.errors import AliasExists, BadAlias, Forbidden, InvalidParam, MatrixError, NotFound, RoomInUse
from homeserver.services.events import Events
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.room_policy import RoomPolicy
from homeserver.services.send_event import SendEvent
from homeserver.services.unknown_names import NobodyKnows, UnknownNames
from storage import room_aliases
from storage import rooms as storage_rooms
from storage.database import Database, Write
from storage.room_aliases import RoomAlias
from storage.rooms import Network

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester

_CANONICAL_ALIAS = "m.room.canonical_alias"


class Directory:
    """Aliases of this server, and of others through them."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        send_event: SendEvent,
        remote: RemoteRooms,
        *,
        server_name: str,
        policy: RoomPolicy = RoomPolicy(),  # noqa: B008 (it is frozen)
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._send = send_event
        self._remote = remote
        self._server_name = server_name
        self._policy = policy
        # Set later by the composition root.
        self.unknown: UnknownNames = NobodyKnows()

    def local_alias(self, localpart: str) -> str:
        """The alias of this server with that localpart. Raises `InvalidParam`."""
        alias = f"#{localpart}:{self._server_name}"
        if not localpart or ":" in localpart or any(c.isspace() for c in localpart) or not is_valid_room_alias(alias):
            raise InvalidParam("That is not the local part of a room alias")
        return alias

    async def resolve(self, alias: str) -> tuple[str, list[str]]:
        """(room id, servers in the room) of an alias of any server. Raises `InvalidParam`, `NotFound`."""
        if not is_valid_room_alias(alias):
            raise InvalidParam("That is not a room alias")
        if not self._is_local(alias):
            return await self._remote.resolve_alias(alias)
        found = await self._stored(alias)
        if found is None and await self.unknown.alias(alias):
            found = await self._stored(alias)
        if found is None:
            raise NotFound("There is no such room alias")
        head = await self._heads.get(found.room_id)
        servers = list(head.hosts) if head is not None and head.hosts else found.servers
        return found.room_id, sorted(servers, key=lambda server: server != self._server_name)

    async def _stored(self, alias: str) -> RoomAlias | None:
        async with self._database.read() as tx:
            return await room_aliases.get(tx, alias)

    async def create(self, requester: "Requester", alias: str, room_id: str) -> None:
        """Point an alias of this server to a room that the user is in. Raises `InvalidParam`, `Forbidden`,
        `AliasExists`."""
        if not is_valid_room_alias(alias) or any(character.isspace() for character in alias):
            raise InvalidParam("That is not a room alias")
        if not self._is_local(alias):
            raise InvalidParam("The alias is of another server")
        head = await self._heads.get(room_id)
        if head is None or (requester.user_id not in head.joined and requester.appservice is None):
            raise Forbidden("You must be in the room to make an alias for it")
        servers = list(head.hosts)

        async def operation(tx: Write) -> None:
            try:
                await self.add(tx, alias, room_id, servers, requester.user_id)
            except RoomInUse as error:
                raise AliasExists(f"The room alias {alias} exists already") from error

        await self._database.write(operation)

    async def add(self, tx: Write, alias: str, room_id: str, servers: Sequence[str], creator: str) -> None:
        """As part of a write: a new alias. Raises `RoomInUse` where it is taken."""
        if await room_aliases.get(tx, alias) is not None:
            raise RoomInUse("The room alias is taken")
        await room_aliases.add(tx, RoomAlias(alias, room_id, list(servers), creator))

    async def delete(self, requester: "Requester", alias: str) -> None:
        """Remove an alias: one's own, or with the power to set the room's canonical alias. Raises `NotFound`,
        `Forbidden`."""
        async with self._database.read() as tx:
            found = await room_aliases.get(tx, alias)
        if found is None:
            raise NotFound("There is no such room alias")
        head = await self._heads.get(found.room_id)
        may_change_room = head is not None and await self._may_set_alias(head, requester.user_id)
        if not (requester.user_id == found.creator or requester.is_admin or may_change_room):
            raise Forbidden("You may not remove this alias")

        async def operation(tx: Write) -> None:
            if not await room_aliases.remove(tx, alias):
                raise NotFound("There is no such room alias")

        await self._database.write(operation)
        if head is not None and may_change_room:
            await self._drop_from_canonical(requester, head, alias)

    async def aliases_of(self, requester: "Requester", room_id: str) -> list[str]:
        """The aliases that this server has for a room. Raises `Forbidden` for who is not in it, unless all may read
        it."""
        head = await self._heads.get(room_id)
        if head is None:
            raise Forbidden("You are not in the room")
        if requester.user_id not in head.joined and not await self._is_world_readable(head):
            raise Forbidden("You are not in the room")
        async with self._database.read() as tx:
            return await room_aliases.of_room(tx, room_id)

    async def check_canonical_alias(self, room_id: str, content: Mapping[str, Any]) -> None:
        """Aliases that a new m.room.canonical_alias adds must point to the room.

        Raises `BadAlias` where one does not, `InvalidParam` where one is none.
        """
        alias, alternatives = content.get("alias"), content.get("alt_aliases")
        named = alternatives if isinstance(alternatives, list) else []
        wanted: list[str] = []
        for candidate in [*([alias] if alias else []), *named]:
            if not isinstance(candidate, str) or not is_valid_room_alias(candidate):
                raise InvalidParam("An alias of the event is not a room alias")
            wanted.append(candidate)
        present = await self._canonical_aliases(await self._heads.get(room_id))
        for candidate in wanted:
            if candidate not in present and await self._target_of(candidate) != room_id:
                raise BadAlias(f"The alias {candidate} does not point to this room")

    async def is_public(self, room_id: str) -> bool:
        """Whether the room is shown in the directory. Raises `NotFound`."""
        async with self._database.read() as tx:
            row = await storage_rooms.by_id(tx, room_id)
        if row is None:
            raise NotFound("There is no such room")
        return bool(row.is_public)

    async def set_public(self, requester: "Requester", room_id: str, is_public: bool) -> None:
        """Show the room in the directory, or do not. Raises `NotFound`, `Forbidden`."""
        head = await self._heads.get(room_id)
        if head is None:
            raise NotFound("There is no such room")
        if not requester.is_admin and not await self._may_set_alias(head, requester.user_id):
            raise Forbidden("You may not change the room's visibility in the directory")
        if is_public:
            self._policy.check_publication(requester)

        async def operation(tx: Write) -> None:
            await storage_rooms.set_public(tx, room_id, is_public)

        await self._database.write(operation)

    async def set_listed(self, appservice_id: str, network_id: str, room_id: str, is_listed: bool) -> None:
        """Show the room in the directory of a network that an application service bridges to, or do not. Raises
        `NotFound`."""
        head = await self._heads.get(room_id)
        if head is None:
            raise NotFound("There is no such room")

        async def operation(tx: Write) -> None:
            storage_rooms.set_listed(tx, Network(appservice_id, network_id), head.room_nid, is_listed)

        await self._database.write(operation)

    async def _target_of(self, alias: str) -> str | None:
        try:
            return (await self.resolve(alias))[0]
        except MatrixError:
            return None

    async def _may_set_alias(self, head: RoomHead, user_id: str) -> bool:
        if user_id not in head.joined:
            return False
        levels = await self._send.power_levels(head)
        return levels.user(user_id) >= levels.event(_CANONICAL_ALIAS, is_state=True)

    async def _is_world_readable(self, head: RoomHead) -> bool:
        content = await self._content(head, "m.room.history_visibility")
        return content.get("history_visibility") == "world_readable"

    async def _canonical_aliases(self, head: RoomHead | None) -> set[str]:
        content = {} if head is None else await self._content(head, _CANONICAL_ALIAS)
        alternatives = content.get("alt_aliases")
        named = [content.get("alias"), *(alternatives if isinstance(alternatives, list) else ())]
        return {alias for alias in named if isinstance(alias, str)}

    async def _content(self, head: RoomHead, event_type: str) -> Mapping[str, Any]:
        event_id = head.state.get((event_type, ""))
        stored = None if event_id is None else await self._events.get(event_id)
        return {} if stored is None else stored.shown.content

    async def _drop_from_canonical(self, requester: "Requester", head: RoomHead, alias: str) -> None:
        content = dict(await self._content(head, _CANONICAL_ALIAS))
        alternatives = content.get("alt_aliases")
        kept = [other for other in alternatives if other != alias] if isinstance(alternatives, list) else None
        if content.get("alias") != alias and kept == alternatives:
            return
        if content.get("alias") == alias:
            del content["alias"]
        if kept is not None:
            content["alt_aliases"] = kept
        draft = EventDraft(_CANONICAL_ALIAS, requester.user_id, content, head.room_id, state_key="")
        await self._send.send(requester, head.room_id, draft)

    def _is_local(self, alias: str) -> bool:
        return alias.partition(":")[2] == self._server_name
