"""A server without HTTP: rooms are written by the real write path and read by the real /sync."""

from typing import Any

import orjson

from homeserver.config.account_sections import Presence as PresenceConfig
from homeserver.core.event_builder import EventDraft
from homeserver.core.filters import Filter
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signatures import generate_signing_key
from homeserver.core.tokens import parse_sync_token
from homeserver.runtime.bus import Bus
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.account_data import AccountData
from homeserver.services.aggregations import Aggregations
from homeserver.services.auth_chains import AuthChains
from homeserver.services.events import Events
from homeserver.services.history_access import HistoryAccess
from homeserver.services.idempotency import Idempotency
from homeserver.services.member_rows import MemberRows
from homeserver.services.notifier import Notifier
from homeserver.services.persist_event import PersistEvent, SentBy
from homeserver.services.presence import Presence
from homeserver.services.push_actions import PushActions
from homeserver.services.push_rules import PushRules
from homeserver.services.receipts import Receipts
from homeserver.services.redactions import Redactions
from homeserver.services.room_heads import RoomHeads
from homeserver.services.room_state import RoomState
from homeserver.services.send_event import SendEvent
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.device_messages import DeviceMessages
from homeserver.services.sync.engine import SyncEngine
from homeserver.services.sync.event_hints import EventHints
from homeserver.services.sync.invitations import Invitations
from homeserver.services.sync.lazy_members import LazyMembers
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.room_log import RoomLogs
from homeserver.services.sync.room_sections import RoomSections
from homeserver.services.sync.rooms import Rooms
from homeserver.services.sync.sources import NoDeviceLists, NoKeys, NoToDevice
from homeserver.services.sync.users import SyncUsers
from homeserver.services.timeline import NoBackfill, Timeline
from homeserver.services.typing import Typing
from homeserver.services.unread_counts import UnreadCounts
from homeserver.services.visibility import Visibility
from storage.database import Database, Write

SERVER = "here.example"


def user(name: str) -> str:
    """The id of a local user."""
    return f"@{name}:{SERVER}"


