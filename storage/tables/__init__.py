"""Every table, a module per aggregate. Integer keys inside (`…_nid`), Matrix ids at the edge.

`metadata` holds them all; the migrations are checked against it. Columns named `position` carry places of the one
commit-ordered log (see `storage.database`). No foreign keys: rows are written by one batch writer in an order of its
own, and a check per row would be paid on every message.
"""

from storage.tables.accounts import (
    access_tokens,
    devices,
    filters,
    login_tokens,
    openid_tokens,
    profiles,
    refresh_tokens,
    registration_tokens,
    transactions,
    uia_sessions,
    users,
)
from storage.tables.appservices import appservice_queues, network_rooms
from storage.tables.columns import metadata
from storage.tables.delayed_events import delayed_events
from storage.tables.email_pushers import email_digests, email_pushers
from storage.tables.encryption import (
    cross_signing_keys,
    dehydrated_devices,
    device_keys,
    device_list_changes,
    fallback_keys,
    key_signatures,
    one_time_keys,
    remote_device_list_state,
    remote_device_lists,
    to_device,
    to_device_seen,
)
from storage.tables.events import (
    auth_chain_links,
    auth_chains,
    backward_extremities,
    event_auth,
    event_bodies,
    event_edges,
    event_relations,
    events,
    forward_extremities,
    redactions,
)
from storage.tables.federation import (
    destination_events,
    destinations,
    outbound_edus,
    server_keys,
)
from storage.tables.key_backup import backed_up_keys, key_backups
from storage.tables.media import media, media_thumbnails
from storage.tables.reports import reports
from storage.tables.rooms import (
    current_state,
    invited_rooms_state,
    memberships,
    partial_rooms,
    room_aliases,
    room_hosts,
    room_threads,
    rooms,
    state_changes,
    state_deltas,
    state_snapshots,
    told_states,
)
from storage.tables.search import directory_entries, search_documents
from storage.tables.server import id_blocks, leases, log_readers, stream_position
from storage.tables.server_notices import notice_rooms
from storage.tables.sign_on import external_ids, sign_ons
from storage.tables.sliding_sync import sliding_sync_connections, sliding_sync_rooms
from storage.tables.third_party_ids import email_validations, third_party_ids
from storage.tables.thread_subscriptions import thread_subscriptions
from storage.tables.user_data import account_data, presence, push_exceptions, pushers, read_marks, receipts

__all__ = [
    "access_tokens",
    "account_data",
    "appservice_queues",
    "auth_chain_links",
    "auth_chains",
    "backed_up_keys",
    "backward_extremities",
    "cross_signing_keys",
    "current_state",
    "dehydrated_devices",
    "delayed_events",
    "destination_events",
    "destinations",
    "device_keys",
    "device_list_changes",
    "devices",
    "directory_entries",
    "email_digests",
    "email_pushers",
    "email_validations",
    "event_auth",
    "event_bodies",
    "event_edges",
    "event_relations",
    "events",
    "external_ids",
    "fallback_keys",
    "filters",
    "forward_extremities",
    "id_blocks",
    "invited_rooms_state",
    "key_backups",
    "key_signatures",
    "leases",
    "log_readers",
    "login_tokens",
    "media",
    "media_thumbnails",
    "memberships",
    "metadata",
    "network_rooms",
    "notice_rooms",
    "one_time_keys",
    "openid_tokens",
    "outbound_edus",
    "partial_rooms",
    "presence",
    "profiles",
    "push_exceptions",
    "pushers",
    "read_marks",
    "receipts",
    "redactions",
    "refresh_tokens",
    "registration_tokens",
    "remote_device_list_state",
    "remote_device_lists",
    "reports",
    "room_aliases",
    "room_hosts",
    "room_threads",
    "rooms",
    "search_documents",
    "server_keys",
    "sign_ons",
    "sliding_sync_connections",
    "sliding_sync_rooms",
    "state_changes",
    "state_deltas",
    "state_snapshots",
    "stream_position",
    "third_party_ids",
    "thread_subscriptions",
    "to_device",
    "to_device_seen",
    "told_states",
    "transactions",
    "uia_sessions",
    "users",
]
