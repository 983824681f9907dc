"""Sliding sync over the world of /sync."""

from typing import Any

import orjson

from client_api.sliding_sync import SlidingSyncHandlers
from homeserver.core.event_builder import EventDraft
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.runtime.bus import Bus
from homeserver.services.sliding_sync.connections import Connections
from homeserver.services.sliding_sync.engine import SlidingSync
from homeserver.services.sliding_sync.extensions import ExtensionSections
from homeserver.services.sliding_sync.request import SlidingSyncRequest
from homeserver.services.sliding_sync.room_facts import RoomFactsOfAll
from homeserver.services.sliding_sync.rooms import SlidingRooms
from homeserver.services.sliding_sync.user_lists import ListsOfUsers
from homeserver.services.sync.deliveries import Deliveries
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.invitations import Invitations
from homeserver.services.sync.lazy_members import LazyMembers
from homeserver.services.sync.room_sections import RoomSections
from homeserver.services.sync.rooms import Rooms
from homeserver.services.sync.sources import NoDeviceLists, NoKeys, NoToDevice, ToDeviceReader
from homeserver.services.thread_subscriptions import ThreadSubscriptions
from storage.database import Database, Write
from tests.services.sync_world import SERVER, World

ALL = {"all": {"ranges": [[0, 99]], "timeline_limit": 10, "required_state": []}}


class SlidingWorld(World):
    """What this world writes is read by sliding sync."""

    def __init__(
        self, db: Database, bus: Bus, messages: ToDeviceReader | None = None, *, timelines: int = 2_000
    ) -> None:
        super().__init__(db, bus, timelines=timelines)
        self.messages = messages or NoToDevice()
        self.device_lists = DeviceLists(self.notifier, self.users, self.heads, NoDeviceLists())
        self.restart()

    def restart(self) -> None:
        """Lose all that sliding sync holds in memory."""
        db, notifier, events, heads = self.db, self.notifier, self.events, self.heads
        sections = RoomSections(events, LazyMembers(), self.aggregations)
        rooms = Rooms(db, self.logs, events, heads, sections, self.visibility, self.receipts, self.unread, self.typing)
        self.facts = RoomFactsOfAll(db, notifier, events, heads)
        self.connections = Connections(db, self.clock)
        sliding_rooms = SlidingRooms(
            db,
            self.logs,
            events,
            heads,
            self.facts,
            rooms,
            Invitations(db, events, heads, server_name=SERVER),
            self.visibility,
            self.receipts,
            self.unread,
            self.aggregations,
        )
        self.lists = ListsOfUsers(db, notifier, self.logs, events, self.facts)
        self.sliding = SlidingSync(
            notifier,
            self.users,
            self.account_data,
            rooms,
            self.lists,
            self.connections,
            sliding_rooms,
            ExtensionSections(
                self.logs,
                self.typing,
                self.receipts,
                self.messages,
                self.device_lists,
                NoKeys(),
                ThreadSubscriptions(db, notifier, self.access, self.account_data),
            ),
            self.typing,
            self.presence,
            Deliveries(self.users, self.logs, self.heads, self.receipts, self.tasks),
        )
        self.handlers = SlidingSyncHandlers(self.sliding)

    async def create_space(self, creator: str) -> str:
        """A space of the creator's."""
        room_id = f"!{self.random.opaque_id()}:{SERVER}"

        async def operation(tx: Write) -> None:
            room = self.heads.create(tx, room_id, ROOM_VERSIONS["11"], creator)
            for event_type, state_key, content in (
                ("m.room.create", "", {"room_version": "11", "type": "m.space"}),
                ("m.room.member", creator, {"membership": "join"}),
            ):
                await self.send_event.append(tx, room, EventDraft(event_type, creator, content, room_id, state_key))

        await self.db.write(operation)
        return room_id

    def sliding_request(self, user_id: str, body: dict[str, Any], **options: Any) -> SlidingSyncRequest:
        """A request of the user's device, as its body is read."""
        options = {"set_presence": "offline", "pos": None, "timeout_ms": 0} | options
        request: Any = _Request(user_id, options.pop("device_id", "DEVICE"), body)
        is_stable = options.pop("is_stable", False)
        return self.handlers._read(request, is_stable=is_stable, **options)

    async def slide(self, user_id: str, body: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """An answer, parsed."""
        request = self.sliding_request(user_id, {"lists": ALL} if body is None else body, **options)
        answer: dict[str, Any] = orjson.loads(await self.sliding.sync(request))
        return answer


class _Request:
    def __init__(self, user_id: str, device_id: str | None, body: dict[str, Any]) -> None:
        self.user = self
        self.user_id = user_id
        self.device_id = device_id
        self.body = body
