"""End-to-end encryption: keys of devices and users, what changed in them, and messages to devices."""

from sqlalchemy import Index, Table

from storage.tables.columns import KEPT_BY_KEY, blob, flag, metadata, number, text

device_keys = Table(
    "device_keys",
    metadata,
    text("user_id", key=True),
    text("device_id", key=True),
    blob("keys"),
    number("position"),
)

# The one device of a user that nobody is logged in at; `device_data` is what its client needs to bring it back.
dehydrated_devices = Table(
    "dehydrated_devices", metadata, text("user_id", key=True), text("device_id"), blob("device_data")
)

one_time_keys = Table(
    "one_time_keys",
    metadata,
    text("user_id", key=True),
    text("device_id", key=True),
    text("algorithm", key=True),
    text("key_id", key=True),
    blob("key"),
    number("created_at"),
)

fallback_keys = Table(
    "fallback_keys",
    metadata,
    text("user_id", key=True),
    text("device_id", key=True),
    text("algorithm", key=True),
    text("key_id"),
    blob("key"),
    flag("used"),
)

cross_signing_keys = Table(
    "cross_signing_keys",
    metadata,
    text("user_id", key=True),
    text("usage", key=True),
    blob("key"),
    number("position"),
)

key_signatures = Table(
    "key_signatures",
    metadata,
    text("user_id", key=True),
    text("key_id", key=True),
    text("signer_user_id", key=True),
    text("signer_key_id", key=True),
    text("signature"),
)

device_list_changes = Table(
    "device_list_changes",
    metadata,
    number("position", key=True),
    text("user_id", key=True),
    Index(None, "user_id", "position"),
    **KEPT_BY_KEY,
)

remote_device_lists = Table(
    "remote_device_lists", metadata, text("user_id", key=True), text("device_id", key=True), blob("keys")
)

# Of users elsewhere: the newest update that was received, and where the log stood when the whole list was read. Of
# local users: the newest update that was sent.
remote_device_list_state = Table(
    "remote_device_list_state",
    metadata,
    text("user_id", key=True),
    number("stream_id", null=True),
    number("position", null=True),
    flag("stale"),
)

# `ordinal`: the place in the log where the message arrived. `position`: from where on its device may see it, which is
# later where too many waited for one answer.
to_device = Table(
    "to_device",
    metadata,
    text("user_id", key=True),
    text("device_id", key=True),
    number("ordinal", key=True),
    number("position"),
    blob("message"),
)

# Messages from other servers that arrived already.
to_device_seen = Table(
    "to_device_seen", metadata, text("origin", key=True), text("message_id", key=True), number("seen_at")
)
