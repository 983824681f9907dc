"""When a local user joins a room, servers that hear of them for the first time are told that the user has devices.

https://spec.matrix.org/v1.19/server-server-api/#device-management: one update that names no earlier one has a server
read the whole list. Should the process die in between, servers still ask when somebody needs the keys.
"""

from collections.abc import Sequence

from homeserver.core.events import MEMBER
from homeserver.core.identifiers import server_name_of
from homeserver.runtime.bus import Hint
from homeserver.runtime.tasks import Tasks
from homeserver.services.device_lists import DeviceLists
from homeserver.services.events import StoredEvent
from homeserver.services.room_heads import RoomHeads
from storage import device_lists
from storage.database import Database, Write
from storage.streams import Stream


class AnnounceDevices:
    """Follows the joins that this process writes."""

    def __init__(
        self, database: Database, heads: RoomHeads, tasks: Tasks, lists: DeviceLists, *, server_name: str
    ) -> None:
        self._database = database
        self._heads = heads
        self._tasks = tasks
        self._lists = lists
        self._server_name = server_name
        database.bus.subscribe(self._on_hints)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            stored = hint.payload
            if hint.stream == Stream.EVENTS and isinstance(stored, StoredEvent) and stored.event.type == MEMBER:
                self._on_member(stored)

    def _on_member(self, stored: StoredEvent) -> None:
        event, before = stored.event, stored.replaces
        user_id = event.state_key
        if not stored.is_accepted or event.membership != "join" or user_id is None:
            return
        if before is not None and before.membership == "join":
            return
        if server_name_of(user_id) == self._server_name and self._may_have_others(event.room_id):
            head = self._heads.cached(event.room_id)
            # Which servers are there is only said, where not all members of the room are known.
            with_keys_only = head is not None and head.is_partial
            self._tasks.start("announce devices", self._announce(user_id, stored.room_nid, with_keys_only))

    def _may_have_others(self, room_id: str) -> bool:
        """Whether other servers may be in the room. Most rooms have none: then a join costs no query."""
        head = self._heads.cached(room_id)
        return head is None or any(server != self._server_name for server in head.hosts)

    async def _announce(self, user_id: str, room_nid: int, with_keys_only: bool) -> None:
        async with self._database.read() as tx:
            strangers = await device_lists.servers_of_room_alone(tx, user_id, room_nid)
        destinations = sorted(set(strangers) - {self._server_name})
        if not destinations:
            return

        async def operation(tx: Write) -> None:
            await self._lists.announce(tx, user_id, destinations, with_keys_only=with_keys_only)

        await self._database.write(operation)
