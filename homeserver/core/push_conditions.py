"""The conditions of push rules, compiled into functions.

Source: https://spec.matrix.org/v1.19/client-server-api/#conditions-1.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.events import Event
from homeserver.core.globs import contains_word, glob_matcher, word_matcher
from homeserver.core.power_levels import PowerLevels
from homeserver.core.property_paths import MISSING, lookup, split_path
from homeserver.core.room_versions import RoomVersion

# What an event shows to clients besides its content. A rule on any other property of the PDU never matches.
_OWN_PROPERTIES: Final = frozenset({"sender", "state_key", "origin_server_ts", "redacts"})
_MEMBER_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,18})", re.ASCII)
_MAX_INTEGER: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class RoomContext:
    """What push rules ask of the room, as it is right after the event.

    `member_count` counts joined members. `power_levels` None: nobody may send notifications of a permissioned type.
    """

    member_count: int
    power_levels: PowerLevels | None
    room_version: RoomVersion


class Subject:
    """An event while push rules are evaluated on it; what several rules ask for is worked out once.

    `follows`: whether the users follow the thread that the event is in; None where it is in none, or nobody asks.
    """

    __slots__ = ("_body", "_has_body", "content", "context", "event", "follows")

    def __init__(self, event: Event, context: RoomContext) -> None:
        self.event = event
        self.context = context
        self.content: Mapping[str, Any] = event.content
        self.follows: bool | None = None
        self._body: str | None = None
        self._has_body: bool | None = None

    def get(self, names: tuple[str, ...]) -> Any:
        """The property at the path, or MISSING."""
        first = names[0]
        if first == "content":
            return lookup(self.content, names[1:])
        if len(names) != 1:
            return MISSING
        if first == "type":
            return self.event.type
        if first == "room_id":
            return self.event.room_id
        if first == "event_id":
            return self.event.event_id
        return self.event.pdu.get(first, MISSING) if first in _OWN_PROPERTIES else MISSING

    @property
    def body(self) -> str | None:
        """`content.body` in lower case, None where it is no string."""
        if self._has_body is None:
            body = self.content.get("body")
            self._has_body = isinstance(body, str)
            self._body = body.lower() if isinstance(body, str) else None
        return self._body


Condition = Callable[[Subject, str | None], bool]
"""Whether the condition holds for the event, for a user with that display name in the room."""


def compile_condition(condition: object) -> Condition:
    """The function of a condition. One that is not understood never holds: the rule is as good as disabled."""
    if not isinstance(condition, Mapping):
        return never
    kind = condition.get("kind")
    compiler = _COMPILERS.get(kind) if isinstance(kind, str) else None
    return never if compiler is None else compiler(condition)


def never(*_: object) -> bool:
    """The condition that nothing meets."""
    return False


def body_matches(pattern: str) -> Condition:
    """Whether a part of the body between word boundaries matches the glob."""
    found = word_matcher(pattern.lower())

    def condition(subject: Subject, _display_name: str | None) -> bool:
        body = subject.body
        return body is not None and found(body)

    return condition


def body_names(body: str, display_name: str | None) -> bool:
    """Whether a body in lower case contains the display name."""
    return display_name is not None and display_name != "" and contains_word(body, display_name.lower())


def is_allowed_to_notify(subject: Subject, key: str) -> bool:
    """Whether the sender's power suffices for notifications of the type."""
    levels = subject.context.power_levels
    return levels is not None and levels.user(subject.event.sender) >= levels.notification(key)


def _event_match(condition: Mapping[str, Any]) -> Condition:
    key, pattern = condition.get("key"), condition.get("pattern")
    if not isinstance(key, str) or not isinstance(pattern, str):
        return never
    names = split_path(key)
    if names == ("content", "body"):
        return body_matches(pattern)
    matches = glob_matcher(pattern.lower())
    if names == ("type",):
        return lambda subject, _: matches(subject.event.type.lower())

    def matches_property(subject: Subject, _display_name: str | None) -> bool:
        value = subject.get(names)
        return isinstance(value, str) and matches(value.lower())

    return matches_property


def is_simple(value: object) -> bool:
    """Whether the value is a string, boolean, null or an integer of canonical JSON."""
    if isinstance(value, int) and not isinstance(value, bool):
        return -_MAX_INTEGER <= value <= _MAX_INTEGER
    return value is None or isinstance(value, (str, bool))


def is_same(left: object, right: object) -> bool:
    """JSON equality of simple values: in Python `True == 1`, in JSON not."""
    return type(left) is type(right) and left == right


def _event_property_is(condition: Mapping[str, Any]) -> Condition:
    key, wanted = condition.get("key"), condition.get("value", MISSING)
    if not isinstance(key, str) or not is_simple(wanted):
        return never
    names = split_path(key)
    return lambda subject, _: is_same(subject.get(names), wanted)


def _event_property_contains(condition: Mapping[str, Any]) -> Condition:
    key, wanted = condition.get("key"), condition.get("value", MISSING)
    if not isinstance(key, str) or not is_simple(wanted):
        return never
    names = split_path(key)

    def contains(subject: Subject, _display_name: str | None) -> bool:
        value = subject.get(names)
        return isinstance(value, list) and any(is_same(item, wanted) for item in value)

    return contains


def _contains_display_name(_condition: Mapping[str, Any]) -> Condition:
    def contains(subject: Subject, display_name: str | None) -> bool:
        body = subject.body
        return body is not None and body_names(body, display_name)

    return contains


_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "==": int.__eq__,
    "<": int.__lt__,
    ">": int.__gt__,
    "<=": int.__le__,
    ">=": int.__ge__,
}


def _room_member_count(condition: Mapping[str, Any]) -> Condition:
    text = condition.get("is")
    match = _MEMBER_COUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return never
    holds = _COMPARISONS[match[1] or "=="]
    count = int(match[2])
    return lambda subject, _: holds(subject.context.member_count, count)


def _sender_notification_permission(condition: Mapping[str, Any]) -> Condition:
    key = condition.get("key")
    if not isinstance(key, str):
        return never
    return lambda subject, _: is_allowed_to_notify(subject, key)


def _thread_subscription(condition: Mapping[str, Any]) -> Condition:
    """Proposal 4306."""
    wanted = condition.get("subscribed")
    return (lambda subject, _: subject.follows is wanted) if isinstance(wanted, bool) else never


_COMPILERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Condition]]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
    "io.element.msc4306.thread_subscription": _thread_subscription,
}
