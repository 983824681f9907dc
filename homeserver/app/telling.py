"""What clients are told: /sync, pages of history, and what is never stored."""

from dataclasses import dataclass

from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading
from homeserver.app.sliding_sync import build_sliding_sync
from homeserver.services.presence import Presence
from homeserver.services.push_rules import PushRules
from homeserver.services.receipts import Receipts
from homeserver.services.sliding_sync.engine import SlidingSync
from homeserver.services.sync.deliveries import Deliveries
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.device_messages import DeviceMessages
from homeserver.services.sync.engine import SyncEngine
from homeserver.services.sync.invitations import Invitations
from homeserver.services.sync.lazy_members import LazyMembers
from homeserver.services.sync.room_sections import RoomSections
from homeserver.services.sync.rooms import Rooms
from homeserver.services.sync.sources import DeviceListChanges, KeyCounts, ToDeviceReader
from homeserver.services.sync.users import SyncUsers
from homeserver.services.thread_subscriptions import ThreadSubscriptions
from homeserver.services.timeline import Backfiller, Timeline
from homeserver.services.typing import Typing


@dataclass(frozen=True, slots=True)
class Telling:
    """The services that answer readers."""

    typing: Typing
    receipts: Receipts
    presence: Presence
    push_rules: PushRules
    timeline: Timeline
    sync: SyncEngine
    sliding_sync: SlidingSync
    threads: ThreadSubscriptions


def build_telling(
    base: Foundation,
    rooms: RoomReading,
    backfill: Backfiller,
    messages: ToDeviceReader,
    key_counts: KeyCounts,
    device_lists: DeviceListChanges,
) -> Telling:
    """`messages`, `key_counts` and `device_lists` are what /sync reads of devices."""
    database, notifier, events, heads = base.database, rooms.notifier, rooms.events, rooms.heads
    users = SyncUsers(database, notifier, events, base.tasks, size=base.config.caches.memberships)
    typing = Typing(notifier, base.bus, base.clock, base.tasks)
    receipts = Receipts(
        database,
        notifier,
        events,
        heads,
        rooms.unread,
        base.clock,
        delivered_up_to=base.config.rooms.delivered_receipts_up_to,
    )
    presence = Presence(database, notifier, base.bus, users, heads, base.clock, base.tasks, base.config.presence)
    sections = RoomSections(events, LazyMembers(), rooms.aggregations)
    sync_rooms = Rooms(
        database, rooms.logs, events, heads, sections, rooms.visibility, receipts, rooms.unread, typing
    )
    invitations = Invitations(database, events, heads, server_name=base.config.server.name)
    changed_devices = DeviceLists(notifier, users, heads, device_lists)
    deliveries = Deliveries(users, rooms.logs, heads, receipts, base.tasks)
    engine = SyncEngine(
        notifier,
        users,
        sync_rooms,
        invitations,
        rooms.account_data,
        typing,
        presence,
        DeviceMessages(messages),
        changed_devices,
        key_counts,
        base.tasks,
        max_wait_s=base.config.limits.sync_timeout,
        deliveries=deliveries,
        partial=rooms.partial,
    )
    timeline = Timeline(database, events, rooms.state, rooms.history, rooms.aggregations, backfill)
    threads = ThreadSubscriptions(database, notifier, rooms.history, rooms.account_data)
    sliding_sync = build_sliding_sync(
        base,
        rooms,
        users,
        sync_rooms,
        invitations,
        receipts,
        typing,
        presence,
        messages,
        changed_devices,
        key_counts,
        threads,
        deliveries,
    )
    return Telling(typing, receipts, presence, PushRules(rooms.account_data), timeline, engine, sliding_sync, threads)
