"""What a change of a room's state means for its members: their rows, the room's counts, and the servers in it."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from homeserver.core.auth_selection import CREATE_KEY
from homeserver.core.events import MEMBER, Event
from homeserver.core.history_visibility import HISTORY_VISIBILITY, visibility_of
from homeserver.core.identifiers import InvalidIdentifier, server_name_of
from homeserver.services.events import Events, StoredEvent
from homeserver.services.room_heads import HeadDraft
from homeserver.services.snapshots import Delta
from storage import device_lists, memberships
from storage.database import Position, Write
from storage.tables import destination_events

_VISIBILITY_KEY: Final = (HISTORY_VISIBILITY, "")


class Succession(Protocol):
    """Hears of local users who have come into a room that replaces another."""

    def joined(self, user_id: str, predecessor: str, room_id: str) -> None:
        """Called after the commit; `predecessor` is the id of the other room."""
        ...


class MemberRows:
    """Keeps the table of memberships in step with the current state of rooms."""

    def __init__(self, events: Events, *, server_name: str, succession: Succession | None = None) -> None:
        self._events = events
        self._server_name = server_name
        self._suffix = ":" + server_name
        self._succession = succession

    async def change(
        self, tx: Write, draft: HeadDraft, delta: Delta, position: Position, known: Mapping[str, Event]
    ) -> set[str]:
        """The current state is about to change by `delta`; `known` are events at hand, the others are read. Returns the
        servers that are no longer in the room."""
        changed = {key[1]: entry for key, entry in delta.items() if key[0] == MEMBER}
        missing = [entry[0] for entry in changed.values() if entry is not None and entry[0] not in known]
        found = await self._events.get_many(missing, tx) if missing else {}
        servers = {user_id.partition(":")[2] for user_id in changed} if draft.host_count(self._server_name) else set()
        before = {server for server in servers if draft.host_count(server)}
        joining: list[str] = []
        for user_id, entry in changed.items():
            if entry is None:
                memberships.remove(tx, draft.room_nid, user_id)
                draft.set_member(user_id, None, position)
                continue
            event = known[entry[0]] if entry[0] in known else found[entry[0]].shown
            self.put(tx, draft.room_nid, event, entry[1], position)
            if event.membership == "join" and user_id.endswith(self._suffix) and not draft.is_joined(user_id):
                joining.append(user_id)
            draft.set_member(user_id, event.membership, position)
        if joining and self._succession is not None:
            await self._succeed(tx, draft, delta, joining, self._succession)
        gone = {server for server in before if not draft.host_count(server)}
        if self._server_name in gone:
            # Updates of the others' devices arrive no longer on account of this room.
            await device_lists.distrust_members(tx, draft.room_nid)
        return gone

    async def tell_gone(self, tx: Write, draft: HeadDraft, cause: StoredEvent, gone: set[str]) -> None:
        """Servers are out of the room because another state won: nobody else may tell them, so it is noted here.

        The draft has `cause` among its extremities. All extremities together say who is in the room; whoever sent one
        of the others may not have sent it to a server that was out of the room on its branch.
        """
        others = await self._told_with(tx, draft, cause)
        told = gone - {self._server_name}
        if not others:
            # The state after the event itself: its sender's server knows that, and tells whom the event is about.
            told -= {cause.event.sender.partition(":")[2], self._server_told(cause)}
        cause.told_too = tuple(sorted(told))
        for server in cause.told_too:
            for stored in (cause, *others):
                # Another event may have been the cause before, and not have arrived there yet.
                tx.upsert(destination_events, destination=server, event_nid=stored.nid)

    async def _told_with(self, tx: Write, draft: HeadDraft, cause: StoredEvent) -> list[StoredEvent]:
        """The other extremities, without messages that only who is in the room may read."""
        ids = draft.extremities.keys() - {cause.event_id}
        if not ids:
            return []
        entry = draft.get(_VISIBILITY_KEY)
        found = await self._events.get_many((*ids, *(entry or ())[:1]), tx)
        setting = None if entry is None else found.get(entry[0])
        is_open = visibility_of(None if setting is None else setting.shown.content) in ("shared", "world_readable")
        return [found[i] for i in ids if i in found and (is_open or found[i].event.state_key is not None)]

    def _server_told(self, cause: StoredEvent) -> str:
        """The server that hears of the event from its sender's, as that knew that it was in the room."""
        event = cause.event
        if event.type != MEMBER or not event.state_key or cause.replaces is None:
            return ""
        _, previous = cause.changed.get(event.key, (None, None))
        return event.state_key.partition(":")[2] if previous == cause.replaces.event_id else ""

    def put(self, tx: Write, room_nid: int, event: Event, event_nid: int, position: Position) -> None:
        """Put off: the row of the user that a member event is about."""
        assert event.state_key is not None
        memberships.put(
            tx,
            room_nid,
            event.state_key,
            membership=event.membership or "leave",
            event_nid=event_nid,
            sender=event.sender,
            position=position,
            display_name=_text(event.content.get("displayname")),
            avatar_url=_text(event.content.get("avatar_url")),
        )

    async def _succeed(
        self, tx: Write, draft: HeadDraft, delta: Delta, joining: Iterable[str], succession: Succession
    ) -> None:
        create = delta.get(CREATE_KEY) or draft.get(CREATE_KEY)
        stored = None if create is None else await self._events.get(create[0], tx)
        predecessor = None if stored is None else stored.event.content.get("predecessor")
        old = predecessor.get("room_id") if isinstance(predecessor, dict) else None
        if isinstance(old, str):
            for user_id in joining:
                tx.after_commit(partial(succession.joined, user_id, old, draft.room_id))

    def tell_departed(self, tx: Write, draft: HeadDraft, stored: StoredEvent) -> None:
        """A server that has nobody left in the room would not be sent what made it so: note that it must be."""
        event = stored.event
        if event.membership not in ("leave", "ban") or event.state_key is None:
            return
        try:
            server = server_name_of(event.state_key)
        except InvalidIdentifier:
            return
        if server != self._server_name and not draft.host_count(server):
            tx.upsert(destination_events, destination=server, event_nid=stored.nid)


def _text(value: Any) -> str | None:
    # Neither database nor client can do anything with another type, or (PostgreSQL) with U+0000.
    return value.replace("\0", "") if isinstance(value, str) else None
