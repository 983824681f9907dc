"""What the local members of rooms are called, so that whom a message names is found without looking at each of them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from homeserver.core.events import MEMBER
from homeserver.core.identifiers import localpart_of
from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import HeadDraft
from storage import memberships
from storage.database import Database, Read, Write
from storage.streams import Stream

_WORD = re.compile("[A-Za-z0-9_]+")
_ANY = ""


@dataclass(slots=True)
class RoomNames:
    """The local members of one room. A name that stands in a text between word boundaries starts there with its first
    word (or, where it has none, its first character): `_found_by` has the users by that."""

    display_names: dict[str, str | None] = field(default_factory=dict)
    _found_by: dict[str, set[str]] = field(default_factory=dict)
    _has_wordless: bool = False

    def add(self, user_id: str, display_name: str | None) -> None:
        """A user has joined, or is called something else now."""
        self.remove(user_id)
        self.display_names[user_id] = display_name
        for key in _keys(user_id, display_name):
            self._found_by.setdefault(key, set()).add(user_id)
            self._has_wordless = self._has_wordless or _WORD.match(key) is None

    def remove(self, user_id: str) -> None:
        """A user is no member any more."""
        if user_id in self.display_names:
            for key in _keys(user_id, self.display_names.pop(user_id)):
                users = self._found_by.get(key)
                if users is not None:
                    users.discard(user_id)
                    if not users:
                        del self._found_by[key]

    def candidates(self, body: str) -> set[str]:
        """Who may be named by a text in lower case: all who are, and some more."""
        keys = set(_WORD.findall(body))
        if self._has_wordless:
            keys.update(body, (_ANY,))
        found: set[str] = set()
        for key in keys & self._found_by.keys():
            found |= self._found_by[key]
        return found


class MemberNames:
    """Read when a room is first asked for; then kept up to date by the events of its members."""

    def __init__(
        self, database: Database, notifier: Notifier, events: Events, *, server_name: str, size: int = 1_000
    ) -> None:
        self._database = database
        self._events = events
        self._suffix = ":" + server_name
        self._rooms: BoundedCache[str, RoomNames] = BoundedCache(size)
        self._changes = 0
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._on_reset)

    async def of_room(self, room_id: str, room_nid: int, tx: Read | None = None) -> RoomNames:
        """The committed members of a room."""
        names = self._rooms.get(room_id)
        if names is not None:
            return names
        changes = self._changes
        if tx is None:
            async with self._database.read() as read:
                rows = await memberships.joined_members(read, room_nid)
        else:
            rows = await memberships.joined_members(tx, room_nid)
        names = RoomNames()
        for row in rows:
            if row.user_id.endswith(self._suffix):
                names.add(row.user_id, row.display_name)
        if changes == self._changes:  # otherwise what was read may be of before the change
            self._rooms.put(room_id, names)
        return names

    async def named_in(self, tx: Write, draft: HeadDraft, body: str) -> dict[str, str | None]:
        """Whom a text in lower case may name: user id → display name. With those who joined in the same batch."""
        names = await self.of_room(draft.room_id, draft.room_nid, tx)
        found = {user_id: names.display_names[user_id] for user_id in names.candidates(body)}
        for user_id, membership in draft.members_delta.items():
            if membership == "join" and user_id.endswith(self._suffix):
                stored = self._events.cached(draft.state.get((MEMBER, user_id), ""), tx)
                found[user_id] = None if stored is None else _display_name(stored)
        return found

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.MEMBERSHIPS:
                self._changes += 1
                for key in hint.keys:
                    self._rooms.drop(key)
            elif hint.stream == Stream.EVENTS and hint.keys and isinstance(hint.payload, StoredEvent):
                self._follow(hint.keys[0], hint.payload)

    def _follow(self, room_id: str, stored: StoredEvent) -> None:
        for (event_type, user_id), (event_id, _) in stored.changed.items():
            if event_type != MEMBER or not user_id.endswith(self._suffix):
                continue
            self._changes += 1
            names = self._rooms.get(room_id)
            if names is None:
                return
            member = stored if event_id == stored.event_id else self._events.cached(event_id or "")
            if event_id is not None and member is None:
                self._rooms.drop(room_id)
                return
            if member is not None and member.event.membership == "join":
                names.add(user_id, _display_name(member))
            else:
                names.remove(user_id)

    def _on_reset(self) -> None:
        self._changes += 1
        self._rooms.clear()


def _display_name(stored: StoredEvent) -> str | None:
    name = stored.shown.content.get("displayname")
    return name if isinstance(name, str) else None


def _keys(user_id: str, display_name: str | None) -> Iterable[str]:
    localpart = localpart_of(user_id)
    # A user name of old may have a star in it, which stands for anything.
    yield _ANY if "*" in localpart or "?" in localpart else _key(localpart.lower())
    if display_name:
        yield _key(display_name.lower())


def _key(name: str) -> str:
    word = _WORD.search(name)
    return name[:1] if word is None else word.group()
