"""Relations and threads, spaces and summaries, upgrades, the event of a time: services and handlers."""

from dataclasses import dataclass

from client_api.event_stream import EventStreamHandlers
from client_api.relations import RelationHandlers
from client_api.spaces import SpaceHandlers
from client_api.upgrades import UpgradeHandlers
from federation.inbound.rooms import RoomHandlers as FederationRoomHandlers
from homeserver.app.federation import FederationServices
from homeserver.app.foundation import Foundation
from homeserver.app.outside import Outside
from homeserver.app.rooms import RoomReading, RoomWriting
from homeserver.app.telling import Telling
from homeserver.services import room_reading
from homeserver.services.backfill import Backfill
from homeserver.services.event_by_time import EventByTime, NoRemoteTimes, RemoteTimes
from homeserver.services.event_stream import EventStream
from homeserver.services.initial_sync import InitialSync
from homeserver.services.mutual_rooms import MutualRooms
from homeserver.services.profile_reader import ProfileReader
from homeserver.services.related_events import RelatedEvents
from homeserver.services.remote_summaries import FederationSummaries, NoRemoteSummaries, RemoteSummaries
from homeserver.services.remote_times import FederationTimes, ServedTimes
from homeserver.services.room_preview import RoomPreview
from homeserver.services.room_summaries import RoomSummaries
from homeserver.services.space_hierarchy import ServedHierarchy, SpaceHierarchy
from homeserver.services.upgrade_room import UpgradeRoom


@dataclass(frozen=True, slots=True)
class Relations:
    """The handlers over it all."""

    client_handlers: tuple[object, ...]
    federation_handlers: tuple[object, ...]


def build_relations(
    base: Foundation,
    outside: Outside,
    reading: RoomReading,
    writing: RoomWriting,
    telling: Telling,
    federation: FederationServices,
    backfill: Backfill,
    profiles: ProfileReader,
) -> Relations:
    """Needs the rooms to read and to write, and a way to ask other servers."""
    database, events, history = base.database, reading.events, reading.history
    times: RemoteTimes = NoRemoteTimes()
    remote: RemoteSummaries = NoRemoteSummaries()
    if base.config.federation.enabled:
        times = FederationTimes(outside.client, backfill)
        remote = FederationSummaries(outside.client, base.clock, server_name=base.server_name)
    summaries = RoomSummaries(events, reading.heads, server_name=base.server_name)
    return Relations(
        (
            RelationHandlers(
                RelatedEvents(database, events, history, reading.aggregations),
                EventByTime(database, events, history, times),
            ),
            SpaceHandlers(
                SpaceHierarchy(database, summaries, remote),
                RoomPreview(database, writing.directory, summaries, remote),
                MutualRooms(database),
            ),
            _event_stream(base, reading, writing, telling),
            UpgradeHandlers(UpgradeRoom(database, events, writing.send_event, writing.create_room, profiles)),
        ),
        (
            FederationRoomHandlers(
                ServedHierarchy(summaries, reading.access),
                ServedTimes(database, events, reading.access, federation.served),
            ),
        ),
    )


def _event_stream(
    base: Foundation, reading: RoomReading, writing: RoomWriting, telling: Telling
) -> EventStreamHandlers:
    database, notifier, events = base.database, reading.notifier, reading.events
    return EventStreamHandlers(
        EventStream(
            database,
            notifier,
            events,
            reading.heads,
            reading.history,
            reading.visibility,
            max_wait_s=base.config.limits.sync_timeout,
        ),
        InitialSync(
            database,
            notifier,
            events,
            telling.timeline,
            room_reading.RoomReading(database, events, reading.heads, reading.state, reading.partial),
            writing.directory,
            reading.account_data,
        ),
        telling.timeline,
    )
