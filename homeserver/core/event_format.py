"""Step 1 of the checks on a received PDU: is it an event at all, in the format of its room version, within the limits?

Source: server-server-api §Checks performed on receipt of a PDU; the section "Event format" of each room version;
https://spec.matrix.org/v1.19/client-server-api/#size-limits.
"""

from typing import Any, Final, cast

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.events import CREATE, REDACTION
from homeserver.core.hashes import encode_event_json
from homeserver.core.identifiers import is_valid_event_id, is_valid_room_id, is_valid_server_name, is_valid_user_id
from homeserver.core.room_versions import RoomVersion

MAX_PDU_BYTES: Final = 65_536
"""The largest event, signatures included, in bytes of canonical JSON."""
MAX_KEY_BYTES: Final = 255
"""The longest `type` and `state_key`, in UTF-8 bytes. Identifiers have the same limit of their own."""
MAX_PREV_EVENTS: Final = 20
MAX_AUTH_EVENTS: Final = 10
MAX_DEPTH: Final = 2**63 - 1
"""The largest `depth`. From room version 6 on canonical JSON keeps it below 2^53."""
_MAX_INT64: Final = 2**63 - 1


class InvalidEvent(ValueError):
    """A PDU is not a valid event of its room version. `reason` says why, in words fit for the sending server."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EventTooLarge(InvalidEvent):
    """An event is larger than `MAX_PDU_BYTES`, or one of its keys is longer than allowed."""


def check_pdu(pdu: object, version: RoomVersion) -> dict[str, Any]:
    """Returns `pdu`, unchanged, if it is a well-formed event of `version`; raises `InvalidEvent` if not.

    Unknown keys are let through: hashes cover them. Not checked here: signatures, hashes, and what only authorisation
    rules speak of (such as a create event with prev_events).
    """
    if not isinstance(pdu, dict):
        raise InvalidEvent("an event is a JSON object")
    pdu = cast("dict[str, Any]", pdu)
    _check_size(pdu, version)
    _check_type_and_state_key(pdu, version)
    _check_sender(pdu)
    _check_room_id(pdu, version)
    _check_numbers(pdu)
    _check_objects(pdu)
    _check_references(pdu, "prev_events", MAX_PREV_EVENTS, version)
    _check_references(pdu, "auth_events", MAX_AUTH_EVENTS, version)
    if version.event_id_in_pdu:
        _check_event_id(pdu)
    if not version.redacts_in_content and pdu["type"] == REDACTION and not isinstance(pdu.get("redacts", ""), str):
        raise InvalidEvent("redacts is not a string")
    return pdu


def _check_size(pdu: dict[str, Any], version: RoomVersion) -> None:
    try:
        size = len(encode_event_json(pdu, version))
    except CanonicalJSONError as error:
        raise InvalidEvent(f"not canonical JSON: {error}") from error
    if size > MAX_PDU_BYTES:
        raise EventTooLarge(f"the event has {size} bytes, more than {MAX_PDU_BYTES}")


def _check_type_and_state_key(pdu: dict[str, Any], version: RoomVersion) -> None:
    in_bytes = version.limits_keys_in_bytes
    _check_key(pdu.get("type"), "type", MAX_KEY_BYTES, in_bytes=in_bytes)
    if "state_key" in pdu:
        _check_key(pdu["state_key"], "state_key", _state_key_limit(version), in_bytes=in_bytes)


def _state_key_limit(version: RoomVersion | None) -> int:
    """A user's own state key may be as long as any, after the user's id (proposal 3757)."""
    return 2 * MAX_KEY_BYTES + 1 if version is not None and version.owned_state else MAX_KEY_BYTES


def _check_key(value: object, name: str, limit: int, *, in_bytes: bool) -> None:
    if not isinstance(value, str):
        raise InvalidEvent(f"{name} is not a string")
    if "\0" in value:  # which PostgreSQL cannot store
        raise InvalidEvent(f"{name} holds U+0000")
    if _is_longer(value, limit) if in_bytes else len(value) > limit:
        raise EventTooLarge(f"{name} is longer than {limit} {'bytes' if in_bytes else 'code points'}")


def has_too_many_bytes(key: str, version: RoomVersion | None = None) -> bool:
    """Whether a type, or a state key of a room of that version, is longer than it may be."""
    return _is_longer(key, _state_key_limit(version))


def _is_longer(key: str, limit: int) -> bool:
    # No character is shorter than a byte or longer than four, so few strings have to be encoded to be measured.
    return len(key) > limit // 4 and len(key.encode()) > limit


def _check_sender(pdu: dict[str, Any]) -> None:
    sender = pdu.get("sender")
    if not isinstance(sender, str) or not is_valid_user_id(sender):
        raise InvalidEvent("sender is not a user id")


def _check_room_id(pdu: dict[str, Any], version: RoomVersion) -> None:
    if version.room_id_is_create_event_hash and pdu["type"] == CREATE and pdu.get("state_key") == "":
        if "room_id" in pdu:
            raise InvalidEvent("in this room version m.room.create has no room_id")
        return
    room_id = pdu.get("room_id")
    if not isinstance(room_id, str) or not is_valid_room_id(room_id):
        raise InvalidEvent("room_id is not a room id")
    if version.room_id_is_create_event_hash == (":" in room_id):
        raise InvalidEvent("room_id is not of this room version's format")


def _check_numbers(pdu: dict[str, Any]) -> None:
    depth = pdu.get("depth")
    if type(depth) is not int or not 0 <= depth <= MAX_DEPTH:  # a bool is no number in JSON
        raise InvalidEvent("depth is not an integer from 0 to 2^63-1")
    timestamp = pdu.get("origin_server_ts")
    if type(timestamp) is not int or not -_MAX_INT64 <= timestamp <= _MAX_INT64:
        raise InvalidEvent("origin_server_ts is not a 64-bit integer")


def _check_objects(pdu: dict[str, Any]) -> None:
    for name in ("content", "hashes", "signatures"):
        if not isinstance(pdu.get(name), dict):
            raise InvalidEvent(f"{name} is not an object")
    if not isinstance(pdu.get("unsigned", {}), dict):
        raise InvalidEvent("unsigned is not an object")
    for by_key in pdu["signatures"].values():
        if not isinstance(by_key, dict) or not all(isinstance(signature, str) for signature in by_key.values()):
            raise InvalidEvent("signatures are not strings by server name and key id")


def _check_references(pdu: dict[str, Any], name: str, at_most: int, version: RoomVersion) -> None:
    references = pdu.get(name)
    if not isinstance(references, list):
        raise InvalidEvent(f"{name} is not an array")
    if len(references) > at_most:
        raise InvalidEvent(f"{name} has more than {at_most} entries")
    event_ids = [_paired_event_id(r) for r in references] if version.event_references_carry_hashes else references
    for event_id in event_ids:
        if not isinstance(event_id, str) or not is_valid_event_id(event_id):
            raise InvalidEvent(f"{name} holds something that is not a reference to an event")


def _paired_event_id(reference: object) -> object:
    """The event id of a `[event id, hashes]` pair, None where `reference` is no such pair."""
    if isinstance(reference, list) and len(reference) == 2 and isinstance(reference[1], dict):
        return reference[0]
    return None


def _check_event_id(pdu: dict[str, Any]) -> None:
    event_id = pdu.get("event_id")
    if not isinstance(event_id, str) or not is_valid_event_id(event_id):
        raise InvalidEvent("event_id is not an event id")
    if not is_valid_server_name(event_id.partition(":")[2]):
        raise InvalidEvent("event_id names no server")
