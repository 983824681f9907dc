"""E-mail addresses: those that belong to accounts, and the proofs under way that somebody reads one."""

from sqlalchemy import Index, Table

from storage.tables.columns import blob, metadata, number, text

third_party_ids = Table(
    "third_party_ids",
    metadata,
    text("medium", key=True),
    text("address", key=True),
    text("user_id"),
    number("validated_at"),
    number("added_at"),
    Index(None, "user_id"),
)

# `purpose` is what the proof is good for; `token_hash` is the SHA-256 of what was sent to the address.
email_validations = Table(
    "email_validations",
    metadata,
    text("session_id", key=True),
    text("purpose"),
    text("address"),
    text("client_secret"),
    number("send_attempt"),
    blob("token_hash"),
    text("next_link", null=True),
    number("created_at"),
    number("validated_at", null=True),
    Index(None, "client_secret", "address"),
)
