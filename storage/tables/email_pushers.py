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

# What waits to be told by mail, and what was told last. `first_position`: of the oldest event that waits, and `due_at`
# (ms) when to tell it; NULL where none does. `told_position` and `sent_at` (ms) are of the last mail about the room;
# `pause` (ms) is what must lie between that and the next.
email_digests = Table(
    "email_digests",
    metadata,
    text("user_id", key=True),
    number("room_nid", key=True),
    number("first_position", null=True),
    number("due_at", null=True),
    number("told_position", null=True),
    number("sent_at", null=True),
    number("pause"),
    Index(None, "due_at"),
)
