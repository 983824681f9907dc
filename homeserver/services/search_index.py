"""Keeps what full-text search looks through: messages, names and topics of rooms, and the names of people.

The index follows the log behind those who write it, in batches, and catches up before somebody searches. Any process
may do that: a batch is void where another process has indexed the same part of the log in the meantime.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from homeserver.core.search_words import words_of
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.events import Events, StoredEvent
from homeserver.services.long_texts import LongTextReader
from homeserver.services.room_heads import WholeRoom
from storage import partial_rooms, profiles, user_directory
from storage import search as storage
from storage.database import Database, Write
from storage.log_readers import ReadElsewhere, move_position, read_position
from storage.streams import Stream

FORWARDS: Final = "search index"
BACKWARDS: Final = "search index of history"
KEYS: Final = {"m.room.message": "content.body", "m.room.name": "content.name", "m.room.topic": "content.topic"}
MEMBER: Final = "m.room.member"
REDACTION: Final = "m.room.redaction"
_AT_ONCE: Final = 200
_EVERY_S: Final = 5.0
_MAX_NAMES: Final = 20
People = dict[str, tuple[int, list[str]] | None]
"""user id → (entry id, words), None for who is to have no entry."""


class SearchIndex:
    """One per process."""

    def __init__(
        self,
        database: Database,
        events: Events,
        long_texts: LongTextReader,
        clock: Clock,
        tasks: Tasks,
        *,
        server_name: str,
    ) -> None:
        self._database = database
        self._long_texts = long_texts
        self._events = events
        self._clock = clock
        self._tasks = tasks
        self._suffix = ":" + server_name
        self._lock = asyncio.Lock()
        self._ends = (0, 0)
        # Rooms all of whose members became known here.
        self._whole: set[int] = set()
        database.bus.subscribe(self._on_hints)

    def start(self) -> None:
        """Go on in the background."""
        self._tasks.loop("search index", self.catch_up, every_s=_EVERY_S, clock=self._clock)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES and isinstance(hint.payload, WholeRoom):
                self._whole.add(hint.payload.room_nid)

    async def be_fresh(self, patience_s: float) -> None:
        """Wait until what was committed before this call is indexed, but no longer than so many seconds."""
        task = self._tasks.start("search index", self.catch_up())
        await asyncio.wait((task,), timeout=patience_s)

    async def catch_up(self) -> None:
        """Index everything that was committed before this call."""
        async with self._lock:
            while self._whole:
                await self._index_members(self._whole.pop())
            async with self._database.read() as tx:
                ends = await storage.log_ends(tx)
            if ends == self._ends:
                return
            while not await self._index(FORWARDS, ends[0]):
                pass
            while not await self._index(BACKWARDS, ends[1]):
                pass
            self._ends = ends

    async def _index(self, reader: str, upto: int) -> bool:
        """One batch; True when nothing is left."""
        types = (*KEYS, MEMBER, REDACTION) if reader == FORWARDS else (*KEYS,)
        async with self._database.read() as tx:
            before = await read_position(tx, reader)
            here = before or 0
            if abs(here) >= abs(upto):
                return True
            place = {"after": here} if reader == FORWARDS else {"before": here}
            rows = await storage.events_to_index(tx, types, **place, upto=upto, limit=_AT_ONCE)
        is_over = len(rows) < _AT_ONCE
        now = upto if is_over else rows[-1].position
        try:
            if reader == FORWARDS:
                await self._index_whole_rooms(here, now)
            await self._write(reader, before, now, rows)
        except ReadElsewhere:
            return False
        return is_over

    async def _write(self, reader: str, before: int | None, now: int, rows: Sequence[Any]) -> None:
        found = await self._events.get_many([row.event_id for row in rows])
        several = [found[row.event_id] for row in rows if row.event_id in found]
        await self._index_members_of(one for one in several if self._is_join_elsewhere(one))
        targets = [one.event.redacts for one in several if one.event.type == REDACTION and one.event.redacts]
        people = await self._people({one.event.state_key for one in several if one.event.type == MEMBER} - {None, ""})
        texts = {one.nid: await self._text_of(one) for one in several if one.event.type in KEYS}
        async with self._database.read() as tx:
            redacted = set(await storage.redacted_nids(tx, [*targets, *(one.event_id for one in several)]))

        async def operation(tx: Write) -> None:
            await move_position(tx, reader, before, now)
            for one in several:
                if one.nid in texts and one.nid not in redacted:
                    _put(tx, one, texts[one.nid])
            for nid in redacted:
                storage.remove_document(tx, nid)
            await _putting(people)(tx)

        await self._database.write(operation)

    async def _text_of(self, stored: StoredEvent) -> str:
        whole = await self._long_texts.whole(stored.event.content) if stored.is_local else None
        return text_of(stored.event.type, stored.event.content) if whole is None else whole

    def _is_join_elsewhere(self, stored: StoredEvent) -> bool:
        """Whether a user of this server has come in by way of another one: this one may not have been there."""
        event = stored.event
        return not stored.is_local and event.membership == "join" and (event.state_key or "").endswith(self._suffix)

    async def _index_members_of(self, joins: Iterable[StoredEvent]) -> None:
        """A room that was joined on another server comes with members whose events have no place in the log."""
        for room_nid in {stored.room_nid for stored in joins}:
            await self._index_members(room_nid)

    async def _index_whole_rooms(self, after: int, upto: int) -> None:
        """Rooms whose members became known there; who wrote that may not have lived to do it."""
        async with self._database.read() as tx:
            nids = await partial_rooms.whole_between(tx, after, upto)
        for room_nid in nids:
            await self._index_members(room_nid)

    async def _index_members(self, room_nid: int) -> None:
        while user_ids := await self._members_without_entry(room_nid):
            await self._database.write(_putting(await self._people(user_ids)))

    async def _members_without_entry(self, room_nid: int) -> list[str]:
        async with self._database.read() as tx:
            return await user_directory.members_without_entry(tx, room_nid, _AT_ONCE)

    async def _people(self, user_ids: Collection[str | None]) -> People:
        """The entries of these users as they are to be now; None for who is in no room."""
        ids = [user_id for user_id in user_ids if user_id is not None]
        if not ids:
            return {}
        async with self._database.read() as tx:
            names = await user_directory.distinct_names(tx, ids)
            local = await profiles.profiles_of(tx, [user_id for user_id in names if user_id.endswith(self._suffix)])
            entries = await user_directory.entry_ids(tx, ids)
        people: People = {}
        for user_id in ids:
            if user_id not in names:
                people[user_id] = None
                continue
            # Of people here the profile counts: what they are called in some room is that room's affair.
            called = sorted(names[user_id])[:_MAX_NAMES]
            if user_id.endswith(self._suffix):
                name = local.get(user_id, {}).get("displayname")
                called = [name] if isinstance(name, str) else []
            words = dict.fromkeys(word for text in (user_id, *called) for word in words_of(text))
            people[user_id] = (entries.get(user_id) or self._database.new_id("directory"), list(words))
        return people


def _putting(people: People) -> Callable[[Write], Awaitable[None]]:
    async def operation(tx: Write) -> None:
        for user_id, entry in people.items():
            if entry is None:
                user_directory.remove(tx, user_id)
            else:
                user_directory.put(tx, user_id, *entry)

    return operation


def _put(tx: Write, stored: StoredEvent, text: str) -> None:
    event = stored.event
    words = words_of(text)
    if words:
        storage.put_document(
            tx,
            stored.nid,
            room_nid=stored.room_nid,
            key=KEYS[event.type],
            sender=event.sender,
            sent_at=event.origin_server_ts,
            words=words,
        )


def text_of(event_type: str, content: Mapping[str, Any]) -> str:
    """The text that an event is found by, as far as it is in the event. Of an edit it is the new one."""
    if event_type == "m.room.topic":
        return " ".join((_text(content, "topic"), *_plain_topics(content)))
    if event_type == "m.room.name":
        return _text(content, "name")
    edited = content.get("m.new_content")
    return _text(edited if isinstance(edited, Mapping) else content, "body")


def _plain_topics(content: Mapping[str, Any]) -> list[str]:
    block = content.get("m.topic")
    texts = block.get("m.text") if isinstance(block, Mapping) else None
    return [
        _text(text, "body")
        for text in (texts if isinstance(texts, list) else ())
        if isinstance(text, Mapping) and text.get("mimetype", "text/plain") == "text/plain"
    ]


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""
