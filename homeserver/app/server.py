"""The whole server: every part, the handlers over them, and the order of starting and stopping."""

from importlib.metadata import PackageNotFoundError, version

from client_api.account import AccountHandlers
from client_api.account_data import AccountDataHandlers
from client_api.dehydrated_devices import DehydratedDeviceHandlers
from client_api.delayed_events import DelayedEventHandlers
from client_api.devices import DeviceHandlers
from client_api.directory import DirectoryHandlers
from client_api.endpoints import ENDPOINTS as CLIENT_ENDPOINTS
from client_api.ephemeral import EphemeralHandlers
from client_api.keys import KeyHandlers
from client_api.login import LoginHandlers
from client_api.media import MediaHandlers
from client_api.membership import MembershipHandlers
from client_api.messages import MessageHandlers
from client_api.operator import OperatorHandlers
from client_api.profiles import ProfileHandlers
from client_api.push_rules import PushRulesHandlers
from client_api.rooms import RoomHandlers
from client_api.server_info import ServerInfoHandlers
from client_api.server_notices import ServerNoticeHandlers
from client_api.sliding_sync import SlidingSyncHandlers
from client_api.sync import SyncHandlers
from client_api.sync_sockets import SyncSocketHandlers
from client_api.third_party_ids import ThirdPartyIdHandlers
from client_api.thread_subscriptions import ThreadSubscriptionHandlers
from client_api.timeline import TimelineHandlers
from client_api.to_device import ToDeviceHandlers
from federation.inbound import devices as federation_devices
from federation.inbound import events as federation_events
from federation.inbound import media as federation_media
from federation.inbound import membership as federation_membership
from federation.inbound import queries as federation_queries
from federation.inbound.endpoints import ENDPOINTS as FEDERATION_ENDPOINTS
from federation.inbound.keys import KeyHandlers as FederationKeyHandlers
from federation.inbound.openid import OpenIdHandlers
from federation.inbound.policy import PolicyHandlers
from federation.inbound.server import ServerHandlers
from federation.inbound.third_party_invites import ThirdPartyInviteHandlers
from federation.inbound.transactions import TransactionHandlers
from federation.outbound.transport import Transport
from homeserver.app.accounts import build_accounts
from homeserver.app.appservices import build_appservices
from homeserver.app.arrivals import build_arrivals
from homeserver.app.delayed_events import build_delayed_events
from homeserver.app.encryption import build_encryption
from homeserver.app.extras import build_extras
from homeserver.app.features import build_features
from homeserver.app.federation import build_federation
from homeserver.app.foundation import Foundation
from homeserver.app.media import build_media
from homeserver.app.notices import build_notices
from homeserver.app.operator import build_operator, operator_access
from homeserver.app.outside import look_outside
from homeserver.app.relations import build_relations
from homeserver.app.rooms import build_public_rooms, build_reading, build_writing
from homeserver.app.sign_on import build_sign_on
from homeserver.app.telling import build_telling
from homeserver.services.account_data import Filters
from homeserver.services.backfill import Backfill
from homeserver.services.dehydrated_devices import DehydratedDevices
from homeserver.services.departures import LeaveRooms
from homeserver.services.device_settings import DeviceSettings
from homeserver.services.invited_users import LocalUsers
from homeserver.services.long_texts import LongTexts
from homeserver.services.read_markers import ReadMarkers
from homeserver.services.room_reading import RoomReading
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.server import HttpServer


