"""What clients are shown along with an event of what relates to it: its newest edit, its thread, its references.

An event says itself whether there is anything to look for (`StoredEvent.has_children`), so a page without such events
costs nothing; what there is is read for a whole page at once and kept, the same for all readers, until it changes.

https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from homeserver.runtime.bus import Hint
from homeserver.services.account_data import AccountData
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.client_events import serialise
from homeserver.services.event_rows import CHILDREN, relation_of
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import Access
from homeserver.services.notifier import Notifier
from homeserver.services.visibility import Visibility
from storage import relations
from storage.database import Database
from storage.relations import Child, Replies
from storage.streams import Stream

_NOTHING: Final[Mapping[str, bytes]] = {}
# How many edits are looked at for one that is valid.
_EDITS: Final = 3


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom. `ignored` are users whose events do not count; `upto` is where the reader's time in the room ended."""

    user_id: str
    ignored: frozenset[str] = frozenset()
    upto: int | None = None
    was_joined: bool = True


@dataclass(slots=True)
class _Children:
    """What relates to one event: edits, the newest first; references, the oldest first; a thread by its users."""

    edits: list[Child] = field(default_factory=list)
    references: list[Child] = field(default_factory=list)
    replies: list[Replies] = field(default_factory=list)

    def last_reply(self, ignored: frozenset[str]) -> Replies | None:
        """The last word of the thread by somebody who is not ignored."""
        heard = (one for one in self.replies if one.sender not in ignored)
        return max(heard, key=lambda one: (one.depth, one.position), default=None)


class Aggregations:
    """Reads for pages of events; hears of new and redacted children from the notifier."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        events: Events,
        visibility: Visibility,
        account_data: AccountData,
        *,
        size: int = 20_000,
    ) -> None:
        self._database = database
        self._account_data = account_data
        self._events = events
        self._visibility = visibility
        self._known: BoundedCache[str, _Children] = BoundedCache(size)
        # When events got another child, as a count of such changes: what is being read meanwhile may lack it.
        self._changed: BoundedCache[str, int] = BoundedCache(size)
        self._changes = 1
        self._void_before = 0
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._forget)

    async def reader(self, user_id: str, access: Access) -> Reader:
        """The user as a reader of a room."""
        data = await self._account_data.of_user(user_id)
        return Reader(user_id, data.ignored, access.left_at, access.was_joined)

    def are_needed(self, stored: StoredEvent) -> bool:
        """Whether there may be something to show with the event; no I/O."""
        if stored.event.state_key is not None:
            return False
        return stored.has_children is not False or self._changed.get(stored.event_id) is not None

    async def of(self, reader: Reader, events: Iterable[StoredEvent]) -> Mapping[str, bytes]:
        """For those of the events that have any: the JSON of `m.relations`, by event id."""
        parents = [stored for stored in events if self.are_needed(stored)]
        return await self._of(reader, parents, with_threads=True) if parents else _NOTHING

    async def _of(self, reader: Reader, parents: Sequence[StoredEvent], *, with_threads: bool) -> Mapping[str, bytes]:
        children = await self._read(reader, parents)
        chosen = await self._choose(reader, parents, children, with_threads)
        memberships = await self._visibility.memberships_of_visible(
            reader.user_id, list(chosen.values()), is_joined=reader.was_joined
        )
        nested: Mapping[str, bytes] = {}
        if with_threads:
            last = [stored for (kind, _), stored in chosen.items() if kind == "m.thread" and self.are_needed(stored)]
            nested = await self._of(reader, last, with_threads=False) if last else {}
        found: dict[str, bytes] = {}
        for parent in parents:
            parts: dict[str, Any] = {}
            for kind in ("m.replace", "m.thread"):
                stored = chosen.get((kind, parent.event_id))
                if stored is None or stored.event_id not in memberships:
                    continue
                membership, relations_of = memberships[stored.event_id], nested.get(stored.event_id)
                written = orjson.Fragment(serialise(stored, membership=membership, relations=relations_of))
                parts[kind] = (
                    written
                    if kind == "m.replace"
                    else _thread(reader, parent, children[parent.event_id].replies, written)
                )
            references = [
                {"event_id": child.event_id}
                for child in children[parent.event_id].references
                if child.sender not in reader.ignored
            ]
            if references:
                parts["m.reference"] = {"chunk": references}
            if parts:
                found[parent.event_id] = orjson.dumps(parts)
        return found

    async def _choose(
        self,
        reader: Reader,
        parents: Sequence[StoredEvent],
        children: Mapping[str, _Children],
        with_threads: bool,
    ) -> dict[tuple[str, str], StoredEvent]:
        """The newest edit and the last event of the thread of each: (relation, parent) → event."""
        edits = {one.event_id: _edits_of(one, children[one.event_id]) for one in parents}
        last = {one.event_id: children[one.event_id].last_reply(reader.ignored) for one in parents if with_threads}
        wanted = [edit.event_id for some in edits.values() for edit in some]
        wanted += [reply.event_id for reply in last.values() if reply is not None]
        found = await self._events.get_many(wanted) if wanted else {}
        chosen: dict[tuple[str, str], StoredEvent] = {}
        for parent_id, some in edits.items():
            for edit in some:
                stored = found.get(edit.event_id)
                if stored is not None and _is_replacement(stored):
                    chosen["m.replace", parent_id] = stored
                    break
        for parent_id, reply in last.items():
            if reply is not None and (stored := found.get(reply.event_id)) is not None:
                chosen["m.thread", parent_id] = stored
        return chosen

    # --- what relates to what

    async def _read(self, reader: Reader, parents: Sequence[StoredEvent]) -> dict[str, _Children]:
        """The children of each. What only the reader's time in the room has is not kept."""
        found: dict[str, _Children] = {}
        lacking: dict[str, StoredEvent] = {}
        for parent in parents:
            known = self._known.get(parent.event_id) if reader.upto is None else None
            if known is None:
                lacking[parent.event_id] = parent
            else:
                found[parent.event_id] = known
        if not lacking:
            return found
        began = self._changes
        async with self._database.read() as tx:
            unsure = [event_id for event_id, parent in lacking.items() if parent.has_children is None]
            if unsure:
                having = await relations.parents_among(tx, unsure)
                for event_id in unsure:
                    lacking[event_id].has_children = event_id in having
            wanted = [event_id for event_id in lacking if self.are_needed(lacking[event_id])]
            narrow = await relations.edits_and_references(tx, wanted, upto=reader.upto) if wanted else []
            threads = await relations.replies(tx, wanted, upto=reader.upto) if wanted else []
        read = _grouped(lacking, narrow, threads)
        if reader.upto is None:
            for event_id in wanted:
                if began >= max(self._changed.get(event_id) or 0, self._void_before):
                    self._known.put(event_id, read[event_id])
        return found | read

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS:
                if isinstance(hint.payload, StoredEvent):
                    self._on_event(hint.payload)
            elif hint.stream == Stream.CACHES:
                for key in hint.keys:
                    if key.startswith(CHILDREN):
                        self._change(key.removeprefix(CHILDREN))

    def _on_event(self, stored: StoredEvent) -> None:
        event = stored.event
        if "m.relates_to" in event.content:
            parent, kind = relation_of(event)
            if parent is not None and kind in relations.AGGREGATED:
                self._change(parent)
        if event.redacts is not None:
            redacted = self._events.cached(event.redacts)
            if redacted is None:
                self._forget()
            elif (parent := relation_of(redacted.event)[0]) is not None:
                self._change(parent)

    def _change(self, parent_id: str) -> None:
        self._changes += 1
        self._changed.put(parent_id, self._changes)
        self._known.drop(parent_id)
        parent = self._events.cached(parent_id)
        if parent is not None:
            parent.has_children = True

    def _forget(self) -> None:
        self._changes += 1
        self._void_before = self._changes
        self._known.clear()


