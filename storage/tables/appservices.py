"""Application services: how far each has been told what happens, and which rooms they list for their networks."""

from sqlalchemy import Index, Table

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

# Rooms in the directories of networks that application services bridge to.
network_rooms = Table(
    "network_rooms",
    metadata,
    text("appservice_id", key=True),
    text("network_id", key=True),
    number("room_nid", key=True),
    Index(None, "room_nid"),
)
