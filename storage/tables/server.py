"""The server's own bookkeeping: the log's position, reserved ids, leases."""

from sqlalchemy import Table

from storage.tables.columns import metadata, number, text

# One row. Its lock, held from taking positions to the commit, is what puts positions in the order of commits.
stream_position = Table("stream_position", metadata, number("id", key=True), number("value"))

id_blocks = Table("id_blocks", metadata, text("kind", key=True), number("next"))

leases = Table(
    "leases", metadata, text("name", key=True), text("holder"), number("fence"), number("expires_at")
)

# How far those have come who follow the log in the background.
log_readers = Table("log_readers", metadata, text("name", key=True), number("position"))
