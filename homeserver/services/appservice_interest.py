"""Which events concern an application service (application-service-api §Registration, the namespaces)."""

from collections.abc import Iterable
from typing import Final

from homeserver.core.events import MEMBER
from homeserver.services.appservices import Appservice
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events, StoredEvent
from storage import appservice_queues, memberships, room_aliases, rooms
from storage.database import Database

_NOBODY: Final = frozenset[str]()


class Interest:
    """To be asked of every event in the order of the log: who of its users is in which room is kept up that way.

    `after` is the place in the log that it was asked up to: rooms that it looks at for the first time are seen as they
    were there, however much has happened since.
    """

    def __init__(self, appservice: Appservice, database: Database, events: Events, *, size: int = 10_000) -> None:
        self.after = 0
        self._appservice = appservice
        self._database = database
        self._events = events
        self._members: BoundedCache[str, set[str]] = BoundedCache(size)
        self._by_alias: BoundedCache[str, bool] = BoundedCache(size)
        self._alias_changes = 0

    async def covers(self, stored: StoredEvent) -> bool:
        """Whether the application service is to be told of the event."""
        event, appservice = stored.event, self._appservice
        members = await self._members_of(event.room_id)
        was_in = bool(members)
        concerns = appservice.may_act_as(event.sender)
        if event.type == MEMBER and event.state_key is not None and appservice.may_act_as(event.state_key):
            concerns = True
            if event.membership == "join":
                members.add(event.state_key)
            else:
                members.discard(event.state_key)
        return (
            concerns
            or was_in
            or appservice.covers("rooms", event.room_id)
            or (bool(appservice.namespaces["aliases"]) and await self._covers_alias(event.room_id))
        )

    def begin_anew(self) -> None:
        """The next event need not follow the last one: another process may have been asked of those between."""
        self._members.clear()

    def ignores(self, room_id: str, user_ids: Iterable[str]) -> bool:
        """Whether an event of these users (its sender, whose membership it tells of) surely does not concern it, as far
        as memory tells. It must be asked of the event all the same before one that may."""
        appservice = self._appservice
        return (
            self._members.get(room_id) == _NOBODY
            and (not appservice.namespaces["aliases"] or self._by_alias.get(room_id) is False)
            and not appservice.covers("rooms", room_id)
            and not any(appservice.may_act_as(user_id) for user_id in user_ids)
        )

    def aliases_changed(self) -> None:
        """Some alias is not what it was."""
        self._alias_changes += 1
        self._by_alias.clear()

    async def covers_room(self, room_id: str) -> bool:
        """Whether what passes in the room concerns it: one of its users is there, or it wants the room itself."""
        return (
            bool(await self._members_of(room_id))
            or self._appservice.covers("rooms", room_id)
            or (bool(self._appservice.namespaces["aliases"]) and await self._covers_alias(room_id))
        )

    async def covers_user(self, user_id: str) -> bool:
        """Whether news of the user concern it: one of its own, or somebody who shares a room with one of them."""
        if self._appservice.may_act_as(user_id):
            return True
        async with self._database.read() as tx:
            room_ids = await memberships.joined_room_ids(tx, user_id)
        for room_id in room_ids:
            if await self.covers_room(room_id):
                return True
        return False

    async def _members_of(self, room_id: str) -> set[str]:
        """Those of its users who are joined. This follows the events one by one."""
        members = self._members.get(room_id)
        if members is None:
            members = await self._load(room_id)
            self._members.put(room_id, members)
        return members

    async def _load(self, room_id: str) -> set[str]:
        # Not from the head of the room: this process may not have heard yet what another one told of already.
        async with self._database.read(snapshot=True) as tx:
            room = await rooms.by_id(tx, room_id)
            if room is None:
                return set()
            joined = await memberships.user_ids_of_room(tx, room.room_nid, ("join",))
            changes = await appservice_queues.member_changes_after(tx, room.room_nid, self.after)
        members = {user_id for user_id in joined if self._appservice.may_act_as(user_id)}
        before = {user_id: nid for user_id, nid in reversed(changes) if self._appservice.may_act_as(user_id)}
        stored = await self._events.get_many_by_nid([nid for nid in before.values() if nid is not None])
        for user_id, nid in before.items():
            was_joined = nid in stored and stored[nid].event.membership == "join"
            (members.add if was_joined else members.discard)(user_id)
        return members

    async def _covers_alias(self, room_id: str) -> bool:
        known = self._by_alias.get(room_id)
        if known is not None:
            return known
        changes = self._alias_changes
        async with self._database.read() as tx:
            aliases = await room_aliases.of_room(tx, room_id)
        covered = any(self._appservice.covers("aliases", alias) for alias in aliases)
        if changes == self._alias_changes:  # otherwise what was read may be of before the change
            self._by_alias.put(room_id, covered)
        return covered
