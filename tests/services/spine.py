"""The services around rooms, put together as the program does, without a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.core.event_builder import EventDraft
from homeserver.core.signatures import generate_signing_key
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness
from homeserver.services.auth_chains import AuthChains
from homeserver.services.create_room import CreateRoom
from homeserver.services.directory import Directory
from homeserver.services.events import Events
from homeserver.services.idempotency import Idempotency
from homeserver.services.import_room import ImportRoom
from homeserver.services.join_conditions import JoinConditions
from homeserver.services.member_rows import MemberRows
from homeserver.services.membership import Membership
from homeserver.services.out_of_room import OutOfRoom
from homeserver.services.outgoing_invites import OutgoingInvites
from homeserver.services.persist_event import PersistEvent, PushCounter
from homeserver.services.public_rooms import NoRemoteDirectory, PublicRooms
from homeserver.services.redactions import Redactions
from homeserver.services.remote_rooms import NoRemoteRooms, RemoteRooms
from homeserver.services.room_heads import RoomHeads
from homeserver.services.room_state import RoomState
from homeserver.services.send_event import SendEvent
from storage.database import Database

SERVER = "hearth.example"


@dataclass(frozen=True, slots=True)
class Person:
    """Who makes a request, as far as these services look."""

    user_id: str
    device_id: str | None = "DEVICE"
    is_guest: bool = False
    is_admin: bool = False
    is_suspended: bool = False
    appservice: object | None = None


ALICE = Person(f"@alice:{SERVER}")
BOB = Person(f"@bob:{SERVER}")
CAROL = Person(f"@carol:{SERVER}")


@dataclass
class Profiles:
    """Profiles that a test sets."""

    fields: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def member_fields(self, user_id: str) -> dict[str, Any]:
        return self.fields.get(user_id, {})


class Spine:
    """Everything from the events to the operations on rooms."""

    def __init__(
        self,
        database: Database,
        *,
        remote: RemoteRooms | None = None,
        push: PushCounter | None = None,
        server_name: str = SERVER,
        seed: int = 1,
    ) -> None:
        self.database = database
        self.server_name = server_name
        self.clock = FrozenClock()
        self.randomness = SeededRandomness(seed)
        self.key = generate_signing_key("1", bytes([seed]) * 32)
        self.profiles = Profiles()
        remote = remote or NoRemoteRooms()
        names = {"server_name": server_name}
        keys = {**names, "signing_key": self.key, "clock": self.clock, "randomness": self.randomness}
        self.events = Events(database)
        self.heads = RoomHeads(database)
        self.chains = AuthChains(database, self.events)
        self.state = RoomState(database, self.events, self.heads, self.chains)
        self.member_rows = MemberRows(self.events, **names)
        self.redactions = Redactions(self.events, self.state)
        self.persist = PersistEvent(
            database, self.events, self.state, self.chains, self.member_rows, self.redactions, push
        )
        self.import_room = ImportRoom(database, self.events, self.state, self.persist, self.member_rows)
        self.idempotency = Idempotency(database, self.clock)
        self.send = SendEvent(database, self.events, self.heads, self.persist, self.idempotency, **keys)
        self.conditions = JoinConditions(database, self.events, self.heads, self.send, **names)
        self.out_of_room = OutOfRoom(database, self.events, self.heads, self.import_room, remote, **keys)
        self.outgoing_invites = OutgoingInvites(
            database, self.events, self.heads, self.state, self.send, self.persist, remote
        )
        self.membership = Membership(
            database,
            self.events,
            self.heads,
            self.send,
            self.conditions,
            self.out_of_room,
            self.outgoing_invites,
            remote,
            self.profiles,
            **names,
        )
        self.directory = Directory(database, self.events, self.heads, self.send, remote, **names)
        self.public_rooms = PublicRooms(database, NoRemoteDirectory(), **names)
        self.create_room = CreateRoom(
            database,
            self.heads,
            self.send,
            self.persist,
            self.membership,
            self.directory,
            self.profiles,
            server_name=server_name,
            randomness=self.randomness,
        )

    async def new_room(self, creator: Person = ALICE, joined: Sequence[Person] = (), **body: Any) -> str:
        """A room; `joined` are in it too. `body` as of createRoom, public unless it says otherwise."""
        body = {"preset": "public_chat", **body}
        room_id, _ = await self.create_room.create(creator, body)  # type: ignore[arg-type]
        for person in joined:
            await self.membership.join(person, room_id)  # type: ignore[arg-type]
        return room_id

    async def say(self, person: Person, room_id: str, text: str = "hello", txn_id: str | None = None) -> str:
        """Send a message."""
        return await self.put(person, room_id, "m.room.message", {"msgtype": "m.text", "body": text}, txn_id=txn_id)

    async def put(
        self,
        person: Person,
        room_id: str,
        event_type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        txn_id: str | None = None,
    ) -> str:
        """Send an event."""
        draft = EventDraft(event_type, person.user_id, dict(content), room_id, state_key=state_key)
        return await self.send.send(person, room_id, draft, txn_id=txn_id)  # type: ignore[arg-type]
