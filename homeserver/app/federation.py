"""Federation: what other servers are answered, and what they are sent."""

from dataclasses import dataclass

from federation.sender import FederationSender
from homeserver.app.foundation import Foundation
from homeserver.app.outside import Outside
from homeserver.app.rooms import RoomReading, RoomWriting
from homeserver.app.telling import Telling
from homeserver.services.edus import DeviceListsReceiver, Edus, ToDeviceReceiver
from homeserver.services.former_hosts import FormerHosts
from homeserver.services.receive_invite import InvitedUsers, ReceiveInvite
from homeserver.services.receive_transaction import ReceiveTransaction
from homeserver.services.request_auth import RequestAuth
from homeserver.services.rescinded_invites import RescindedInvites
from homeserver.services.resident import ResidentServer
from homeserver.services.served_events import ServedEvents
from homeserver.services.state_resync import StateResync
from homeserver.services.third_party_invites import ThirdPartyInvites
from homeserver.services.undecided import Undecided


@dataclass(frozen=True, slots=True)
class FederationServices:
    """What stands behind the server-server API, and the sender."""

    sender: FederationSender
    auth: RequestAuth
    transactions: ReceiveTransaction
    resident: ResidentServer
    invites: ReceiveInvite
    served: ServedEvents
    third_party_invites: ThirdPartyInvites
    undecided: Undecided
    resync: StateResync

    async def start(self, base: Foundation) -> None:
        """Send what waits, and try again what could not be judged."""
        await self.sender.start()
        self.resync.start()
        base.tasks.loop("undecided events", self.undecided.retry, every_s=5, clock=base.clock)


def build_federation(
    base: Foundation,
    outside: Outside,
    reading: RoomReading,
    writing: RoomWriting,
    telling: Telling,
    users: InvitedUsers,
    to_device: ToDeviceReceiver,
    device_lists: DeviceListsReceiver,
) -> FederationServices:
    """`to_device` and `device_lists` take what arrives for devices."""
    database, heads, access = base.database, reading.heads, reading.access
    sender = FederationSender(
        database,
        outside.client,
        outside.reachability,
        base.clock,
        base.tasks,
        server_name=base.server_name,
        process_name=base.process_name,
    )
    edus = Edus(
        heads,
        access,
        typing=telling.typing,
        receipts=telling.receipts,
        presence=telling.presence,
        to_device=to_device,
        device_lists=device_lists,
    )
    rescinded = RescindedInvites(database, heads, writing.imports, outside.signatures, access)
    return FederationServices(
        sender,
        RequestAuth(
            outside.keyring,
            base.clock,
            server_name=base.server_name,
            is_allowed=outside.is_allowed,
            heard_from=sender.heard_from,
        ),
        ReceiveTransaction(heads, access, writing.receive, edus, rescinded),
        ResidentServer(
            reading.events,
            reading.state,
            reading.chains,
            writing.send_event,
            writing.receive,
            outside.signatures,
            access,
            writing.conditions,
            signing_key=base.signing_key,
        ),
        ReceiveInvite(
            database, heads, writing.imports, outside.signatures, access, users, signing_key=base.signing_key
        ),
        ServedEvents(
            heads,
            reading.events,
            reading.state,
            reading.chains,
            access,
            base.clock,
            FormerHosts(database, reading.events),
        ),
        ThirdPartyInvites(outside.client, access, reading.events, writing.membership),
        Undecided(writing.receive, heads, base.clock, server_name=base.server_name),
        writing.resync,
    )
