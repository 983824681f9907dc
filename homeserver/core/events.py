"""The event: an immutable view of a checked PDU, with what the rules ask for as plain attributes."""

from collections.abc import Mapping
from typing import Any, Final, Self, cast

from homeserver.core.hashes import compute_event_id, encode_event_json
from homeserver.core.redaction import redact
from homeserver.core.room_versions import RoomVersion

StateKey = tuple[str, str]
"""(event type, state key)"""
StateMap = Mapping[StateKey, str]
"""Which event is the state of a room at a key: (type, state key) → event id."""

CREATE: Final = "m.room.create"
MEMBER: Final = "m.room.member"
REDACTION: Final = "m.room.redaction"

_set = object.__setattr__


class Event:
    """One event of a room. `pdu` must have passed `event_format.check_pdu` and must not be changed afterwards.

    `pdu` is what goes over federation: signatures, hashes and unsigned as received; in room versions 1 and 2 it holds
    its event_id. `prev_events` and `auth_events` are event ids in every room version; in room version 12 the create
    event is not among `auth_events` unless the PDU wrongly cites it. `redacts` is the redacted event's id, wherever the
    room version keeps it. `cache` is a spare slot for derived data, the only attribute that may be assigned.
    """

    __slots__ = (
        "auth_events",
        "cache",
        "content",
        "depth",
        "event_id",
        "origin_server_ts",
        "pdu",
        "prev_events",
        "redacts",
        "room_id",
        "room_version",
        "sender",
        "state_key",
        "type",
    )

    event_id: str
    room_version: RoomVersion
    pdu: dict[str, Any]
    room_id: str
    type: str
    state_key: str | None
    sender: str
    content: dict[str, Any]
    depth: int
    origin_server_ts: int
    prev_events: tuple[str, ...]
    auth_events: tuple[str, ...]
    redacts: str | None
    cache: dict[Any, Any] | None

    def __init__(self, pdu: dict[str, Any], version: RoomVersion, event_id: str) -> None:
        content: dict[str, Any] = pdu["content"]
        event_type: str = pdu["type"]
        redacts = None
        if event_type == REDACTION:
            redacts = (content if version.redacts_in_content else pdu).get("redacts")
        _set(self, "event_id", event_id)
        _set(self, "room_version", version)
        _set(self, "pdu", pdu)
        _set(self, "room_id", _room_id(pdu, version, event_type, event_id))
        _set(self, "type", event_type)
        _set(self, "state_key", pdu.get("state_key"))
        _set(self, "sender", pdu["sender"])
        _set(self, "content", content)
        _set(self, "depth", pdu["depth"])
        _set(self, "origin_server_ts", pdu["origin_server_ts"])
        _set(self, "prev_events", _event_ids(pdu["prev_events"], version))
        _set(self, "auth_events", _event_ids(pdu["auth_events"], version))
        _set(self, "redacts", redacts if isinstance(redacts, str) else None)
        _set(self, "cache", None)

    @classmethod
    def from_pdu(cls, pdu: dict[str, Any], version: RoomVersion, event_id: str | None = None) -> Self:
        """Wraps a checked PDU. The event id is computed where it is None; pass it where it is already known."""
        return cls(pdu, version, compute_event_id(pdu, version) if event_id is None else event_id)

    def encoded(self) -> bytes:
        """The PDU as canonical JSON: as it is stored, and sent to other servers."""
        return encode_event_json(self.pdu, self.room_version, again=True)

    def redacted(self) -> "Event":
        """The same event, same id, without what redaction takes away."""
        return Event(redact(self.pdu, self.room_version), self.room_version, self.event_id)

    @property
    def is_state(self) -> bool:
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """(type, state key). Only state events have one: raises `ValueError` for others."""
        if self.state_key is None:
            raise ValueError(f"{self.event_id} is not a state event")
        return (self.type, self.state_key)

    @property
    def membership(self) -> str | None:
        """`content.membership` of an m.room.member event, None where it is missing or no string."""
        if self.type != MEMBER:
            return None
        membership = self.content.get("membership")
        return membership if isinstance(membership, str) else None

    def __setattr__(self, name: str, value: object) -> None:
        if name != "cache":
            raise AttributeError(f"an event is immutable: {name}")
        _set(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an event is immutable: {name}")

    def __reduce__(self) -> tuple[object, tuple[dict[str, Any], RoomVersion, str]]:
        return (Event, (self.pdu, self.room_version, self.event_id))

    def __repr__(self) -> str:
        key = "" if self.state_key is None else f" {self.state_key!r}"
        return f"<Event {self.event_id} {self.type}{key} by {self.sender} in {self.room_id}>"


def _room_id(pdu: dict[str, Any], version: RoomVersion, event_type: str, event_id: str) -> str:
    if version.room_id_is_create_event_hash and event_type == CREATE and pdu.get("state_key") == "":
        return "!" + event_id[1:]
    return cast("str", pdu["room_id"])


def _event_ids(references: list[Any], version: RoomVersion) -> tuple[str, ...]:
    if version.event_references_carry_hashes:
        return tuple([reference[0] for reference in references])
    return tuple(references)
