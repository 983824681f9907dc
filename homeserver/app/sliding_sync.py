"""Simplified sliding sync, over the parts that /sync is made of."""

from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading
from homeserver.services.presence import Presence
from homeserver.services.receipts import Receipts
from homeserver.services.sliding_sync.connections import Connections
from homeserver.services.sliding_sync.engine import SlidingSync
from homeserver.services.sliding_sync.extensions import ExtensionSections
from homeserver.services.sliding_sync.room_facts import RoomFactsOfAll
from homeserver.services.sliding_sync.rooms import SlidingRooms
from homeserver.services.sliding_sync.user_lists import ListsOfUsers
from homeserver.services.sync.deliveries import Deliveries
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.invitations import Invitations
from homeserver.services.sync.rooms import Rooms
from homeserver.services.sync.sources import KeyCounts, ToDeviceReader
from homeserver.services.sync.users import SyncUsers
from homeserver.services.thread_subscriptions import ThreadSubscriptions
from homeserver.services.typing import Typing


def build_sliding_sync(
    base: Foundation,
    rooms: RoomReading,
    users: SyncUsers,
    sync_rooms: Rooms,
    invitations: Invitations,
    receipts: Receipts,
    typing: Typing,
    presence: Presence,
    messages: ToDeviceReader,
    device_lists: DeviceLists,
    key_counts: KeyCounts,
    subscriptions: ThreadSubscriptions,
    deliveries: Deliveries,
) -> SlidingSync:
    """Everything after `rooms` is what /sync reads."""
    database, notifier, events, heads = base.database, rooms.notifier, rooms.events, rooms.heads
    facts = RoomFactsOfAll(database, notifier, events, heads)
    return SlidingSync(
        notifier,
        users,
        rooms.account_data,
        sync_rooms,
        ListsOfUsers(database, notifier, rooms.logs, events, facts),
        Connections(database, base.clock),
        SlidingRooms(
            database,
            rooms.logs,
            events,
            heads,
            facts,
            sync_rooms,
            invitations,
            rooms.visibility,
            receipts,
            rooms.unread,
            rooms.aggregations,
        ),
        ExtensionSections(rooms.logs, typing, receipts, messages, device_lists, key_counts, subscriptions),
        typing,
        presence,
        deliveries,
        rooms.partial,
        max_wait_s=base.config.limits.sync_timeout,
    )
