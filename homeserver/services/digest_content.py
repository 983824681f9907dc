"""Gathers what a mail tells: which events of a room somebody has not read, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeserver.core.events import Event
from homeserver.core.identifiers import localpart_of
from homeserver.services.digest_mail import DigestMessage, DigestRoom, shortened
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifications import Notifications
from homeserver.services.room_heads import RoomHead, RoomHeads
from storage import email_pushers as storage
from storage.database import Database
from storage.email_pushers import DigestRow
from storage.read_marks import MAIN, UNTHREADED

_LOOKED_AT: Final = 100
_SHOWN: Final = 10
_HEROES: Final = 3
Marks = Mapping[tuple[int, str], int]
"""(room_nid, thread id) → position up to which it is read."""


class DigestContent:
    """`include_content`: mails may say what was said, where it was not encrypted."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        notifications: Notifications,
        *,
        include_content: bool,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._notifications = notifications
        self._include_content = include_content

    async def of_room(self, row: DigestRow, room_id: str, marks: Marks) -> DigestRoom | None:
        """What waits for a user in a room; None where they have read it, or may not see it any more."""
        head = await self._heads.get(room_id)
        if head is None or row.first_position is None:
            return None
        first = max(row.first_position, marks.get((row.room_nid, UNTHREADED), 0) + 1)
        async with self._database.read() as tx:
            newest, count = await storage.events_since(tx, row.room_nid, first, row.user_id, _LOOKED_AT)
        found = await self._notifications.notified(row.user_id, newest)
        unread = [stored for stored, _ in found.values() if not _is_read(stored, marks)]
        if not unread:
            return None
        unread.sort(key=lambda stored: stored.position or 0)
        # Beyond what was looked at nobody has counted; that there is more is certain.
        total = len(unread) + (count - len(newest))
        messages = await self._messages(head, unread[-_SHOWN:])
        return DigestRoom(room_id, await self._name(head, row.user_id), total, messages)

    async def _messages(self, head: RoomHead, unread: Sequence[StoredEvent]) -> list[DigestMessage]:
        texts = [(stored.shown, _text_of(stored.shown)) for stored in unread if self._include_content]
        told = [(event, text) for event, text in texts if text]
        names = await self._names(head, {event.sender for event, _ in told})
        return [DigestMessage(names[event.sender], event.origin_server_ts, shortened(text)) for event, text in told]

    async def _names(self, head: RoomHead, user_ids: set[str]) -> dict[str, str]:
        ids = {user_id: head.state.get(("m.room.member", user_id)) for user_id in user_ids}
        found = await self._events.get_many([event_id for event_id in ids.values() if event_id is not None])
        names: dict[str, str] = {}
        for user_id, event_id in ids.items():
            member = None if event_id is None else found.get(event_id)
            name = None if member is None else member.shown.content.get("displayname")
            names[user_id] = name if isinstance(name, str) and name.strip() else localpart_of(user_id)
        return names

    async def _name(self, head: RoomHead, user_id: str) -> str:
        """What the room is called, or who is in it."""
        for key, field in (("m.room.name", "name"), ("m.room.canonical_alias", "alias")):
            event_id = head.state.get((key, ""))
            stored = None if event_id is None else await self._events.get(event_id)
            name = None if stored is None else stored.shown.content.get(field)
            if isinstance(name, str) and name.strip():
                return name
        heroes = sorted(head.joined - {user_id})[:_HEROES]
        if not heroes:
            return "a room"
        return ", ".join((await self._names(head, set(heroes))).values())


def _is_read(stored: StoredEvent, marks: Marks) -> bool:
    position = stored.position or 0
    thread = stored.thread_root or MAIN
    return position <= max(marks.get((stored.room_nid, UNTHREADED), 0), marks.get((stored.room_nid, thread), 0))


def _text_of(event: Event) -> str:
    """What an event says, for a mail; empty where it is encrypted, or says nothing in words."""
    content: Mapping[str, Any] = event.content
    body = content.get("body")
    if event.type in ("m.room.message", "m.sticker") and isinstance(body, str):
        return body
    if event.type == "m.room.member" and content.get("membership") == "invite":
        return "has invited you"
    if event.type == "m.call.invite":
        return "has called you"
    return ""
