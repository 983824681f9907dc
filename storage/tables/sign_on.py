"""Single sign-on: who people are elsewhere, and logins that are under way."""

from sqlalchemy import Index, Table

from storage.tables.columns import blob, metadata, number, text

# `subject` is what the identity provider calls the user, for ever.
external_ids = Table(
    "external_ids",
    metadata,
    text("provider", key=True),
    text("subject", key=True),
    text("user_id"),
    Index(None, "user_id"),
)

# `browser` is the SHA-256 of the cookie of the browser that it was begun in; `details` is JSON.
sign_ons = Table(
    "sign_ons",
    metadata,
    text("sign_on_id", key=True),
    text("step"),
    blob("browser"),
    blob("details"),
    number("created_at"),
)
