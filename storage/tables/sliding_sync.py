"""Sliding sync connections: what each has been sent."""

from sqlalchemy import Index, Table

from storage.tables.columns import blob, metadata, number, text

# A connection has at most two states that its client may name next: the one it has named last (`acked`) and the one of
# the answer after that (`pending`). `configs` is a JSON list of the required states that `sliding_sync_rooms` refer to.
sliding_sync_connections = Table(
    "sliding_sync_connections",
    metadata,
    number("connection_nid", key=True),
    text("user_id"),
    text("device_id"),
    text("conn_id"),
    number("acked"),
    number("pending"),
    blob("configs"),
    number("last_used_at"),
    Index(None, "user_id", "device_id"),
    Index(None, "last_used_at"),
)

# What was sent of a room: `sent` in states before `pending_state`, `pending` from that on (0: there is none).
sliding_sync_rooms = Table(
    "sliding_sync_rooms",
    metadata,
    number("connection_nid", key=True),
    text("room_id", key=True),
    blob("sent", null=True),
    number("pending_state"),
    blob("pending", null=True),
)
