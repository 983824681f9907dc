"""Replacing a room by one of another version: all of it in one write.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final

from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.room_versions import KNOWN_VERSIONS, RoomVersion
from homeserver.errors import Forbidden, InvalidParam, InvalidRoomState, UnsupportedRoomVersion
from homeserver.services import upgrade_contents as contents
from homeserver.services.create_room import CreateRoom
from homeserver.services.events import Events
from homeserver.services.profile_reader import ProfileReader
from homeserver.services.room_heads import HeadDraft
from homeserver.services.room_summaries import CHILD, SPACE, is_child
from homeserver.services.send_event import SendEvent
from homeserver.services.suspension import refuse_suspended
from storage import memberships, room_aliases
from storage import rooms as storage_rooms
from storage.database import Database, Write
from storage.tables import rooms

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester

_TOMBSTONE: Final = "m.room.tombstone"
_POWER_LEVELS: Final = "m.room.power_levels"
_CANONICAL_ALIAS: Final = "m.room.canonical_alias"


@dataclass(frozen=True, slots=True)
class _Upgrade:
    """Who upgrades to what. `is_above_all`: they are a creator of the old room who has no level."""

    user_id: str
    version: RoomVersion
    creators: Sequence[str]
    is_above_all: bool
    profile: Mapping[str, Any]


class UpgradeRoom:
    """Upgrades rooms for local users."""

    def __init__(
        self,
        database: Database,
        events: Events,
        send_event: SendEvent,
        create_room: CreateRoom,
        profiles: ProfileReader,
    ) -> None:
        self._database = database
        self._events = events
        self._send = send_event
        self._create = create_room
        self._profiles = profiles

    async def upgrade(
        self, requester: "Requester", room_id: str, new_version: str, additional_creators: Sequence[str] = ()
    ) -> str:
        """Replace a room and return the id of the new one.

        Raises `UnsupportedRoomVersion`, `InvalidParam`, `Forbidden` for who may not, `InvalidRoomState` where the new
        version does not allow what has to be carried over.
        """
        refuse_suspended(requester)
        version = KNOWN_VERSIONS.get(new_version)
        if version is None:
            raise UnsupportedRoomVersion(f"This server does not support room version {new_version!r}")
        if not all(is_valid_user_id(user_id) for user_id in additional_creators):
            raise InvalidParam("additional_creators must be user ids")
        head = await self._send.require_head(room_id)
        user_id = requester.user_id
        levels = await self._send.power_levels(head)
        if user_id not in head.joined or levels.user(user_id) < levels.event(_TOMBSTONE, is_state=True):
            raise Forbidden("You may not upgrade this room")
        creators = [other for other in dict.fromkeys(additional_creators) if other != user_id]
        upgrade = _Upgrade(
            user_id,
            version,
            creators,
            levels.user(user_id) == inf,
            await self._profiles.member_fields(user_id),
        )

        async def operation(tx: Write) -> str:
            old = await self._send.require_draft(tx, room_id)
            new = await self._replace(tx, old, upgrade)
            try:
                await self._carry_over(tx, old, new, upgrade)
            except Forbidden as error:
                raise InvalidRoomState(f"The new version does not allow the room's state: {error.message}") from error
            await self._move_aliases(tx, old, new, upgrade)
            await self._close(tx, old, upgrade)
            return new.room_id

        return await self._database.write(operation, rooms=(head.room_nid,))

    async def _replace(self, tx: Write, old: HeadDraft, upgrade: _Upgrade) -> HeadDraft:
        """The new room with nothing but its creation, and the tombstone of the old one. Each names the other, as far as
        ids that are hashes allow."""
        created = await self._content(tx, old, "m.room.create")
        predecessor = {"room_id": old.room_id}
        version, user_id = upgrade.version, upgrade.user_id
        if version.room_id_is_create_event_hash:
            content = contents.create_content(created, version, user_id, upgrade.creators, predecessor)
            new = await self._create.begin(tx, version, user_id, content)
            await self._bury(tx, old, user_id, new.room_id)
            return new
        new_id = self._create.new_room_id()
        predecessor["event_id"] = await self._bury(tx, old, user_id, new_id)
        content = contents.create_content(created, version, user_id, upgrade.creators, predecessor)
        return await self._create.begin(tx, version, user_id, content, new_id)

    async def _bury(self, tx: Write, old: HeadDraft, user_id: str, new_room_id: str) -> str:
        content = {"body": "This room has been replaced", "replacement_room": new_room_id}
        draft = EventDraft(_TOMBSTONE, user_id, content, old.room_id, state_key="")
        return (await self._send.append(tx, old, draft)).event_id

    async def _carry_over(self, tx: Write, old: HeadDraft, new: HeadDraft, upgrade: _Upgrade) -> None:
        """The state of the new room. Its power levels come last: until then its creator may do everything."""
        user_id, version = upgrade.user_id, upgrade.version

        async def add(event_type: str, state_key: str, content: Mapping[str, Any]) -> None:
            await self._send.append(tx, new, EventDraft(event_type, user_id, dict(content), new.room_id, state_key))

        await add(MEMBER, user_id, {**upgrade.profile, "membership": "join"})
        for event_type in contents.CARRIED_OVER:
            content = await self._content(tx, old, event_type)
            if event_type == "m.room.join_rules":
                content = contents.join_rules(content, version)
            if content:
                await add(event_type, "", content)
        for state_key, content in await self._children(tx, old):
            await add(CHILD, state_key, content)
        for banned in await memberships.user_ids_of_room(tx, old.room_nid, ("ban",)):
            if banned not in upgrade.creators:
                await add(MEMBER, banned, {"membership": "ban"})
        levels = await self._content(tx, old, _POWER_LEVELS)
        await add(
            _POWER_LEVELS,
            "",
            contents.power_levels(levels, version, user_id, upgrade.creators, is_above_all=upgrade.is_above_all),
        )

    async def _children(self, tx: Write, old: HeadDraft) -> list[tuple[str, Mapping[str, Any]]]:
        """The rooms of a space."""
        if (await self._content(tx, old, "m.room.create")).get("type") != SPACE:
            return []
        ids = [event_id for (kind, _), event_id in old.state.items() if kind == CHILD]
        found = [stored.shown for stored in (await self._events.get_many(ids, tx)).values()]
        return [(event.state_key or "", event.content) for event in found if is_child(event.content)]

    async def _move_aliases(self, tx: Write, old: HeadDraft, new: HeadDraft, upgrade: _Upgrade) -> None:
        """The new room takes the old one's aliases and its place in the directory."""
        await room_aliases.move(tx, old.room_id, new.room_id)
        row = await storage_rooms.by_id(tx, old.room_id)
        if row is not None and row.is_public:
            tx.update(rooms, {"room_nid": old.room_nid}, is_public=False)
            tx.update(rooms, {"room_nid": new.room_nid}, is_public=True)
        canonical = await self._content(tx, old, _CANONICAL_ALIAS)
        if canonical:
            for room, content in ((new, canonical), (old, {})):
                draft = EventDraft(_CANONICAL_ALIAS, upgrade.user_id, dict(content), room.room_id, state_key="")
                with suppress(Forbidden):
                    await self._send.append(tx, room, draft)

    async def _close(self, tx: Write, old: HeadDraft, upgrade: _Upgrade) -> None:
        """Nobody should go on talking in the old room, if the user has the power to see to it."""
        levels = await self._content(tx, old, _POWER_LEVELS)
        if not levels:
            return
        content = contents.restricted_power_levels(levels)
        if content != levels:
            draft = EventDraft(_POWER_LEVELS, upgrade.user_id, content, old.room_id, state_key="")
            with suppress(Forbidden):
                await self._send.append(tx, old, draft)

    async def _content(self, tx: Write, room: HeadDraft, event_type: str) -> Mapping[str, Any]:
        """The content of a state event of the empty state key, {} where there is none."""
        event_id = room.state.get((event_type, ""))
        stored = None if event_id is None else await self._events.get(event_id, tx)
        return {} if stored is None else stored.shown.content