def _grouped(
    parents: Mapping[str, StoredEvent], narrow: Sequence[Child], threads: Sequence[Replies]
) -> dict[str, _Children]:
    """By parent; without what claims to relate to an event of another room."""
    found = {event_id: _Children() for event_id in parents}
    for child in narrow:
        if child.room_nid == parents[child.relates_to].room_nid:
            of_parent = found[child.relates_to]
            (of_parent.edits if child.rel_type == "m.replace" else of_parent.references).append(child)
    for replies in threads:
        if replies.room_nid == parents[replies.root].room_nid:
            found[replies.root].replies.append(replies)
    for children in found.values():
        children.edits.sort(key=lambda edit: (edit.origin_server_ts, edit.event_id), reverse=True)
    return found


def _edits_of(parent: StoredEvent, children: _Children) -> list[Child]:
    """What may be the newest replacement (client-server-api §Validity of replacement events); its content decides."""
    if parent.redacted_because is not None or relation_of(parent.event)[1] == "m.replace":
        return []
    event = parent.event
    valid = [edit for edit in children.edits if edit.sender == event.sender and edit.type == event.type]
    return valid[:_EDITS]


def _is_replacement(edit: StoredEvent) -> bool:
    event = edit.event
    if event.state_key is not None or edit.redacted_because is not None:
        return False
    return event.type == "m.room.encrypted" or isinstance(event.content.get("m.new_content"), dict)


def _thread(reader: Reader, root: StoredEvent, replies: Sequence[Replies], last: orjson.Fragment) -> dict[str, Any]:
    took_part = root.event.sender == reader.user_id or any(one.sender == reader.user_id for one in replies)
    return {
        "latest_event": last,
        "count": sum(one.count for one in replies if one.sender not in reader.ignored),
        "current_user_participated": took_part,
    }
