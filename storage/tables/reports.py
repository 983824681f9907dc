"""What users report to the people who run the server."""

from sqlalchemy import Index, Table

from storage.tables.columns import metadata, number, text

# Of a room, an event in it, or a user: what is reported is not null.
reports = Table(
    "reports",
    metadata,
    number("report_id", key=True),
    text("reporter"),
    text("room_id", null=True),
    text("event_id", null=True),
    text("user_id", null=True),
    text("reason"),
    number("score", null=True),
    number("received_at"),
    Index(None, "received_at"),
)
