"""Where users hear from the server itself."""

from sqlalchemy import Table

from storage.tables.columns import metadata, text

# Its key is what keeps two notices that are sent at once from making two rooms.
notice_rooms = Table("notice_rooms", metadata, text("user_id", key=True), text("room_id"))
