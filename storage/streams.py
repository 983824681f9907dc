"""The names of the streams: what kind of fact a hint or a position is about."""

from enum import StrEnum


class Stream(StrEnum):
    """Durable streams share the one commit-ordered log; the last four are never stored: their news is the payload."""

    EVENTS = "events"  # keys: room id; payload in the process that wrote it: StoredEvent
    RECEIPTS = "receipts"  # keys: room id
    ACCOUNT_DATA = "account_data"  # keys: user id
    PUSH_RULES = "push_rules"  # keys: user id; account data that decides on notifications: whom they ignore as well
    TO_DEVICE = "to_device"  # keys: user ids
    THREAD_SUBSCRIPTIONS = "thread_subscriptions"  # keys: user id
    DEVICE_LISTS = "device_lists"  # keys: the users whose devices or keys changed
    MEMBERSHIPS = "memberships"  # keys: user ids; invites, knocks and rejections that are no events of a room of ours
    FEDERATION_EDUS = "federation_edus"  # keys: destinations
    MEDIA = "media"  # keys: media ids of this server whose upload has ended
    CACHES = "caches"  # keys: what other processes must forget, as "kind:key"
    TYPING = "typing"
    PRESENCE = "presence"
    APPSERVICE_SOCKETS = "appservice_sockets"  # keys: an application service that connected to another process
    FEDERATION_CONTACT = "federation_contact"  # keys: servers that were just heard from
