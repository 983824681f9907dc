"""Which state and how much of the timeline a client wants of a room.

Proposal 4186, "RequiredStateRequest" and "Combining room configs".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from homeserver.core.events import MEMBER, StateKey

Element = tuple[str | None, str | None]
"""Event type and state key; None matches every one."""


@dataclass(frozen=True)
class RequiredState:
    """One rule. With `lazy_members`, wildcards do not match members: those come as the timeline needs them."""

    include: frozenset[Element] = frozenset()
    exclude: frozenset[Element] = frozenset()
    lazy_members: bool = False

    def wants(self, key: StateKey) -> bool:
        """Whether the state at the key is to be sent."""
        event_type, state_key = key
        include = self.include
        if event_type == MEMBER and self.lazy_members:
            found = key in include or (None, state_key) in include
        else:
            found = (
                key in include
                or (event_type, None) in include
                or (None, None) in include
                or (None, state_key) in include
            )
        return found and not (self.exclude and self._excludes(event_type, state_key))

    def _excludes(self, event_type: str, state_key: str) -> bool:
        return any(
            (kind is None or kind == event_type) and (key is None or key == state_key) for kind, key in self.exclude
        )

    @cached_property
    def wants_all_members(self) -> bool:
        """Whether it returns every member event."""
        return not self.lazy_members and not self.include.isdisjoint(_ALL_MEMBERS)

    def select(self, index: "StateIndex") -> Iterable[StateKey]:
        """The keys of a state that are to be sent."""
        for event_type, state_key in self.include:
            is_lazy = self.lazy_members and state_key is None
            if event_type is not None and state_key is not None:
                candidates: Iterable[StateKey] = ((event_type, state_key),)
            elif event_type is not None:
                candidates = () if is_lazy and event_type == MEMBER else index.of_type(event_type)
            elif state_key is not None:
                candidates = [(kind, state_key) for kind in (*index.types, MEMBER)]
            else:
                candidates = index.without_members() if is_lazy else index.state
            yield from (key for key in candidates if key in index.state and self.wants(key))

    def as_json(self) -> list[object]:
        """Something that JSON can hold; `parse` reads it."""
        return [sorted(self.include, key=str), sorted(self.exclude, key=str), self.lazy_members]

    @classmethod
    def parse(cls, value: list[list[list[str | None]]]) -> "RequiredState":
        """The opposite of `as_json`."""
        include, exclude, lazy = value
        return cls(
            frozenset((kind, key) for kind, key in include), frozenset((kind, key) for kind, key in exclude), bool(lazy)
        )


_ALL_MEMBERS: frozenset[Element] = frozenset({(None, None), (MEMBER, None)})

Required = frozenset[RequiredState]


@dataclass(frozen=True)
class RoomConfig:
    """How much is wanted of a room. The rules stay apart: what any of them wants is sent."""

    timeline_limit: int
    required: Required

    def __or__(self, other: "RoomConfig") -> "RoomConfig":
        """Both: what either would return."""
        if self == other:
            return self
        return RoomConfig(max(self.timeline_limit, other.timeline_limit), self.required | other.required)


def wants(required: Required, key: StateKey) -> bool:
    """Whether any of the rules wants the state at the key."""
    return any(rule.wants(key) for rule in required)


def wants_all(required: Required) -> bool:
    """Whether every member is wanted."""
    return any(rule.wants_all_members for rule in required)


def is_lazy(required: Required) -> bool:
    """Whether members are loaded lazily."""
    return any(rule.lazy_members for rule in required) and not wants_all(required)


def select(required: Required, index: "StateIndex") -> dict[StateKey, str]:
    """What the rules want of a state: key → event id."""
    return {key: index.state[key] for rule in required for key in rule.select(index)}


class StateIndex:
    """A state, where what is not about members is found by its type. Members may be very many."""

    __slots__ = ("_types", "state")

    def __init__(self, state: Mapping[StateKey, str], types: Mapping[str, list[StateKey]] | None = None) -> None:
        self.state = state
        self._types = types

    @property
    def types(self) -> Mapping[str, list[StateKey]]:
        """Event type → its keys, members left out."""
        if self._types is None:
            types: dict[str, list[StateKey]] = {}
            for key in self.state:
                if key[0] != MEMBER:
                    types.setdefault(key[0], []).append(key)
            self._types = types
        return self._types

    def of_type(self, event_type: str) -> Iterable[StateKey]:
        """The keys of one type."""
        if event_type == MEMBER:
            return [key for key in self.state if key[0] == MEMBER]
        return self.types.get(event_type, ())

    def without_members(self) -> Iterable[StateKey]:
        """Every key that is not a member's."""
        return (key for keys in self.types.values() for key in keys)
