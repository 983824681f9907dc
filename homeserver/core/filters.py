"""Filters: what of an account a client wants to be told.

A filter is parsed and compiled once; `allows…` is then a few set look-ups. In the lists of a filter an absent list lets
everything pass and an empty one nothing; `not_…` wins over its counterpart.

Source: https://spec.matrix.org/v1.19/client-server-api/#filtering.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import orjson

from homeserver.core.globs import Matcher, glob_matcher
from homeserver.core.property_paths import MISSING, lookup, split_path

MAX_LIMIT: Final = 100
DEFAULT_TIMELINE_LIMIT: Final = 10


class InvalidFilter(ValueError):
    """The filter does not have the shape that the specification gives it. The message names the property."""


class TypePatterns:
    """Event types where `*` stands for any run of characters. Most patterns are exact or end in `*`; both are cheap."""

    __slots__ = ("_exact", "_globs", "_prefixes", "patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._prefixes = tuple(p[:-1] for p in patterns if p.endswith("*") and p.count("*") == 1)
        self._globs: tuple[Matcher, ...] = tuple(
            glob_matcher(p, question_mark=False) for p in patterns if "*" in p[:-1]
        )

    def matches(self, event_type: str) -> bool:
        return (
            event_type in self._exact
            or event_type.startswith(self._prefixes)
            or any(matches(event_type) for matches in self._globs)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypePatterns) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"TypePatterns({list(self.patterns)})"

    @property
    def is_exact(self) -> bool:
        """Whether no pattern holds a wildcard, so that storage can compare for equality."""
        return len(self._exact) == len(set(self.patterns))


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of one section to include: the specification's EventFilter and RoomEventFilter.

    `rel_types` and `not_rel_types` (proposal 3874) are about how an event relates to another. `related_by_…` (proposal
    3440) are about the events that relate to it, so that only those who page history, who can look, mind them.
    """

    limit: int | None = None
    types: TypePatterns | None = None
    not_types: TypePatterns | None = None
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    contains_url: bool | None = None
    rel_types: frozenset[str] | None = None
    not_rel_types: frozenset[str] = frozenset()
    related_by_rel_types: frozenset[str] | None = None
    related_by_senders: frozenset[str] | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    is_unrestricted: bool = field(init=False, compare=False, default=True)

    def __post_init__(self) -> None:
        unrestricted = (
            self.types is None
            and self.not_types is None
            and self.senders is None
            and self.rooms is None
            and self.contains_url is None
            and self.rel_types is None
            and not self.is_about_related
            and not self.not_rel_types
            and not self.not_senders
            and not self.not_rooms
        )
        object.__setattr__(self, "is_unrestricted", unrestricted)

    @classmethod
    def parse(cls, obj: object, name: str = "filter", default_limit: int | None = None) -> "EventFilter":
        """Read a RoomEventFilter, for example the `filter` parameter of `/messages`. Raises InvalidFilter."""
        data = _object(obj, name)
        return cls(
            limit=_limit(data, name, default_limit),
            types=_types(data, "types", name),
            not_types=_types(data, "not_types", name),
            senders=_identifiers(data, "senders", name, "@"),
            not_senders=_identifiers(data, "not_senders", name, "@") or frozenset(),
            rooms=_identifiers(data, "rooms", name, "!"),
            not_rooms=_identifiers(data, "not_rooms", name, "!") or frozenset(),
            contains_url=_boolean(data, "contains_url", name),
            rel_types=_either(data, "rel_types", name),
            not_rel_types=_either(data, "not_rel_types", name) or frozenset(),
            related_by_rel_types=_set(data, "related_by_rel_types", name),
            related_by_senders=_identifiers(data, "related_by_senders", name, "@"),
            lazy_load_members=_boolean(data, "lazy_load_members", name) or False,
            include_redundant_members=_boolean(data, "include_redundant_members", name) or False,
            unread_thread_notifications=_boolean(data, "unread_thread_notifications", name) or False,
        )

    @property
    def is_about_related(self) -> bool:
        """Whether what relates to an event decides if it is included."""
        return self.related_by_rel_types is not None or self.related_by_senders is not None

    def allows(self, event_type: str, sender: str | None = None) -> bool:
        """Whether type and sender pass. `sender` is None for what has none (account data): such a thing is only
        included where no senders are asked for."""
        if self.is_unrestricted:
            return True
        if self.not_types is not None and self.not_types.matches(event_type):
            return False
        if sender in self.not_senders:
            return False
        if self.types is not None and not self.types.matches(event_type):
            return False
        return self.senders is None or sender in self.senders

    def allows_room(self, room_id: str) -> bool:
        """Whether `rooms` and `not_rooms` of this section let the room pass."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)

    def allows_event(
        self, event_type: str, sender: str | None, content: Mapping[str, Any], room_id: str | None = None
    ) -> bool:
        """Whether an event passes in full. `room_id` None: the room was looked at before."""
        if self.is_unrestricted:
            return True
        if not self.allows(event_type, sender):
            return False
        if room_id is not None and not self.allows_room(room_id):
            return False
        if (self.rel_types is not None or self.not_rel_types) and not self._allows_relation(content):
            return False
        return self.contains_url is None or self.contains_url == ("url" in content)

    def _allows_relation(self, content: Mapping[str, Any]) -> bool:
        relation = content.get("m.relates_to")
        kind = relation.get("rel_type") if isinstance(relation, Mapping) else None
        if not isinstance(kind, str):
            return self.rel_types is None
        return kind not in self.not_rel_types and (self.rel_types is None or kind in self.rel_types)


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """Filters for what belongs to rooms. `rooms` and `not_rooms` come before those of the sections."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    timeline: EventFilter = EventFilter(limit=DEFAULT_TIMELINE_LIMIT)
    state: EventFilter = EventFilter()
    ephemeral: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()

    @classmethod
    def parse(cls, obj: object, name: str = "room") -> "RoomFilter":
        """Read the `room` property of a filter. Raises InvalidFilter."""
        data = _object(obj, name)

        def section(key: str, default_limit: int | None = None) -> EventFilter:
            value = data.get(key)
            return EventFilter.parse({} if value is None else value, f"{name}.{key}", default_limit)

        return cls(
            rooms=_identifiers(data, "rooms", name, "!"),
            not_rooms=_identifiers(data, "not_rooms", name, "!") or frozenset(),
            include_leave=_boolean(data, "include_leave", name) or False,
            timeline=section("timeline", DEFAULT_TIMELINE_LIMIT),
            state=section("state"),
            ephemeral=section("ephemeral"),
            account_data=section("account_data"),
        )

    def allows_room(self, room_id: str) -> bool:
        """Whether anything of the room is to be included."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as `POST /user/{userId}/filter` and `/sync` take it."""

    ALL: ClassVar["Filter"]
    """No restriction; timelines hold ten events."""

    room: RoomFilter = RoomFilter()
    presence: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()
    event_fields: tuple[tuple[str, ...], ...] | None = None
    event_format: Literal["client", "federation"] = "client"
    delivered: bool = False
    """`io.hearth.delivered`: the client takes part in telling what has arrived where."""
    source: bytes = b"{}"
    """The filter as JSON text with sorted keys: equal filters have equal sources."""

    @classmethod
    def parse(cls, obj: object) -> "Filter":
        """Read a filter definition. Unknown properties only count in `source`. Raises InvalidFilter."""
        data = _object(obj, "filter")
        event_format = data.get("event_format")
        if event_format not in (None, "client", "federation"):
            raise InvalidFilter("event_format is neither client nor federation")
        fields = _strings(data, "event_fields", "")
        try:
            source = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
        except (TypeError, ValueError) as error:
            raise InvalidFilter("filter holds what JSON text cannot") from error
        return cls(
            room=RoomFilter.parse(_section(data, "room")),
            presence=EventFilter.parse(_section(data, "presence"), "presence"),
            account_data=EventFilter.parse(_section(data, "account_data"), "account_data"),
            event_fields=None if fields is None else tuple(split_path(path) for path in fields),
            event_format="federation" if event_format == "federation" else "client",
            delivered=_boolean(data, "io.hearth.delivered", "filter") or False,
            source=source,
        )

    def select_fields(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the event that holds only the properties of `event_fields` that it has."""
        if self.event_fields is None:
            return dict(event)
        selected: dict[str, Any] = {}
        for names in self.event_fields:
            value = lookup(event, names)
            if value is not MISSING:
                _place(selected, names, value)
        return selected


Filter.ALL = Filter()


def _place(target: dict[str, Any], names: Sequence[str], value: Any) -> None:
    """Put the value at the path. Objects on the way are copied: the event's own are shared with other readers."""
    for name in names[:-1]:
        child = target.get(name)
        target[name] = dict(child) if isinstance(child, Mapping) else {}
        target = target[name]
    target[names[-1]] = value


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidFilter(f"{name} is not an object")
    return value


def _section(data: Mapping[str, Any], key: str) -> object:
    value = data.get(key)
    return {} if value is None else value


def _strings(data: Mapping[str, Any], key: str, name: str) -> tuple[str, ...] | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidFilter(f"{name}.{key} is not a list of strings".lstrip("."))
    return tuple(value)


def _set(data: Mapping[str, Any], key: str, name: str) -> frozenset[str] | None:
    values = _strings(data, key, name)
    return None if values is None else frozenset(values)


def _either(data: Mapping[str, Any], key: str, name: str) -> frozenset[str] | None:
    """By the stable name or that of the experiment of proposal 3874."""
    found = _set(data, key, name)
    return _set(data, f"org.matrix.msc3874.{key}", name) if found is None else found


def _types(data: Mapping[str, Any], key: str, name: str) -> TypePatterns | None:
    patterns = _strings(data, key, name)
    return None if patterns is None else TypePatterns(patterns)


def _identifiers(data: Mapping[str, Any], key: str, name: str, sigil: str) -> frozenset[str] | None:
    values = _strings(data, key, name)
    if values is None:
        return None
    # Only what tells one kind of identifier from another: a filter may name what this server would not create.
    if not all(value.startswith(sigil) and (sigil == "!" or ":" in value) for value in values):
        raise InvalidFilter(f"{name}.{key} holds something that is not a Matrix identifier of its kind")
    return frozenset(values)


def _boolean(data: Mapping[str, Any], key: str, name: str) -> bool | None:
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidFilter(f"{name}.{key} is not a boolean")
    return value


def _limit(data: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = data.get("limit")
    if value is None:
        return default
    # Zero is sent by clients that want no events of a section; the specification's "greater than 0" is not enforced.
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidFilter(f"{name}.limit is not a non-negative integer")
    return min(value, MAX_LIMIT)
