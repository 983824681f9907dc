"""Application services: telling them what happens, and letting them ask whether they can be reached."""

from dataclasses import dataclass

from client_api.appservice_sockets import AppserviceSocketHandlers
from client_api.appservices import AppserviceHandlers
from federation.outbound.transport import ssl_context
from homeserver.app.accounts import AccountServices
from homeserver.app.encryption import EncryptionServices
from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading, RoomWriting
from homeserver.app.telling import Telling
from homeserver.runtime.http_client import HttpClient
from homeserver.services.appservice_ping import AppservicePing
from homeserver.services.appservice_queries import AppserviceQueries, AskingGate
from homeserver.services.appservice_sender import AppserviceSender
from homeserver.services.appservice_transactions import Transactions
from homeserver.services.invited_users import LocalUsers


@dataclass(frozen=True, slots=True)
class AppserviceServices:
    """What goes out to application services, and the handlers that only they use."""

    http: HttpClient
    sender: AppserviceSender
    handlers: AppserviceHandlers
    sockets: AppserviceSocketHandlers

    async def start(self) -> None:
        """Take up the work where it was left."""
        await self.sender.start()

    async def stop(self) -> None:
        """Note how far each of them is."""
        await self.sender.stop()
        await self.http.close()


def build_appservices(
    base: Foundation,
    reading: RoomReading,
    writing: RoomWriting,
    telling: Telling,
    encryption: EncryptionServices,
    accounts: AccountServices,
    local_users: LocalUsers,
) -> AppserviceServices:
    """Those who look for local names learn whom to ask about unknown ones."""
    appservices = accounts.appservices
    config = base.config.federation
    tls = ssl_context(config.ca_files, config.verify_certificates) if any(a.url for a in appservices.all) else None
    http = HttpClient(tls=tls)
    transactions = Transactions(
        base.database, reading.events, reading.heads, telling.typing, telling.presence, encryption.counts
    )
    sender = AppserviceSender(
        base.database,
        appservices,
        transactions,
        http,
        base.clock,
        base.randomness,
        base.tasks,
        process_name=base.process_name,
    )
    if appservices.all:
        telling.typing.listeners.append(sender.somebody_typed)
    queries = AppserviceQueries(base.database, appservices, http)
    if appservices.all:
        writing.directory.unknown = queries
        writing.membership.invites = AskingGate(queries, writing.membership.invites)
        accounts.profiles.unknown = queries
        local_users.unknown = queries
    handlers = AppserviceHandlers(AppservicePing(http, base.clock), sender, writing.directory)
    return AppserviceServices(http, sender, handlers, AppserviceSocketHandlers(sender, base.clock))
