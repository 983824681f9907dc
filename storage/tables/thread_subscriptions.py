"""Which threads users follow."""

from sqlalchemy import Index, Table

from storage.tables.columns import flag, metadata, number, text

# A thread that was left keeps its row, so that clients are told of it and do not come back by themselves.
thread_subscriptions = Table(
    "thread_subscriptions",
    metadata,
    text("user_id", key=True),
    text("room_id", key=True),
    text("thread_id", key=True),
    flag("subscribed"),
    # Subscribed by a client because the user was mentioned, not by the user.
    flag("automatic"),
    # Place in the log of the last change.
    number("position"),
    Index(None, "user_id", "position"),
    Index(None, "thread_id"),
)
