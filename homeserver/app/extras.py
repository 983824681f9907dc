"""What stands beside rooms and accounts: key backups, push notifications, search, reports."""

from dataclasses import dataclass

from client_api.key_backup import KeyBackupHandlers
from client_api.pushers import PusherHandlers
from client_api.reports import ReportHandlers
from client_api.search import SearchHandlers
from federation.outbound.addresses import socket_factory
from federation.outbound.transport import ssl_context
from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading
from homeserver.runtime.http_client import HttpClient
from homeserver.services.history_access import HistoryAccess
from homeserver.services.key_backup import KeyBackups
from homeserver.services.notifications import Notifications
from homeserver.services.push_gateway import PushGateway
from homeserver.services.push_sender import PushSender
from homeserver.services.pushers import Pushers
from homeserver.services.reports import Reports
from homeserver.services.room_reading import RoomReading as RoomReader
from homeserver.services.search import Search
from homeserver.services.search_context import SearchContexts
from homeserver.services.search_index import SearchIndex
from homeserver.services.user_directory import UserDirectory


@dataclass(frozen=True, slots=True)
class Extras:
    """Services with a life of their own, and the handlers over all of them."""

    handlers: tuple[object, ...]
    http: HttpClient
    push_sender: PushSender | None
    search_index: SearchIndex

    async def start(self) -> None:
        """Begin the work in the background."""
        self.search_index.start()
        if self.push_sender is not None:
            await self.push_sender.start()

    async def stop(self) -> None:
        """End it, and note how far it has come."""
        if self.push_sender is not None:
            await self.push_sender.stop()
        await self.http.close()


def build_extras(base: Foundation, reading: RoomReading) -> Extras:
    """Needs the rooms to read, nothing that writes them."""
    config, database = base.config, base.database
    access = HistoryAccess(database, reading.events, reading.heads, reading.state, reading.visibility)
    http = _gateway_client(base)
    push_sender = PushSender(
        database,
        reading.notifier,
        reading.events,
        reading.heads,
        reading.push_actions,
        PushGateway(
            http, reading.events, include_content=config.push.include_content, timeout_s=config.push.timeout
        ),
        base.clock,
        base.randomness,
        base.tasks,
        process_name=base.process_name,
    )
    pushers = Pushers(database, base.clock, allow_http=config.push.allow_private_addresses)
    index = SearchIndex(database, reading.events, base.clock, base.tasks, server_name=base.server_name)
    return Extras(
        (
            KeyBackupHandlers(KeyBackups(database)),
            PusherHandlers(pushers, Notifications(database, reading.events, access, reading.push_actions)),
            _search_handlers(base, reading, access, index),
            ReportHandlers(Reports(database, reading.heads, access, base.clock)),
        ),
        http,
        push_sender if config.push.enabled else None,
        index,
    )


def _search_handlers(
    base: Foundation, reading: RoomReading, access: HistoryAccess, index: SearchIndex
) -> SearchHandlers:
    database, events = base.database, reading.events
    rooms = RoomReader(database, events, reading.heads, reading.state)
    contexts = SearchContexts(database, events, access, reading.state)
    return SearchHandlers(
        Search(database, events, access, index, contexts, rooms),
        UserDirectory(
            database, index, server_name=base.server_name, search_all=base.config.users.search_all
        ),
    )


def _gateway_client(base: Foundation) -> HttpClient:
    """Push gateways are named by users: they must not make this server reach into its own network."""
    config = base.config
    return HttpClient(
        tls=ssl_context(config.federation.ca_files, config.federation.verify_certificates),
        socket_factory=socket_factory(config.push.allow_private_addresses),
    )
