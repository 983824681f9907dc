"""Events: what is known of each, its body, and the two graphs (prev events, auth events) they form."""

from sqlalchemy import Index, Table, UniqueConstraint

from storage.tables.columns import KEPT_BY_KEY, blob, flag, metadata, number, text

events = Table(
    "events",
    metadata,
    number("event_nid", key=True),
    text("event_id", unique=True),
    number("room_nid"),
    text("type"),
    text("state_key", null=True),
    text("sender"),
    number("depth"),
    number("origin_server_ts"),
    # Order of arrival; backfilled events count downwards below zero; outliers have none.
    number("position", null=True),
    flag("outlier"),
    text("rejected", null=True),
    flag("soft_failed"),
    # Not all that it cites was there when it came: the timeline has a gap before it.
    flag("follows_gap"),
    # The state before the event.
    number("snapshot_id", null=True),
    # How many events of the room (of the thread) notified by default, up to and including this one.
    number("notify_seq", default=0),
    number("thread_notify_seq", default=0),
    text("thread_root", null=True),
    # State events: what they replaced in the state before them.
    number("replaces_nid", null=True),
    text("redacted_by", null=True),
    flag("is_local"),
    # For the device that sent it, which recognises its event by the transaction id.
    text("device_id", null=True),
    text("transaction_id", null=True),
    Index(None, "room_nid", "depth", "position"),
    Index(None, "room_nid", "position"),
    Index(None, "position"),
    Index(None, "room_nid", "origin_server_ts"),
)

event_bodies = Table("event_bodies", metadata, number("event_nid", key=True), blob("body"))

# Accepted events that relate to another and are not redacted: what threads, edits and the like are gathered from.
event_relations = Table(
    "event_relations",
    metadata,
    number("event_nid", key=True),
    text("event_id"),
    number("room_nid"),
    text("relates_to"),
    text("rel_type"),
    # What an annotation annotates with.
    text("annotation_key", null=True),
    text("type"),
    text("sender"),
    number("origin_server_ts"),
    number("depth"),
    number("position"),
    Index(None, "relates_to", "rel_type", "depth", "position"),
    Index(None, "room_nid", "rel_type", "depth", "position"),
)

# Which events ask to redact another, whether or not it has arrived yet.
redactions = Table("redactions", metadata, text("redacts", key=True), number("event_nid", key=True), **KEPT_BY_KEY)

event_edges = Table(
    "event_edges",
    metadata,
    number("event_nid", key=True),
    text("prev_event_id", key=True),
    Index(None, "prev_event_id"),
    **KEPT_BY_KEY,
)

event_auth = Table(
    "event_auth", metadata, number("event_nid", key=True), number("auth_event_nid", key=True), **KEPT_BY_KEY
)

forward_extremities = Table(
    "forward_extremities",
    metadata,
    number("room_nid", key=True),
    number("event_nid", key=True),
    text("event_id"),
    number("depth"),
    **KEPT_BY_KEY,
)

# Prev events that we know of but lack: where backfill goes on.
backward_extremities = Table(
    "backward_extremities",
    metadata,
    number("room_nid", key=True),
    text("event_id", key=True),
    number("depth"),
    **KEPT_BY_KEY,
)

# The chain cover of the auth events' graph: an event reaches its own chain below it, and parts of others by links.
auth_chains = Table(
    "auth_chains",
    metadata,
    number("event_nid", key=True),
    number("room_nid"),
    number("chain_id"),
    number("sequence"),
    UniqueConstraint("chain_id", "sequence"),
)

auth_chain_links = Table(
    "auth_chain_links",
    metadata,
    number("origin_chain", key=True),
    number("origin_sequence", key=True),
    number("target_chain", key=True),
    number("target_sequence", key=True),
    **KEPT_BY_KEY,
)
