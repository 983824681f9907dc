"""The media repository's index; the bytes lie in the media store."""

from sqlalchemy import Index, Table

from storage.tables.columns import flag, metadata, number, text

media = Table(
    "media",
    metadata,
    text("origin", key=True),
    text("media_id", key=True),
    text("content_type", null=True),
    text("upload_name", null=True),
    number("size", null=True),
    text("sha256", null=True),
    number("created_at"),
    number("last_access_at", null=True),
    text("user_id", null=True),
    flag("quarantined"),
    text("stored_as", null=True),
    Index(None, "user_id", "created_at"),
    Index(None, "stored_as"),
)

media_thumbnails = Table(
    "media_thumbnails",
    metadata,
    text("origin", key=True),
    text("media_id", key=True),
    number("width", key=True),
    number("height", key=True),
    text("method", key=True),
    text("content_type", key=True),
    number("size"),
    text("stored_as"),
    Index(None, "stored_as"),
)
