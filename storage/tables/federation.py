"""Other servers: how far each has been told, what waits for them, what they sent, and their keys."""

from sqlalchemy import Index, Table

from storage.tables.columns import KEPT_BY_KEY, blob, metadata, number, text

destinations = Table(
    "destinations",
    metadata,
    text("server_name", key=True),
    # Every local event up to here has arrived there, as far as it concerns that server.
    number("sent_position", default=0),
    number("retry_at", null=True),
    number("retry_interval", default=0),
    number("failing_since", null=True),
)

# Events for servers that are no longer (or not yet) in the room after them: invites, kicks, bans, the last leave.
destination_events = Table(
    "destination_events", metadata, text("destination", key=True), number("event_nid", key=True), **KEPT_BY_KEY
)

# EDUs that must arrive: messages to devices, device lists, signing keys.
outbound_edus = Table(
    "outbound_edus",
    metadata,
    number("position", key=True),
    text("destination", key=True),
    text("edu_type"),
    blob("content"),
    Index(None, "destination", "position"),
)

server_keys = Table(
    "server_keys",
    metadata,
    text("server_name", key=True),
    text("key_id", key=True),
    blob("verify_key"),
    number("valid_until"),
    number("expired_at", null=True),
    number("fetched_at"),
    blob("response"),
)
