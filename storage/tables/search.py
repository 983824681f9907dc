"""What full-text search looks through. `words` are those of core.search_words; an index of the engine's own, made by
`storage.dialect`, follows these tables row by row."""

from sqlalchemy import Index, Table

from storage.tables.columns import metadata, number, text

# Messages, names and topics that may be found. `key`: the property that the words come from.
search_documents = Table(
    "search_documents",
    metadata,
    number("event_nid", key=True),
    number("room_nid"),
    text("key"),
    text("sender"),
    number("sent_at"),
    text("words"),
    Index(None, "room_nid", "sent_at"),
)

# Users that are in rooms, with the words of their ids and names. `entry_id` is what the index knows them by.
directory_entries = Table(
    "directory_entries", metadata, text("user_id", key=True), number("entry_id", unique=True), text("words")
)
