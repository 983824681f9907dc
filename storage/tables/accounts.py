"""Accounts: users, their devices and tokens, profiles, and what makes requests idempotent."""

from sqlalchemy import Index, Table

from storage.tables.columns import KEPT_BY_KEY, blob, flag, metadata, number, text

users = Table(
    "users",
    metadata,
    text("user_id", key=True),
    text("password_hash", null=True),
    number("created_at"),
    flag("is_admin"),
    flag("is_guest"),
    text("appservice_id", null=True),
    flag("deactivated"),
    flag("locked"),
    flag("suspended"),
    flag("erased"),
)

# One row per profile field; `value` is JSON.
profiles = Table("profiles", metadata, text("user_id", key=True), text("field", key=True), blob("value"))

devices = Table(
    "devices",
    metadata,
    text("user_id", key=True),
    text("device_id", key=True),
    text("display_name", null=True),
    number("created_at"),
    number("last_seen_at", null=True),
    text("last_seen_ip", null=True),
    text("last_seen_user_agent", null=True),
)

# Tokens are kept as SHA-256 hashes only.
access_tokens = Table(
    "access_tokens",
    metadata,
    blob("token_hash", key=True),
    text("user_id"),
    text("device_id", null=True),
    number("created_at"),
    number("expires_at", null=True),
    number("refresh_token_id", null=True),
    Index(None, "user_id", "device_id"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    blob("token_hash", key=True),
    number("refresh_token_id", unique=True),
    text("user_id"),
    text("device_id"),
    number("expires_at", null=True),
    number("next_token_id", null=True),
    flag("used"),
    Index(None, "user_id", "device_id"),
)

login_tokens = Table(
    "login_tokens", metadata, blob("token_hash", key=True), text("user_id"), number("expires_at"), flag("used")
)

openid_tokens = Table("openid_tokens", metadata, blob("token_hash", key=True), text("user_id"), number("expires_at"))

registration_tokens = Table(
    "registration_tokens",
    metadata,
    text("token", key=True),
    number("uses_allowed", null=True),
    number("pending", default=0),
    number("completed", default=0),
    number("expires_at", null=True),
)

uia_sessions = Table(
    "uia_sessions",
    metadata,
    text("session_id", key=True),
    text("operation"),
    blob("body"),
    blob("completed"),
    number("created_at"),
)

filters = Table("filters", metadata, text("user_id", key=True), text("filter_id", key=True), blob("filter"))

# The answer to a request that must happen once: `key` names the operation, its target and the client's transaction id.
transactions = Table(
    "transactions",
    metadata,
    text("user_id", key=True),
    text("device_id", key=True),
    text("key", key=True),
    blob("result"),
    number("created_at"),
    Index(None, "created_at"),
    **KEPT_BY_KEY,
)
