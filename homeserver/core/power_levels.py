"""Power levels: who may do what in a room, as its m.room.power_levels and m.room.create events say.

https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from homeserver.core.events import Event

# `float` only for infinity: the level of a creator where the room version privileges creators.
Level = int | float
INFINITE_LEVEL: Final = math.inf

_INTEGER_TEXT: Final = re.compile(r"\s*[+-]?[0-9]{1,400}\s*")
_DEFAULTS: Final[Mapping[str, int]] = {
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
    "state_default": 50,
    "events_default": 0,
    "users_default": 0,
}
# The creator of a room without m.room.power_levels, in the room versions where creators are ordinary users.
_CREATOR_WITHOUT_POWER_LEVELS: Final = 100


def parse_level(value: object, *, integers_only: bool) -> int | None:
    """A power level as an integer, or None where `value` is not one.

    Room versions up to 9 also accept a string holding a base 10 integer, and (where their events may hold floats at
    all) a float, which is truncated: https://spec.matrix.org/v1.19/rooms/v1/#deprecated-event-content-schemas
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if integers_only:
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    if isinstance(value, str) and _INTEGER_TEXT.fullmatch(value) is not None:
        return int(value)
    return None


def creator_of(create: Event) -> str | None:
    """The user that created the room: the sender of m.room.create, or in older room versions its `creator`."""
    if create.room_version.implicit_room_creator:
        return create.sender
    creator = create.content.get("creator")
    return creator if isinstance(creator, str) else None


def privileged_creators(create: Event) -> frozenset[str]:
    """The users whose power level is infinite: empty before room version 12."""
    if not create.room_version.privileged_creators:
        return frozenset()
    additional = create.content.get("additional_creators")
    if not isinstance(additional, list):
        return frozenset((create.sender,))
    return frozenset((create.sender, *(user for user in additional if isinstance(user, str))))


def _object(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


class PowerLevels:
    """The levels in force in a room; reads values as they are asked for, so making one is cheap in a large room.

    A value that is not a power level counts as absent.
    """

    __slots__ = ("_content", "_create", "_creators", "_integers_only")

    def __init__(self, content: Mapping[str, Any] | None, create: Event) -> None:
        self._content = content
        self._create = create
        self._creators: frozenset[str] | None = None
        self._integers_only = create.room_version.integer_power_levels

    @classmethod
    def of(cls, content: Mapping[str, Any] | None, create: Event) -> "PowerLevels":
        """From the content of the current m.room.power_levels, None where the room has none, and m.room.create."""
        return cls(content, create)

    def user(self, user_id: str) -> Level:
        """The power level of a user; infinite for a privileged creator."""
        if self._create.room_version.privileged_creators:
            if self._creators is None:
                self._creators = privileged_creators(self._create)
            if user_id in self._creators:
                return INFINITE_LEVEL
        if self._content is None:
            is_creator = not self._create.room_version.privileged_creators and user_id == creator_of(self._create)
            return _CREATOR_WITHOUT_POWER_LEVELS if is_creator else 0
        level = self._parse(_object(self._content, "users").get(user_id))
        return self.users_default if level is None else level

    def event(self, event_type: str, is_state: bool) -> int:
        """The level required to send an event of a type."""
        if self._content is not None:
            level = self._parse(_object(self._content, "events").get(event_type))
            if level is not None:
                return level
        return self.state_default if is_state else self.events_default

    def notification(self, key: str) -> int:
        """The level required to trigger a notification such as `room`; 50 unless the room says otherwise."""
        level = None if self._content is None else self._parse(_object(self._content, "notifications").get(key))
        return 50 if level is None else level

    @property
    def invite(self) -> int:
        """The level required to invite a user."""
        return self._named("invite")

    @property
    def kick(self) -> int:
        """The level required to kick a user."""
        return self._named("kick")

    @property
    def ban(self) -> int:
        """The level required to ban a user."""
        return self._named("ban")

    @property
    def redact(self) -> int:
        """The level required to redact an event sent by another user."""
        return self._named("redact")

    @property
    def events_default(self) -> int:
        """The level required to send message events of a type that `events` does not name."""
        return self._named("events_default")

    @property
    def state_default(self) -> int:
        """The level required to send state events of a type that `events` does not name."""
        return self._named("state_default")

    @property
    def users_default(self) -> int:
        """The level of users that `users` does not name."""
        return self._named("users_default")

    def _named(self, name: str) -> int:
        level = None if self._content is None else self._parse(self._content.get(name))
        return _DEFAULTS[name] if level is None else level

    def _parse(self, value: object) -> int | None:
        return None if value is None else parse_level(value, integers_only=self._integers_only)
