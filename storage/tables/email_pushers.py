"""Mails about messages that nobody read."""

from sqlalchemy import Index, Table

from storage.tables.columns import blob, metadata, number, text

# `pusher` is JSON as clients know it; whoever has `unsubscribe_token` may end it.
email_pushers = Table(
    "email_pushers",
    metadata,
    text("user_id", key=True),
    text("app_id", key=True),
    text("pushkey", key=True),
    blob("pusher"),
    number("changed_at"),
    text("unsubscribe_token", unique=True),
)

# What waits to be told by mail, and when a mail about a room was sent last. `first_position` and `waiting_since` (ms)
# are of the oldest event that waits, NULL where none does; `pause` (ms) is what must lie between two mails.
email_digests = Table(
    "email_digests",
    metadata,
    text("user_id", key=True),
    number("room_nid", key=True),
    number("first_position", null=True),
    number("waiting_since", null=True),
    number("sent_at", null=True),
    number("pause"),
    Index(None, "waiting_since"),
)
