"""An answer of /sync while it is put together, of parts that are JSON text already."""

from collections.abc import Mapping, Sequence

import orjson

from homeserver.core.tokens import SyncToken


class Answer:
    """Sections that stay empty are left out."""

    __slots__ = ("_rooms", "_sections", "key_counts", "token", "unused_fallback")

    def __init__(self, token: SyncToken) -> None:
        self.token = token
        self.key_counts: Mapping[str, int] | None = None
        self.unused_fallback: Sequence[str] = ()
        self._sections: dict[str, bytes] = {}
        self._rooms: dict[str, list[bytes]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell. Counts of keys alone do not end a wait."""
        return not self._sections and not self._rooms

    def set(self, section: str, body: bytes) -> None:
        """Add a section of the top level."""
        self._sections[section] = body

    def set_events(self, section: str, events: Sequence[bytes]) -> None:
        """Add a section of the top level that is a list of events."""
        self._sections[section] = b'{"events":[%b]}' % b",".join(events)

    def add_room(self, kind: str, room_id: str, body: bytes) -> None:
        """Add a room under `join`, `invite`, `knock` or `leave`; `body` is its object."""
        self._rooms.setdefault(kind, []).append(orjson.dumps(room_id) + b":" + body)

    def write(self) -> bytes:
        """All of it as JSON text."""
        parts = [b'{"next_batch":"%b"' % str(self.token).encode()]
        if self._rooms:
            kinds = b",".join(b'"%b":{%b}' % (kind.encode(), b",".join(rooms)) for kind, rooms in self._rooms.items())
            parts.append(b'"rooms":{%b}' % kinds)
        parts += [b'"%b":%b' % (section.encode(), body) for section, body in self._sections.items()]
        if self.key_counts is not None:
            fallback = orjson.dumps(list(self.unused_fallback))
            parts.append(b'"device_one_time_keys_count":' + orjson.dumps(dict(self.key_counts)))
            parts.append(b'"device_unused_fallback_key_types":' + fallback)
        return b",".join(parts) + b"}"
