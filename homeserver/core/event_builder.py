"""Making new events: from what a user wants to say to a hashed, signed and checked event.

Source: server-server-api §Adding hashes and signatures to outgoing events; "Event format" of each room version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from signedjson.types import SigningKey

from homeserver.core.event_format import EventTooLarge, check_pdu, has_too_many_bytes
from homeserver.core.events import Event
from homeserver.core.hashes import content_hash, event_id_of, reference_hash, signed_bytes, unpadded_base64
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signatures import add_event_signature

Reference = str | tuple[str, str]
"""How a new event names another: its id; in room versions 1 and 2 (id, reference hash in unpadded base64)."""


@dataclass(frozen=True, slots=True)
class EventDraft:
    """What the sender decides about an event. Everything else follows from the room and the server.

    `room_id` is None for the create event of a room version that makes the room id of it. `redacts` is put where the
    room version wants it. `unsigned` is sent along but neither hashed nor signed.
    """

    type: str
    sender: str
    content: dict[str, Any]
    room_id: str | None
    state_key: str | None = None
    redacts: str | None = None
    unsigned: dict[str, Any] | None = None


def build_pdu(
    draft: EventDraft,
    version: RoomVersion,
    *,
    prev_events: Sequence[Reference],
    auth_events: Sequence[Reference],
    depth: int,
    origin_server_ts: int,
    origin: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """The PDU of `draft` with its content hash, without signatures. Raises `CanonicalJSONError`.

    `event_id` is for room versions 1 and 2, which need one; `origin` is written where it is given, which no room
    version asks for any longer. `origin_server_ts` is in ms.
    """
    pdu: dict[str, Any] = {
        "type": draft.type,
        "sender": draft.sender,
        "content": draft.content,
        "depth": depth,
        "origin_server_ts": origin_server_ts,
        "prev_events": _references(prev_events, version),
        "auth_events": _references(auth_events, version),
    }
    optional = {"room_id": draft.room_id, "state_key": draft.state_key, "unsigned": draft.unsigned, "origin": origin}
    pdu.update((name, value) for name, value in optional.items() if value is not None)
    if version.event_id_in_pdu:
        if event_id is None:
            raise ValueError(f"room version {version.identifier} needs an event id")
        pdu["event_id"] = event_id
    if draft.redacts is not None:
        if version.redacts_in_content:
            pdu["content"] = {**draft.content, "redacts": draft.redacts}
        else:
            pdu["redacts"] = draft.redacts
    pdu["hashes"] = {"sha256": content_hash(pdu, version)}
    return pdu


def build_event(
    draft: EventDraft,
    version: RoomVersion,
    *,
    prev_events: Sequence[Event | str],
    auth_events: Sequence[Event | str],
    depth: int,
    origin_server_ts: int,
    server_name: str,
    signing_key: SigningKey,
    event_id_opaque: str = "",
) -> Event:
    """A new event of this server: built, hashed, signed and checked like one from outside.

    `event_id_opaque` is the unique part of the event id in room versions 1 and 2, where references to others must be
    whole `Event`s because their hashes are written down. Raises `CanonicalJSONError`, `InvalidEvent` and
    `EventTooLarge`.
    """
    pdu = build_pdu(
        draft,
        version,
        prev_events=[_reference_to(event, version) for event in prev_events],
        auth_events=[_reference_to(event, version) for event in auth_events],
        depth=depth,
        origin_server_ts=origin_server_ts,
        event_id=f"${event_id_opaque}:{server_name}" if version.event_id_in_pdu else None,
    )
    # One encoding serves the signature and the event id: both are made over the same bytes.
    message = signed_bytes(pdu, version, again=True)
    signed = check_pdu(add_event_signature(pdu, server_name, signing_key, message), version)
    if has_too_many_bytes(draft.type) or has_too_many_bytes(draft.state_key or "", version):
        raise EventTooLarge("type or state_key is too long")
    return Event.from_pdu(signed, version, event_id_of(signed, version, message))


def _references(references: Sequence[Reference], version: RoomVersion) -> list[Any]:
    if not version.event_references_carry_hashes:
        return list(references)
    return [[event_id, {"sha256": digest}] for event_id, digest in references]


def _reference_to(event: Event | str, version: RoomVersion) -> Reference:
    if not version.event_references_carry_hashes:
        return event if isinstance(event, str) else event.event_id
    if isinstance(event, str):
        raise ValueError(f"room version {version.identifier} needs the event itself to refer to it, not its id")
    return event.event_id, unpadded_base64(reference_hash(event.pdu, version))
