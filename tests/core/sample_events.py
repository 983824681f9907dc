"""PDUs for the tests of core: well-formed, in any room version, with whatever a test wants to be different."""

from typing import Any

from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion

ALL_VERSIONS = list(ROOM_VERSIONS.values())
V1, V3, V5, V6, V8, V9, V10, V11, V12 = (ROOM_VERSIONS[n] for n in ("1", "3", "5", "6", "8", "9", "10", "11", "12"))

EVENT_ID = "$" + "e" * 43
ROOM_ID_HASH = "!" + "r" * 43


def versions_with(flag: str) -> list[str]:
    """The identifiers of the room versions whose `flag` is set."""
    return [version.identifier for version in ALL_VERSIONS if getattr(version, flag)]


def a_room_id(version: RoomVersion) -> str:
    return ROOM_ID_HASH if version.room_id_is_create_event_hash else "!room:example.org"


def a_reference(version: RoomVersion, event_id: str = EVENT_ID) -> Any:
    return [event_id, {"sha256": "h" * 43}] if version.event_references_carry_hashes else event_id


def a_pdu(version: RoomVersion, **changes: Any) -> dict[str, Any]:
    """A message. A change to None takes the key away."""
    pdu: dict[str, Any] = {
        "room_id": a_room_id(version),
        "sender": "@alice:example.org",
        "type": "m.room.message",
        "content": {"msgtype": "m.text", "body": "hello"},
        "depth": 3,
        "origin_server_ts": 1_700_000_000_000,
        "prev_events": [a_reference(version)],
        "auth_events": [a_reference(version)],
        "hashes": {"sha256": "s" * 43},
        "signatures": {"example.org": {"ed25519:1": "c" * 86}},
    }
    if version.event_id_in_pdu:
        pdu["event_id"] = "$opaque:example.org"
    pdu.update(changes)
    return {key: value for key, value in pdu.items() if value is not None}


def a_create_pdu(version: RoomVersion, **changes: Any) -> dict[str, Any]:
    """The m.room.create event of a room, by @alice:example.org."""
    content: dict[str, Any] = {"room_version": version.identifier}
    if not version.implicit_room_creator:
        content["creator"] = "@alice:example.org"
    room_id = None if version.room_id_is_create_event_hash else a_room_id(version)
    first: dict[str, Any] = {"type": "m.room.create", "state_key": "", "content": content, "room_id": room_id}
    return a_pdu(version, **{**first, "prev_events": [], "auth_events": [], "depth": 1, **changes})
