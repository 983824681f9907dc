"""Application services: how far each has been told what happens."""

from sqlalchemy import Table

from storage.tables.columns import metadata, number, text

# Everything up to `sent_position` has arrived there. `pending_position`: up to where the transaction `txn_id` reaches,
# which was tried and may have arrived; it is never made of other events when it is tried again.
appservice_queues = Table(
    "appservice_queues",
    metadata,
    text("appservice_id", key=True),
    number("sent_position"),
    number("pending_position", null=True),
    number("txn_id", default=0),
)
