"""What users keep beside events: account data, receipts, what they have read, presence, pushers."""

from sqlalchemy import Index, Table

from storage.tables.columns import KEPT_BY_KEY, blob, flag, metadata, number, text

# `room_id` is empty for global account data.
account_data = Table(
    "account_data",
    metadata,
    text("user_id", key=True),
    text("room_id", key=True),
    text("type", key=True),
    blob("content"),
    number("position"),
    Index(None, "user_id", "position"),
)

# `thread_id` is empty for receipts that name no thread.
receipts = Table(
    "receipts",
    metadata,
    number("room_nid", key=True),
    text("user_id", key=True),
    text("receipt_type", key=True),
    text("thread_id", key=True),
    text("event_id"),
    number("event_depth", null=True),
    number("event_position", null=True),
    blob("data"),
    number("position"),
    Index(None, "room_nid", "position"),
)

# The room's (or thread's) notify_seq up to which a local user has read.
read_marks = Table(
    "read_marks",
    metadata,
    text("user_id", key=True),
    number("room_nid", key=True),
    text("thread_id", key=True),
    number("position"),
    number("notify_seq"),
    **KEPT_BY_KEY,
)

# Where a local user's push rules say something else of an event than the predefined ones.
push_exceptions = Table(
    "push_exceptions",
    metadata,
    text("user_id", key=True),
    number("room_nid", key=True),
    number("position", key=True),
    text("thread_id"),
    number("notify_delta"),
    flag("highlight"),
    blob("actions"),
)

presence = Table(
    "presence",
    metadata,
    text("user_id", key=True),
    text("state"),
    text("status_msg", null=True),
    number("last_active_at"),
)

# `position`: from where on in the log its user is told of events. `sent_position`: up to where that was done, if
# something waits to be sent; else it is as far as all others.
pushers = Table(
    "pushers",
    metadata,
    text("user_id", key=True),
    text("app_id", key=True),
    text("pushkey", key=True),
    text("device_id", null=True),
    blob("pusher"),
    number("changed_at"),
    number("position"),
    number("sent_position", null=True),
    number("failing_since", null=True),
    Index(None, "app_id", "pushkey"),
)
