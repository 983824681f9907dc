"""Rooms: their heads, current state, snapshots of earlier state, members and aliases."""

from sqlalchemy import Index, Table

from storage.tables.columns import KEPT_BY_KEY, blob, flag, metadata, number, text

rooms = Table(
    "rooms",
    metadata,
    number("room_nid", key=True),
    text("room_id", unique=True),
    text("room_version"),
    text("creator", null=True),
    # Grows with every change of the head; whoever cached the head checks it under the row's lock.
    number("version", default=0),
    number("snapshot_id", null=True),
    number("joined_count", default=0),
    number("invited_count", default=0),
    number("notify_seq", default=0),
    # Where in the log this server's stay in the room began, if other servers told what the room was then.
    number("taken_over_at", null=True),
    flag("is_public"),
    flag("partial_state"),
    flag("is_blocked"),
    Index(None, "is_public", "joined_count"),
)

# Threads of a room, with how many of their events notified by default.
room_threads = Table(
    "room_threads",
    metadata,
    number("room_nid", key=True),
    text("thread_root", key=True),
    number("notify_seq", default=0),
    **KEPT_BY_KEY,
)

# Servers with joined members. `since`: the place in the log of what brought the server in, so that it is not sent what
# came before; none where it was there before this server, or before this was noted.
room_hosts = Table(
    "room_hosts",
    metadata,
    number("room_nid", key=True),
    text("server_name", key=True),
    number("joined_count"),
    number("since", null=True),
    Index(None, "server_name"),
    **KEPT_BY_KEY,
)

# A snapshot is its parent with a delta. The ordinal's trailing zeros in base 16 say how far back the parent is.
state_snapshots = Table(
    "state_snapshots",
    metadata,
    number("snapshot_id", key=True),
    number("room_nid"),
    number("parent_id", null=True),
    number("ordinal"),
)

state_deltas = Table(
    "state_deltas",
    metadata,
    number("snapshot_id", key=True),
    text("type", key=True),
    text("state_key", key=True),
    number("event_nid"),
    **KEPT_BY_KEY,
)

current_state = Table(
    "current_state",
    metadata,
    number("room_nid", key=True),
    text("type", key=True),
    text("state_key", key=True),
    number("event_nid"),
    **KEPT_BY_KEY,
)

# What changed the current state, and when.
state_changes = Table(
    "state_changes",
    metadata,
    number("position", key=True),
    number("room_nid", key=True),
    text("type", key=True),
    text("state_key", key=True),
    number("event_nid", null=True),
    number("previous_event_nid", null=True),
    Index(None, "room_nid", "position"),
    **KEPT_BY_KEY,
)

# Members of the current state; also invites and knocks of local users in rooms that no local user is in.
memberships = Table(
    "memberships",
    metadata,
    number("room_nid", key=True),
    text("user_id", key=True),
    text("membership"),
    number("event_nid"),
    text("sender"),
    number("position"),
    text("display_name", null=True),
    text("avatar_url", null=True),
    flag("forgotten"),
    Index(None, "user_id", "membership"),
    Index(None, "room_nid", "membership"),
)

# The stripped state that came with an invite or a knock to a room of other servers.
invited_rooms_state = Table(
    "invited_rooms_state", metadata, text("room_id", key=True), text("user_id", key=True), blob("stripped_state")
)

room_aliases = Table(
    "room_aliases",
    metadata,
    text("alias", key=True),
    text("room_id"),
    blob("servers"),
    text("creator"),
    Index(None, "room_id"),
)

# Rooms that were joined without their members: how the state is got, and since when it is whole.
partial_rooms = Table(
    "partial_rooms",
    metadata,
    number("room_nid", key=True),
    text("room_id"),
    # The join that the state was not told of, and the servers that were said to be in the room: a JSON array, first
    # the one that was joined through.
    text("join_event_id"),
    blob("servers"),
    number("whole_at", null=True),
)

# While a room is partial: the state after events that are missing here, as other servers told it.
told_states = Table(
    "told_states",
    metadata,
    number("room_nid", key=True),
    text("event_id", key=True),
    number("snapshot_id"),
    **KEPT_BY_KEY,
)
