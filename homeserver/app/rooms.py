"""Rooms: events and their state, writing them here, and receiving them from other servers."""

from dataclasses import dataclass

from homeserver.app.foundation import Foundation, policy_signing_key
from homeserver.app.outside import Outside
from homeserver.services.account_data import AccountData
from homeserver.services.aggregations import Aggregations
from homeserver.services.auth_chains import AuthChains
from homeserver.services.complete_room import CompleteRoom
from homeserver.services.create_room import CreateRoom
from homeserver.services.directory import Directory
from homeserver.services.events import Events
from homeserver.services.fetch_missing import FetchMissing
from homeserver.services.history_access import HistoryAccess
from homeserver.services.idempotency import Idempotency
from homeserver.services.import_room import ImportRoom
from homeserver.services.invite_gate import AccountDataGate
from homeserver.services.join_conditions import JoinConditions
from homeserver.services.member_rows import MemberRows
from homeserver.services.membership import Membership
from homeserver.services.notifier import Notifier
from homeserver.services.out_of_room import OutOfRoom
from homeserver.services.outgoing_invites import OutgoingInvites
from homeserver.services.outliers import Outliers
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.persist_event import PersistEvent
from homeserver.services.policy_servers import PolicyServers, PolicySigner
from homeserver.services.profile_reader import ProfileReader
from homeserver.services.public_rooms import NoRemoteDirectory, PublicRooms
from homeserver.services.push_actions import PushActions
from homeserver.services.push_rules import PushRules
from homeserver.services.receive_pdu import ReceivePdu
from homeserver.services.redactions import Redactions
from homeserver.services.remote_directory import FederationDirectory
from homeserver.services.remote_join import RemoteJoin
from homeserver.services.remote_rooms import NoRemoteRooms, RemoteRooms
from homeserver.services.room_heads import RoomHeads
from homeserver.services.room_policy import RoomPolicy
from homeserver.services.room_state import RoomState
from homeserver.services.send_event import SendEvent
from homeserver.services.server_access import ServerAccess
from homeserver.services.state_resync import StateResync
from homeserver.services.succession import SettingsFollow
from homeserver.services.sync.event_hints import EventHints
from homeserver.services.sync.room_log import RoomLogs
from homeserver.services.unread_counts import UnreadCounts
from homeserver.services.visibility import Visibility


@dataclass(frozen=True, slots=True)
class RoomReading:
    """What is known of rooms, and who hears of their changes."""

    notifier: Notifier
    events: Events
    heads: RoomHeads
    chains: AuthChains
    state: RoomState
    logs: RoomLogs
    unread: UnreadCounts
    account_data: AccountData
    push_actions: PushActions
    visibility: Visibility
    history: HistoryAccess
    aggregations: Aggregations
    access: ServerAccess
    partial: PartialRooms

    async def load(self) -> None:
        """Read what has to be in memory before anything else happens."""
        await self.push_actions.load()
        await self.partial.load()


@dataclass(frozen=True, slots=True)
class RoomWriting:
    """What changes rooms."""

    persist: PersistEvent
    idempotency: Idempotency
    send_event: SendEvent
    imports: ImportRoom
    outliers: Outliers
    fetch: FetchMissing
    receive: ReceivePdu
    resync: StateResync
    policy_signer: PolicySigner
    remote: RemoteRooms
    conditions: JoinConditions
    directory: Directory
    membership: Membership
    create_room: CreateRoom


def build_reading(base: Foundation) -> RoomReading:
    """The notifier comes first: it hears of a commit before those that read what it says."""
    database, caches = base.database, base.config.caches
    notifier = Notifier(database, base.tasks, base.clock)
    events = Events(database, cache_size=caches.events)
    heads = RoomHeads(database, cache_size=caches.rooms)
    chains = AuthChains(database, events)
    state = RoomState(database, events, heads, chains)
    logs = RoomLogs(database, notifier, events, size=caches.timelines)
    EventHints(database, notifier, events)
    unread = UnreadCounts(database, notifier, logs, server_name=base.server_name)
    predefined = {
        "legacy_mentions": base.config.push.legacy_mentions,
        "thread_subscriptions": base.config.push.thread_subscriptions,
    }
    account_data = AccountData(database, notifier, **predefined, notices_user=base.config.notices_user)
    push_actions = PushActions(
        database,
        notifier,
        events,
        unread,
        base.tasks,
        server_name=base.server_name,
        **predefined,
    )
    visibility = Visibility(events, state)
    return RoomReading(
        notifier,
        events,
        heads,
        chains,
        state,
        logs,
        unread,
        account_data,
        push_actions,
        visibility,
        HistoryAccess(database, events, heads, state, visibility),
        Aggregations(database, notifier, events, visibility, account_data),
        ServerAccess(heads, events, server_name=base.server_name),
        PartialRooms(database, notifier, heads, base.tasks, server_name=base.server_name),
    )


