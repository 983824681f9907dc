"""Whole servers on the network in memory: everything but HTTP, TLS and DNS is the real thing."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import orjson

from federation.inbound.devices import DeviceHandlers
from federation.inbound.endpoints import ENDPOINTS
from federation.inbound.events import EventHandlers
from federation.inbound.keys import KeyHandlers
from federation.inbound.media import MediaHandlers
from federation.inbound.membership import MembershipHandlers
from federation.inbound.openid import OpenIdHandlers
from federation.inbound.policy import PolicyHandlers
from federation.inbound.queries import QueryHandlers
from federation.inbound.rooms import RoomHandlers
from federation.inbound.server import ServerHandlers
from federation.inbound.third_party_invites import ThirdPartyInviteHandlers
from federation.inbound.transactions import TransactionHandlers
from federation.outbound.transport import Answer
from federation.sender import FederationSender
from homeserver.app.foundation import Foundation
from homeserver.app.outside import look_outside
from homeserver.app.rooms import build_reading, build_writing
from homeserver.config import Config
from homeserver.config.account_sections import RateLimits
from homeserver.config.server_sections import Server as ServerConfig
from homeserver.core.event_builder import EventDraft
from homeserver.core.signatures import generate_signing_key
from homeserver.runtime.bus import Bus
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.runtime.telemetry import Telemetry
from homeserver.services.backfill import Backfill
from homeserver.services.edus import Edus
from homeserver.services.events import StoredEvent
from homeserver.services.fetch_missing import FetchMissing
from homeserver.services.former_hosts import FormerHosts
from homeserver.services.join_conditions import JoinConditions
from homeserver.services.profile_reader import NoProfiles
from homeserver.services.public_rooms import NoRemoteDirectory, PublicRooms
from homeserver.services.receive_invite import ReceiveInvite
from homeserver.services.receive_transaction import ReceiveTransaction
from homeserver.services.remote_times import ServedTimes
from homeserver.services.request_auth import RequestAuth
from homeserver.services.rescinded_invites import RescindedInvites
from homeserver.services.resident import ResidentServer
from homeserver.services.room_summaries import RoomSummaries
from homeserver.services.served_events import ServedEvents
from homeserver.services.sessions import Requester
from homeserver.services.space_hierarchy import ServedHierarchy
from homeserver.services.third_party_invites import ThirdPartyInvites
from homeserver.services.undecided import Undecided
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.reply import Reply
from storage import memberships
from storage.database import Database
from tests.federation.bare_request import bare_request
from tests.federation.network import Network


@dataclass
class Received:
    """What the EDU receivers of a server were given."""

    typing: list[tuple[str, str, bool]] = field(default_factory=list)
    receipts: list[tuple[str, Any]] = field(default_factory=list)
    presence: list[tuple[str, str]] = field(default_factory=list)
    to_device: list[tuple[str, Any]] = field(default_factory=list)
    device_lists: list[tuple[str, Any]] = field(default_factory=list)


class _Typing:
    def __init__(self, received: Received) -> None:
        self._received = received

    def receive(self, room_id: str, user_id: str, typing: bool) -> None:
        self._received.typing.append((room_id, user_id, typing))


class _Receipts:
    def __init__(self, received: Received) -> None:
        self._received = received

    async def receive(self, room_id: str, content: Mapping[str, Any]) -> None:
        self._received.receipts.append((room_id, content))


class _Presence:
    def __init__(self, received: Received) -> None:
        self._received = received

    def receive(self, user_id: str, state: str, **_: Any) -> None:
        self._received.presence.append((user_id, state))


class _ToDevice:
    def __init__(self, received: Received) -> None:
        self._received = received

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        self._received.to_device.append((origin, content))


class _DeviceLists:
    def __init__(self, received: Received) -> None:
        self._received = received

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        self._received.device_lists.append((origin, content))

    async def receive_signing_keys(self, origin: str, content: Mapping[str, Any]) -> None:
        self._received.device_lists.append((origin, content))


class _Everybody:
    async def may_be_invited(self, user_id: str, sender: str) -> bool:
        return not user_id.startswith("@nobody:")


class _Keys:
    async def devices(self, user_id: str) -> dict[str, Any]:
        return {"user_id": user_id, "stream_id": 1, "devices": []}

    async def query(self, device_keys: dict[str, list[str]]) -> dict[str, Any]:
        return {"device_keys": {user_id: {} for user_id in device_keys}}

    async def claim(self, one_time_keys: dict[str, dict[str, str]]) -> dict[str, Any]:
        return {"one_time_keys": {}}

    async def local(self, user_id: str, field: str | None) -> dict[str, Any]:
        return {"displayname": user_id[1:].partition(":")[0]}


class Hearth:
    """One server. `alice` of `hs1` is the user @alice:hs1."""

    def __init__(self, network: Network, name: str, base: Foundation) -> None:
        self.network = network
        self.name = name
        self.base = base
        self.received = Received()
        self.answering = 0  # requests of others that have no answer yet
        self.outside = look_outside(base, network.transport(name))
        self.reading = build_reading(base)
        self.writing = build_writing(base, self.outside, self.reading, NoProfiles())
        self.sender = FederationSender(
            base.database,
            self.outside.client,
            self.outside.reachability,
            base.clock,
            base.tasks,
            server_name=name,
            process_name=base.process_name,
        )
        self.undecided = Undecided(self.writing.receive, self.reading.heads, base.clock, server_name=name)
        self.dispatcher = self._dispatcher()
        network.servers[name] = self.serve

    @classmethod
    async def start(
        cls, network: Network, name: str, folder: Path, clock: FrozenClock, *, database: str | None = None
    ) -> "Hearth":
        """A server with its data in `folder`; started again there, it goes on."""
        bus = Bus()
        opened = await Database.open(database or f"sqlite:///{folder / (name + '.db')}", readers=2, bus=bus)
        return await cls.of(network, name, clock, bus, opened)

    @classmethod
    async def of(
        cls, network: Network, name: str, clock: FrozenClock, bus: Bus, database: Database, *, process: str = "0"
    ) -> "Hearth":
        """A server, or one of its processes, over a database that is open."""
        base = Foundation(
            config=Config(server=ServerConfig(name=name)),
            clock=clock,
            # Not the same values again after a restart.
            randomness=SeededRandomness(f"{name}{process}{database.position}"),
            tasks=Tasks(name + process),
            telemetry=Telemetry(clock),
            bus=bus,
            database=database,
            signing_key=generate_signing_key("1", name.encode().ljust(32, b"-")),
            process_name=process,
            threads=ThreadPoolExecutor(1),
        )
        server = cls(network, name, base)
        await server.reading.partial.load()
        await server.sender.start()
        server.writing.resync.start()
        base.tasks.loop("undecided events", server.undecided.retry, every_s=5, clock=clock)
        return server

    async def stop(self, *, kill: bool = False) -> None:
        """`kill`: without noting anything first."""
        self.network.servers.pop(self.name, None)
        if not kill:
            await self.sender.stop()
        await self.base.close()

    def _dispatcher(self) -> Dispatcher:
        base, reading, writing, outside = self.base, self.reading, self.writing, self.outside
        database, heads, events, access = base.database, reading.heads, reading.events, reading.access
        resident = ResidentServer(
            events,
            reading.state,
            reading.chains,
            writing.send_event,
            writing.receive,
            outside.signatures,
            access,
            JoinConditions(database, events, heads, writing.send_event, server_name=self.name),
            signing_key=base.signing_key,
        )
        invites = ReceiveInvite(
            database, heads, writing.imports, outside.signatures, access, _Everybody(), signing_key=base.signing_key
        )
        edus = Edus(
            heads,
            access,
            typing=_Typing(self.received),
            receipts=_Receipts(self.received),
            presence=_Presence(self.received),
            to_device=_ToDevice(self.received),
            device_lists=_DeviceLists(self.received),
        )
        rescinded = RescindedInvites(database, heads, writing.imports, outside.signatures, access)
        self.transactions = ReceiveTransaction(heads, access, writing.receive, edus, rescinded)
        auth = RequestAuth(
            outside.keyring,
            base.clock,
            server_name=self.name,
            is_allowed=outside.is_allowed,
            heard_from=self.sender.heard_from,
        )
        self.summaries = RoomSummaries(events, heads, server_name=self.name)
        former = FormerHosts(database, events)
        served = ServedEvents(heads, events, reading.state, reading.chains, access, base.clock, former)
        instances = [
            KeyHandlers(outside.keyring),
            ServerHandlers(version="test", well_known_server=None),
            TransactionHandlers(self.transactions),
            MembershipHandlers(resident, invites),
            EventHandlers(served),
            RoomHandlers(ServedHierarchy(self.summaries, access), ServedTimes(database, events, access, served)),
            QueryHandlers(
                writing.directory,
                _Keys(),
                PublicRooms(database, NoRemoteDirectory(), server_name=self.name),
                server_name=self.name,
                serves_public_rooms=True,
                serves_profiles=True,
            ),
            DeviceHandlers(_Keys()),
            OpenIdHandlers(mock.Mock()),
            PolicyHandlers(writing.policy_signer),
            ThirdPartyInviteHandlers(
                ThirdPartyInvites(outside.client, access, events, writing.membership)
            ),
            MediaHandlers(mock.Mock(), mock.Mock(), base.randomness),
        ]
        limiter = RateLimiter(RateLimits(enabled=False), base.clock)
        return Dispatcher(ENDPOINTS, instances, mock.Mock(), auth, limiter, base.telemetry)

    async def serve(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """What the network hands over."""
        http = bare_request(method, target, headers, body)
        self.answering += 1
        try:
            reply = await self.dispatcher.handle(http)
        finally:
            self.answering -= 1
        assert isinstance(reply, Reply)
        return Answer(reply.status, {"content-type": "application/json"}, reply.body)

    def backfill(self) -> Backfill:
        """What /messages calls at the end of what is known."""
        reading, writing = self.reading, self.writing
        return Backfill(
            self.base.database,
            self.outside.client,
            reading.heads,
            reading.events,
            writing.persist,
            self.outside.signatures,
            writing.outliers,
            FetchMissing(self.outside.client, reading.events, writing.outliers),
            server_name=self.name,
        )

    # --- what its users do

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.name}"

    async def create_room(self, creator: str, **body: Any) -> str:
        room_id, _ = await self.writing.create_room.create(_as(self.user(creator)), {"preset": "public_chat", **body})
        return room_id

    async def join(self, localpart: str, room_id: str, *via: "Hearth", whole: bool = True) -> None:
        """`whole`: wait until all members are known too."""
        await self.writing.membership.join(
            _as(self.user(localpart)), room_id, via=[server.name for server in via]
        )
        if whole:
            await self.reading.partial.wait(room_id)

    async def send(self, localpart: str, room_id: str, body: str) -> str:
        draft = EventDraft("m.room.message", self.user(localpart), {"body": body, "msgtype": "m.text"}, room_id)
        return await self.writing.send_event.send(_as(self.user(localpart)), room_id, draft)

    async def set_state(
        self, localpart: str, room_id: str, event_type: str, content: dict[str, Any], state_key: str = ""
    ) -> str:
        draft = EventDraft(event_type, self.user(localpart), content, room_id, state_key=state_key)
        return await self.writing.send_event.send(_as(self.user(localpart)), room_id, draft)

    def as_user(self, localpart: str) -> Requester:
        return _as(self.user(localpart))

    # --- what it knows

    async def state(self, room_id: str) -> dict[tuple[str, str], str]:
        return dict(await self.reading.state.current(room_id))

    async def event(self, event_id: str) -> StoredEvent | None:
        return await self.reading.events.get(event_id)

    async def has(self, event_id: str) -> bool:
        """Whether the event is there, and what follows from it: a reader may see a commit before the writer does."""
        stored = await self.event(event_id)
        return stored is not None and stored.is_accepted and (stored.position or 0) <= self.base.database.position

    async def membership(self, room_id: str, user_id: str) -> str | None:
        async with self.base.database.read() as tx:
            found = await memberships.membership_of(tx, room_id, user_id)
        return None if found is None else found.membership

    async def extremities(self, room_id: str) -> set[str]:
        head = await self.reading.heads.get(room_id)
        assert head is not None
        return set(head.extremities)

    # --- what it says to others

    async def say(self, destination: "Hearth", pdus: list[Any], edus: list[Any] | None = None, txn: str = "t") -> Any:
        """A transaction, signed as this server's."""
        content = {"origin": self.name, "origin_server_ts": 1, "pdus": pdus, "edus": edus or []}
        return await self.outside.client.send_transaction(
            destination.name, txn, orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        )


def _as(user_id: str) -> Requester:
    return Requester(user_id, "DEVICE")