class Server:
    """One process of a homeserver. Built without a network or a task of its own; `start` brings it to life."""

    def __init__(self, base: Foundation, *, share_ports: bool = False, transport: Transport | None = None) -> None:
        self.base = base
        config = base.config
        self.outside = look_outside(base, transport)
        limiter = self._limiter = RateLimiter(config.rate_limits, base.clock)
        self.accounts = build_accounts(base, self.outside, limiter)
        self.sign_on = build_sign_on(base, self.accounts)
        self.reading = build_reading(base)
        self.writing = build_writing(base, self.outside, self.reading, self.accounts.profiles)
        self.accounts.profiles.member_updates = self.writing.membership
        self.writing.resync.complete.device_lists = self.accounts.device_lists
        self.accounts.logins.settings = DeviceSettings(self.reading.account_data)
        self.accounts.accounts.departures = LeaveRooms(base.database, self.writing.membership)
        self.accounts.accounts.arrivals = build_arrivals(base, self.accounts.accounts, self.writing)
        self.notices = build_notices(base, self.accounts, self.reading, self.writing)
        self.operator = build_operator(base, self.accounts.accounts, self.notices)
        self.encryption = build_encryption(
            base, self.outside, self.reading.heads, self.writing.idempotency, self.accounts.device_lists
        )
        self.delayed_events = build_delayed_events(base, self.reading, self.writing, limiter)
        self.media = build_media(base, self.outside)
        self.public_rooms = build_public_rooms(base, self.outside)
        self.telling = build_telling(
            base,
            self.reading,
            self._backfill(),
            self.encryption.to_device,
            self.encryption.counts,
            self.accounts.device_lists,
        )
        local_users = LocalUsers(base.database, self.writing.membership.invites)
        self.federation = build_federation(
            base,
            self.outside,
            self.reading,
            self.writing,
            self.telling,
            local_users,
            self.encryption.to_device,
            self.encryption.remote_lists,
        )
        self.relations = build_relations(
            base,
            self.outside,
            self.reading,
            self.writing,
            self.telling,
            self.federation,
            self._backfill(),
            self.accounts.profiles,
        )
        self.extras = build_extras(base, self.reading, self.media.reader)
        self.appservices = build_appservices(
            base,
            self.reading,
            self.writing,
            self.telling,
            self.encryption,
            self.accounts,
            local_users,
        )
        self.features = build_features(base, self.accounts.appservices, self.appservices)
        self.dispatcher = Dispatcher(
            (*CLIENT_ENDPOINTS, *(FEDERATION_ENDPOINTS if config.federation.enabled else ())),
            [*self._client_handlers(), *self._federation_handlers()],
            self.accounts.sessions,
            self.federation.auth,
            limiter,
            base.telemetry,
            limits=config.limits,
        )
        self.http = HttpServer(
            self.dispatcher,
            config.listeners,
            base.telemetry,
            limits=config.limits,
            metrics=config.metrics,
            share_ports=share_ports,
        )

    async def start(self) -> None:
        """Read what has to be in memory, listen, and begin the work in the background. OSError: a port is taken."""
        await self.reading.load()
        await self.telling.presence.start()  # before anybody comes: it would undo that
        await self.http.start()
        if self.base.config.federation.enabled:
            await self.federation.start(self.base)
        await self.extras.start()
        await self.delayed_events.sender.start()
        await self.appservices.start()
        self.media.expiry.start()
        self.telling.sliding_sync.start(self.base.tasks, self.base.clock)
        self.accounts.start(self.base)
        self.sign_on.start(self.base)

    async def stop(self) -> None:
        """Long polls are answered at once; requests under way may end; what was decided is written."""
        self.reading.notifier.close()
        await self.http.stop()
        await self.telling.presence.stop()
        await self.delayed_events.sender.stop()
        await self.extras.stop()
        if self.base.config.federation.enabled:
            await self.federation.sender.stop()
        await self.appservices.stop()
        await self.features.stop()
        await self.sign_on.stop()
        await self.accounts.stop()
        self.media.thumbnails.close()
        await self.outside.transport.close()
        await self.base.close()

    def _backfill(self) -> Backfill:
        return Backfill(
            self.base.database,
            self.outside.client,
            self.reading.heads,
            self.reading.events,
            self.writing.persist,
            self.outside.signatures,
            self.writing.outliers,
            self.writing.fetch,
            server_name=self.base.server_name,
        )

    def _client_handlers(self) -> list[object]:
        base, accounts, reading, writing, telling = self.base, self.accounts, self.reading, self.writing, self.telling
        database, config, encryption = base.database, base.config, self.encryption
        read_markers = ReadMarkers(reading.account_data, telling.receipts, reading.events, reading.heads)
        room_reading = RoomReading(database, reading.events, reading.heads, reading.state, reading.partial)
        return [
            *self.extras.handlers,
            *self.sign_on.handlers,
            OperatorHandlers(operator_access(base), self.operator),
            ServerNoticeHandlers(self.notices),
            *self.relations.client_handlers,
            *self.features.handlers,
            LoginHandlers(
                accounts.accounts,
                accounts.registration,
                accounts.shared_secret,
                accounts.logins,
                accounts.password_login,
                accounts.uia,
                accounts.appservices,
                config.sessions,
                self.sign_on.sso,
            ),
            AccountHandlers(accounts.accounts, accounts.uia, accounts.openid, accounts.emails),
            ThirdPartyIdHandlers(accounts.emails, accounts.uia),
            self.appservices.handlers,
            self.appservices.sockets,
            DeviceHandlers(accounts.devices, accounts.uia),
            ProfileHandlers(accounts.profiles),
            ServerInfoHandlers(config, base.clock),
            KeyHandlers(
                encryption.device_keys,
                encryption.queries,
                encryption.claims,
                accounts.device_lists,
                encryption.cross_signing,
                encryption.signatures,
                accounts.uia,
            ),
            ToDeviceHandlers(encryption.to_device),
            DehydratedDeviceHandlers(
                DehydratedDevices(database, encryption.device_keys, accounts.logins, base.clock)
            ),
            RoomHandlers(writing.create_room, writing.membership, room_reading),
            MembershipHandlers(writing.membership, writing.directory),
            MessageHandlers(
                writing.send_event,
                writing.membership,
                writing.directory,
                self.delayed_events.service,
                LongTexts(self.media.uploads) if config.rooms.long_texts else None,
            ),
            DelayedEventHandlers(self.delayed_events.service),
            DirectoryHandlers(
                writing.directory,
                self.public_rooms,
                needs_login=base.config.rooms.public_directory_needs_login,
            ),
            *self._sync_handlers(),
            ThreadSubscriptionHandlers(telling.threads),
            TimelineHandlers(telling.timeline),
            EphemeralHandlers(telling.typing, read_markers, telling.presence),
            AccountDataHandlers(reading.account_data, telling.push_rules),
            PushRulesHandlers(telling.push_rules),
            MediaHandlers(
                self.media.uploads, self.media.reader, self.media.thumbnails, legacy=config.media.legacy_endpoints
            ),
        ]

    def _sync_handlers(self) -> list[object]:
        sync = SyncHandlers(self.telling.sync, Filters(self.base.database))
        sliding_sync = SlidingSyncHandlers(self.telling.sliding_sync)
        sockets = SyncSocketHandlers(sync, sliding_sync, self.accounts.sessions, self._limiter, self.base.tasks)
        return [sync, sliding_sync, sockets]

    def _federation_handlers(self) -> list[object]:
        base, federation, config = self.base, self.federation, self.base.config.federation
        return [
            ServerHandlers(version=_version(), well_known_server=config.well_known_server),
            FederationKeyHandlers(self.outside.keyring),
            OpenIdHandlers(self.accounts.openid),
            TransactionHandlers(federation.transactions),
            federation_membership.MembershipHandlers(federation.resident, federation.invites),
            federation_events.EventHandlers(federation.served),
            *self.relations.federation_handlers,
            federation_queries.QueryHandlers(
                self.writing.directory,
                self.accounts.profiles,
                self.public_rooms,
                server_name=base.server_name,
                serves_public_rooms=config.public_rooms,
                serves_profiles=config.profiles,
            ),
            federation_devices.DeviceHandlers(self.encryption.local_keys),
            PolicyHandlers(self.writing.policy_signer),
            ThirdPartyInviteHandlers(federation.third_party_invites),
            federation_media.MediaHandlers(self.media.reader, self.media.thumbnails, base.randomness),
        ]


def _version() -> str:
    try:
        return version("hearth-homeserver")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0"
