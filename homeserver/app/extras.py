"""What stands beside rooms and accounts: key backups, push notifications, search, reports."""

from dataclasses import dataclass

from client_api.key_backup import KeyBackupHandlers
from client_api.pushers import PusherHandlers
from client_api.reports import ReportHandlers
from client_api.search import SearchHandlers
from client_api.unsubscribing import UnsubscribeHandlers
from federation.outbound.addresses import socket_factory
from federation.outbound.transport import ssl_context
from homeserver.app.accounts import mailer_of
from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading
from homeserver.runtime.http_client import HttpClient
from homeserver.services.digest_content import DigestContent
from homeserver.services.email_digests import EmailDigests
from homeserver.services.email_pushers import EmailPushers
from homeserver.services.history_access import HistoryAccess
from homeserver.services.key_backup import KeyBackups
from homeserver.services.long_texts import LongTextReader
from homeserver.services.media import MediaReader
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
    digests: EmailDigests | None
    search_index: SearchIndex

    async def start(self) -> None:
        """Begin the work in the background."""
        self.search_index.start()
        if self.push_sender is not None:
            await self.push_sender.start()
        if self.digests is not None:
            self.digests.start()

    async def stop(self) -> None:
        """End it, and note how far it has come."""
        if self.push_sender is not None:
            await self.push_sender.stop()
        if self.digests is not None:
            await self.digests.stop()
        await self.http.close()


def build_extras(base: Foundation, reading: RoomReading, media: MediaReader) -> Extras:
    """Needs rooms and media to read, nothing that writes them."""
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
    is_mailing = config.email.host is not None and config.email.pushers
    email_pushers = EmailPushers(database, base.clock, base.randomness, is_enabled=is_mailing)
    pushers = Pushers(
        database, base.clock, allow_http=config.push.allow_private_addresses, email=email_pushers
    )
    notifications = Notifications(database, reading.events, access, reading.push_actions)
    index = SearchIndex(
        database, reading.events, LongTextReader(media), base.clock, base.tasks, server_name=base.server_name
    )
    return Extras(
        (
            KeyBackupHandlers(KeyBackups(database)),
            PusherHandlers(pushers, notifications),
            UnsubscribeHandlers(email_pushers),
            _search_handlers(base, reading, access, index),
            ReportHandlers(Reports(database, reading.heads, access, base.clock)),
        ),
        http,
        push_sender if config.push.enabled else None,
        _digests(base, reading, notifications) if is_mailing else None,
        index,
    )


def _digests(base: Foundation, reading: RoomReading, notifications: Notifications) -> EmailDigests | None:
    config = base.config
    mailer = mailer_of(config.email)
    if mailer is None:
        return None
    content = DigestContent(
        base.database, reading.events, reading.heads, notifications, include_content=config.push.include_content
    )
    return EmailDigests(
        base.database,
        reading.notifier,
        reading.events,
        reading.heads,
        reading.push_actions,
        content,
        mailer,
        base.clock,
        base.tasks,
        config.email,
        server_name=base.server_name,
        public_base_url=config.public_base_url,
        process_name=base.process_name,
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
