"""Backups of room keys that clients keep here, encrypted, so that a new device can read old messages."""

from sqlalchemy import Table

from storage.tables.columns import blob, flag, metadata, number, text

# A deleted backup keeps its row, so that its version is never given out again.
key_backups = Table(
    "key_backups",
    metadata,
    text("user_id", key=True),
    number("version", key=True),
    text("algorithm"),
    blob("auth_data"),
    # Grows with every change of the keys.
    number("etag", default=0),
    number("key_count", default=0),
    flag("deleted"),
)

backed_up_keys = Table(
    "backed_up_keys",
    metadata,
    text("user_id", key=True),
    number("version", key=True),
    text("room_id", key=True),
    text("session_id", key=True),
    number("first_message_index"),
    number("forwarded_count"),
    flag("is_verified"),
    blob("session_data"),
)
