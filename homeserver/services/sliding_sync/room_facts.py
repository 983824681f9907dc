"""What rooms are listed and ordered by: their newest activity, type, encryption, name, and a space's rooms.

Shared by all users of the process, kept up to date by what is committed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core.events import CREATE, StateKey
from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sliding_sync.required_state import StateIndex
from storage import sliding_sync as storage
from storage.database import Database
from storage.streams import Stream

ENCRYPTION = "m.room.encryption"
NAME = "m.room.name"
SPACE_CHILD = "m.space.child"
_STATE = (CREATE, ENCRYPTION, NAME)
_EVERYTHING = ""
_KEYS: frozenset[StateKey] = frozenset((kind, "") for kind in _STATE)
# Proposal 4186, `bump_stamp`: what counts as activity that a person cares about.
BUMP_TYPES = frozenset(
    {
        CREATE,
        "m.room.message",
        "m.room.encrypted",
        "m.sticker",
        "m.call.invite",
        "m.poll.start",
        "org.matrix.msc3381.poll.start",
        "m.beacon_info",
        "org.matrix.msc3672.beacon_info",
    }
)


@dataclass(slots=True)
class RoomFacts:
    """`last`, `bump`: positions of the newest event and of the newest one of `BUMP_TYPES`, 0 for none. The rest is None
    where the server does not know, as of a room that it is only invited to."""

    last: int = 0
    bump: int = 0
    is_encrypted: bool | None = None
    room_type: str | None = None
    has_type: bool = False  # whether the type is known; `room_type` None then says that it has none
    name: str = ""

    def read_state(self, contents: Mapping[str, Any]) -> None:
        """Take over contents of state events by their type."""
        created = contents.get(CREATE)
        if isinstance(created, Mapping):
            self.has_type = True
            self.room_type = created["type"] if isinstance(created.get("type"), str) else None
            self.is_encrypted = ENCRYPTION in contents
        elif ENCRYPTION in contents:
            self.is_encrypted = True
        self.name = _name(contents.get(NAME))


class RoomFactsOfAll:
    """Facts by room. `missing` and `load` first, then `get` finds them."""

    def __init__(
        self, db: Database, notifier: Notifier, events: Events, heads: RoomHeads, *, size: int = 100_000
    ) -> None:
        self._db = db
        self._events = events
        self._heads = heads
        self._facts: BoundedCache[str, RoomFacts] = BoundedCache(size)
        self._children: BoundedCache[str, frozenset[str]] = BoundedCache(size)
        self._indexes: BoundedCache[str, dict[str, list[StateKey]]] = BoundedCache(2_000)
        # Rooms that changed while something was read, one set for each reading, by its id: equal ones are not the same.
        self._readings: dict[int, set[str]] = {}
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._reset)

    def get(self, room_id: str) -> RoomFacts | None:
        """The room's facts if they are in memory."""
        return self._facts.get(room_id)

    def children(self, space_id: str) -> frozenset[str] | None:
        """The rooms directly in a space if they are in memory."""
        return self._children.get(space_id)

    def index(self, room_id: str, state: Mapping[StateKey, str]) -> StateIndex:
        """The room's current state, indexed by type; made once for each change of it that is not a member's."""
        types = self._indexes.get(room_id)
        if types is None:
            types = dict(StateIndex(state).types)
            self._indexes.put(room_id, types)
        return StateIndex(state, types)

    async def load(self, rooms: Mapping[str, int]) -> None:
        """Read the facts of rooms (room id → nid): two statements for 500 of them."""
        nids = list(rooms.values())
        changed: set[str] = set()
        self._readings[id(changed)] = changed
        try:
            async with self._db.read() as tx:
                activity = await storage.activity(tx, nids, BUMP_TYPES)
                bodies = await storage.state_bodies(tx, nids, _STATE)
        finally:
            del self._readings[id(changed)]
        if _EVERYTHING in changed:
            return
        for room_id, nid in rooms.items():
            if room_id not in changed:
                facts = RoomFacts(*activity.get(nid, (0, 0)))
                facts.read_state({kind: orjson.loads(body)["content"] for kind, body in bodies.get(nid, {}).items()})
                self._facts.put(room_id, facts)

    async def load_children(self, space_id: str) -> None:
        """Read which rooms are in a space."""
        changed: set[str] = set()
        self._readings[id(changed)] = changed
        try:
            head = await self._heads.get(space_id)
            state: Mapping[StateKey, str] = {} if head is None else head.state
            ids = {key: event_id for key, event_id in state.items() if key[0] == SPACE_CHILD}
            found = await self._events.get_many(ids.values())
        finally:
            del self._readings[id(changed)]
        if changed.isdisjoint((space_id, _EVERYTHING)):
            children = frozenset(
                key[1] for key, event_id in ids.items() if event_id in found and _has_via(found[event_id])
            )
            self._children.put(space_id, children)

    def _reset(self) -> None:
        self._facts.clear()
        self._children.clear()
        self._indexes.clear()
        for changed in self._readings.values():
            changed.add(_EVERYTHING)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS:
                if isinstance(hint.payload, StoredEvent):
                    self._on_event(hint.payload, hint.position)
            elif hint.stream == Stream.MEMBERSHIPS:
                # A room that came from another server, whole.
                for key in hint.keys:
                    self._drop(key)

    def _drop(self, room_id: str) -> None:
        for changed in self._readings.values():
            changed.add(room_id)
        self._facts.drop(room_id)
        self._children.drop(room_id)
        self._indexes.drop(room_id)

    def _on_event(self, stored: StoredEvent, position: int) -> None:
        room_id = stored.event.room_id
        for changed in self._readings.values():
            changed.add(room_id)
        kinds = {kind for kind, _ in stored.changed}
        if kinds - {"m.room.member"}:
            self._indexes.drop(room_id)
        if SPACE_CHILD in kinds or stored.event.redacts is not None:
            self._children.drop(room_id)
        if not _KEYS.isdisjoint(stored.changed) or stored.event.redacts is not None:
            self._facts.drop(room_id)
            return
        facts = self._facts.get(room_id)
        if facts is not None and stored.is_accepted:
            facts.last = position
            if stored.event.type in BUMP_TYPES:
                facts.bump = position


def _name(content: Any) -> str:
    name = content.get("name") if isinstance(content, Mapping) else None
    return name if isinstance(name, str) else ""


def _has_via(stored: StoredEvent) -> bool:
    via = stored.shown.content.get("via")
    return isinstance(via, list) and bool(via)


def stripped_facts(events: Iterable[Any]) -> RoomFacts:
    """What stripped state says of a room."""
    facts = RoomFacts()
    facts.read_state(
        {
            event["type"]: event.get("content")
            for event in events
            if isinstance(event, Mapping) and event.get("state_key") == "" and isinstance(event.get("type"), str)
        }
    )
    return facts
