"""Delayed events: what users want to be sent later, and what became of it."""

from sqlalchemy import Index, Table

from storage.tables.columns import blob, metadata, number, text

# While `send_at` is set the event is scheduled; once it was sent, cancelled or refused, `finalised_at` is.
delayed_events = Table(
    "delayed_events",
    metadata,
    text("delay_id", key=True),
    text("user_id"),
    text("device_id", null=True),
    text("room_id"),
    text("type"),
    text("state_key", null=True),
    blob("content"),
    # Application services may say when the event happened.
    number("origin_server_ts", null=True),
    number("delay_ms"),
    number("scheduled_at"),
    number("send_at", null=True),
    # State events: what was in their place when they were scheduled.
    text("based_on", null=True),
    number("finalised_at", null=True),
    text("event_id", null=True),
    blob("error", null=True),
    Index(None, "send_at"),
    Index(None, "user_id", "send_at"),
)