def build_writing(base: Foundation, outside: Outside, reading: RoomReading, profiles: ProfileReader) -> RoomWriting:
    """From the one writer of events up to whole rooms."""
    database, events, heads, state = base.database, reading.events, reading.heads, reading.state
    own = {"server_name": base.server_name}
    signing = {**own, "signing_key": base.signing_key, "clock": base.clock, "randomness": base.randomness}
    settings = SettingsFollow(database, reading.account_data, PushRules(reading.account_data), base.tasks)
    members = MemberRows(events, server_name=base.server_name, succession=settings)
    redactions = Redactions(events, state)
    persist = PersistEvent(database, events, state, reading.chains, members, redactions, reading.push_actions)
    idempotency = Idempotency(database, base.clock)
    base.tasks.loop("old transaction ids", idempotency.forget_old, every_s=86_400, clock=base.clock)
    signer = PolicySigner(heads, events, reading.access, policy_signing_key(base.config))
    policy = PolicyServers(outside.client, events, signer)
    send_event = SendEvent(database, events, heads, persist, idempotency, policy=policy, **signing)
    imports = ImportRoom(database, events, state, persist, members)
    outliers = Outliers(database, heads, events, imports, outside.signatures)
    fetch = FetchMissing(outside.client, events, outliers)
    receive = ReceivePdu(
        database, heads, events, state, persist, outside.signatures, outliers, fetch, reading.access, policy
    )
    complete = CompleteRoom(heads, events, state, outliers, members, redactions, **own)
    remote = _remote_rooms(base, outside, heads, imports, outliers, receive)
    rooms = base.config.rooms
    policy = RoomPolicy(rooms.creation, rooms.publication, rooms.encryption_default)
    directory = Directory(database, events, heads, send_event, remote, **own, policy=policy)
    conditions = JoinConditions(database, events, heads, send_event, **own)
    membership = Membership(
        database,
        events,
        heads,
        send_event,
        conditions,
        OutOfRoom(database, events, heads, imports, remote, **signing),
        OutgoingInvites(database, events, heads, state, send_event, persist, remote),
        remote,
        profiles,
        **own,
        invites=AccountDataGate(reading.account_data, base.config.notices_user),
        partial=reading.partial,
        notices_user=base.config.notices_user,
    )
    create_room = CreateRoom(
        database,
        heads,
        send_event,
        persist,
        membership,
        directory,
        profiles,
        **own,
        randomness=base.randomness,
        default_room_version=rooms.default_version,
        policy=policy,
    )
    return RoomWriting(
        persist,
        idempotency,
        send_event,
        imports,
        outliers,
        fetch,
        receive,
        _resync(base, outside, reading, fetch, complete),
        signer,
        remote,
        conditions,
        directory,
        membership,
        create_room,
    )


def _remote_rooms(
    base: Foundation,
    outside: Outside,
    heads: RoomHeads,
    imports: ImportRoom,
    outliers: Outliers,
    receive: ReceivePdu,
) -> RemoteRooms:
    if not base.config.federation.enabled:
        return NoRemoteRooms()
    return RemoteJoin(
        base.database,
        outside.client,
        heads,
        imports,
        outliers,
        outside.signatures,
        receive,
        server_name=base.server_name,
        signing_key=base.signing_key,
        clock=base.clock,
        randomness=base.randomness,
        faster_joins=base.config.federation.faster_joins,
    )


def _resync(
    base: Foundation, outside: Outside, reading: RoomReading, fetch: FetchMissing, complete: CompleteRoom
) -> StateResync:
    return StateResync(
        base.database,
        outside.client,
        reading.heads,
        reading.events,
        reading.state,
        fetch,
        complete,
        reading.partial,
        base.clock,
        base.tasks,
        server_name=base.server_name,
        process_name=base.process_name,
    )


def build_public_rooms(base: Foundation, outside: Outside) -> PublicRooms:
    """The directory of published rooms, here and elsewhere."""
    remote = FederationDirectory(outside.client) if base.config.federation.enabled else NoRemoteDirectory()
    return PublicRooms(base.database, remote, server_name=base.server_name)