class World:
    """Everything between the database and the answer."""

    def __init__(
        self, db: Database, bus: Bus, *, legacy_mentions: bool = False, timelines: int = 2_000
    ) -> None:
        self.db = db
        self.clock = FrozenClock()
        self.random = SeededRandomness(1)
        self.tasks = Tasks("test")
        self.events = Events(db)
        self.heads = RoomHeads(db)
        self.chains = AuthChains(db, self.events)
        self.state = RoomState(db, self.events, self.heads, self.chains)
        self.notifier = Notifier(db, self.tasks, self.clock)
        self.logs = RoomLogs(db, self.notifier, self.events, size=timelines)
        self.event_hints = EventHints(db, self.notifier, self.events)
        self.unread = UnreadCounts(db, self.notifier, self.logs, server_name=SERVER)
        self.account_data = AccountData(db, self.notifier, legacy_mentions=legacy_mentions)
        self.push_rules = PushRules(self.account_data)
        self.push_actions = PushActions(
            db,
            self.notifier,
            self.events,
            self.unread,
            self.tasks,
            server_name=SERVER,
            legacy_mentions=legacy_mentions,
        )
        self.persist = PersistEvent(
            db,
            self.events,
            self.state,
            self.chains,
            MemberRows(self.events, server_name=SERVER),
            Redactions(self.events, self.state),
            self.push_actions,
        )
        self.send_event = SendEvent(
            db,
            self.events,
            self.heads,
            self.persist,
            Idempotency(db, self.clock),
            server_name=SERVER,
            signing_key=generate_signing_key("1", bytes(32)),
            clock=self.clock,
            randomness=self.random,
        )
        self.users = SyncUsers(db, self.notifier, self.events, self.tasks)
        self.typing = Typing(self.notifier, bus, self.clock, self.tasks)
        self.receipts = Receipts(db, self.notifier, self.events, self.heads, self.unread, self.clock)
        self.presence = Presence(
            db, self.notifier, bus, self.users, self.heads, self.clock, self.tasks, PresenceConfig()
        )
        self.visibility = Visibility(self.events, self.state)
        self.aggregations = Aggregations(db, self.notifier, self.events, self.visibility, self.account_data)
        self.access = HistoryAccess(db, self.events, self.heads, self.state, self.visibility)
        self.timeline = Timeline(db, self.events, self.state, self.access, self.aggregations, NoBackfill())
        self.engine = self.make_engine()

    def make_engine(self) -> SyncEngine:
        """A /sync that reads what this world writes."""
        rooms = Rooms(
            self.db,
            self.logs,
            self.events,
            self.heads,
            RoomSections(self.events, LazyMembers(), self.aggregations),
            self.visibility,
            self.receipts,
            self.unread,
            self.typing,
        )
        return SyncEngine(
            self.notifier,
            self.users,
            rooms,
            Invitations(self.db, self.events, self.heads, server_name=SERVER),
            self.account_data,
            self.typing,
            self.presence,
            DeviceMessages(NoToDevice()),
            DeviceLists(self.notifier, self.users, self.heads, NoDeviceLists()),
            NoKeys(),
            self.tasks,
        )

    async def close(self) -> None:
        """End what runs."""
        self.notifier.close()
        await self.tasks.close()

    # --- writing

    async def create_room(self, creator: str, *, version: str = "11", visibility: str = "shared") -> str:
        """A public room of the creator's."""
        room_id = f"!{self.random.opaque_id()}:{SERVER}"

        async def operation(tx: Write) -> None:
            room = self.heads.create(tx, room_id, ROOM_VERSIONS[version], creator)
            for event_type, state_key, content in (
                ("m.room.create", "", {"room_version": version, "creator": creator}),
                ("m.room.member", creator, {"membership": "join"}),
                ("m.room.power_levels", "", {"users": {creator: 100}}),
                ("m.room.join_rules", "", {"join_rule": "public"}),
                ("m.room.history_visibility", "", {"history_visibility": visibility}),
            ):
                await self.send_event.append(tx, room, EventDraft(event_type, creator, content, room_id, state_key))

        await self.db.write(operation)
        return room_id

    async def send(
        self,
        sender: str,
        room_id: str,
        event_type: str = "m.room.message",
        content: dict[str, Any] | None = None,
        *,
        state_key: str | None = None,
        redacts: str | None = None,
        sent_by: SentBy | None = None,
    ) -> str:
        """Send any event and return its id."""
        if content is None:
            content = {"body": "hello", "msgtype": "m.text"}
        draft = EventDraft(event_type, sender, content, room_id, state_key, redacts)

        async def operation(tx: Write) -> str:
            room = await self.send_event.require_draft(tx, room_id)
            return (await self.send_event.append(tx, room, draft, sent_by=sent_by)).event_id

        return await self.db.write(operation)

    async def member(self, sender: str, room_id: str, target: str, membership: str, **content: Any) -> str:
        """Send a member event."""
        return await self.send(
            sender, room_id, "m.room.member", {"membership": membership, **content}, state_key=target
        )

    async def join(self, user_id: str, room_id: str) -> str:
        """Join a public room."""
        return await self.member(user_id, room_id, user_id, "join")

    # --- reading

    async def sync(self, user_id: str, since: str | None = None, **options: Any) -> dict[str, Any]:
        """An answer of /sync, parsed."""
        answer: dict[str, Any] = orjson.loads(await self.engine.sync(self.request(user_id, since, **options)))
        return answer

    def request(self, user_id: str, since: str | None = None, **options: Any) -> SyncRequest:
        """A request of the user's device."""
        definition = options.pop("filter", None)
        options.setdefault("device_id", "DEVICE")
        options.setdefault("set_presence", "offline")
        return SyncRequest(
            user_id,
            since=None if since is None else parse_sync_token(since),
            filter=Filter.ALL if definition is None else Filter.parse(definition),
            **options,
        )


def joined(answer: dict[str, Any], room_id: str) -> dict[str, Any]:
    """The joined room of an answer; {} where it is not there."""
    room: dict[str, Any] = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    return room


def event_ids(section: dict[str, Any]) -> list[str]:
    """The ids of a section's events."""
    return [event["event_id"] for event in section.get("events", [])]
