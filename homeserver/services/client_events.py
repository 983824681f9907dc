"""Events as clients see them, in bytes. What all readers share is serialised once and kept with the stored event.

https://spec.matrix.org/v1.19/client-server-api/#room-event-format
"""

from typing import Any, Final

import orjson

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.events import CREATE, REDACTION, Event
from homeserver.services.events import StoredEvent

BY_DELAY: Final = "*delayed*"
"""Stands for the device of an event that was sent later than asked for: its transaction id is then the delay id."""


def serialise(
    stored: StoredEvent,
    *,
    with_room_id: bool = True,
    own: bytes | None = None,
    membership: str | None = None,
    relations: bytes | None = None,
) -> bytes:
    """The JSON of an event, redacted where it was redacted. Without `room_id` for /sync, which names the room outside.

    `own` is what `own_request` says of the reader; `membership` is the reader's membership at the event; `relations`
    is what `Aggregations` has for the reader of what relates to it.
    """
    shared = stored.client_json.get(with_room_id)
    if shared is None:
        shared = stored.client_json[with_room_id] = _shared(stored, with_room_id)
    head, unsigned = shared
    if membership is not None:
        unsigned += (b"," if unsigned else b"") + b'"membership":' + orjson.dumps(membership)
    if own is not None:
        unsigned += (b"," if unsigned else b"") + own
    if relations is not None:
        unsigned += (b"," if unsigned else b"") + b'"m.relations":' + relations
    if not unsigned:
        return head + b"}"
    return head + b',"unsigned":{' + unsigned + b"}}"


def own_request(stored: StoredEvent, user_id: str, device_id: str | None) -> bytes | None:
    """What the reader's own request for the event was called: by the device that sent it a transaction, by the user a
    delayed event (proposal 4140). JSON, for the inside of `unsigned`."""
    if stored.transaction_id is None or stored.event.sender != user_id:
        return None
    if stored.device_id == device_id:
        return b'"transaction_id":' + orjson.dumps(stored.transaction_id)
    if stored.device_id == BY_DELAY:
        return b'"org.matrix.msc4140.delay_id":' + orjson.dumps(stored.transaction_id)
    return None


def client_event(stored: StoredEvent) -> dict[str, Any]:
    """The same as Python data, for where events are looked at rather than sent on."""
    parsed: dict[str, Any] = orjson.loads(serialise(stored))
    return parsed


def stripped(event: Event) -> dict[str, Any]:
    """Stripped state: https://spec.matrix.org/v1.19/client-server-api/#stripped-state"""
    shown = {"type": event.type, "state_key": event.state_key, "sender": event.sender, "content": event.content}
    # Clients tell rooms of one name apart by how old they are (proposal 4311).
    return {**shown, "origin_server_ts": event.origin_server_ts} if event.type == CREATE else shown


def stripped_membership(event: Event) -> dict[str, Any]:
    """The invite or knock that stripped state is told for: clients show when it was, and refer to it."""
    return {**stripped(event), "event_id": event.event_id, "origin_server_ts": event.origin_server_ts}


def json_bytes(value: Any) -> bytes:
    """Compact JSON; also of numbers that only old room versions allow."""
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return encode_lenient(value)


def _shared(stored: StoredEvent, with_room_id: bool) -> tuple[bytes, bytes]:
    """(the event without its closing brace, the inside of `unsigned`)"""
    unsigned: dict[str, Any] = {}
    if stored.replaces is not None:
        unsigned["replaces_state"] = stored.replaces.event_id
        unsigned["prev_content"] = stored.replaces.content
        unsigned["prev_sender"] = stored.replaces.sender
    if stored.redacted_because is not None:
        unsigned["redacted_because"] = client_dict(stored.redacted_because)
    return json_bytes(client_dict(stored.shown, with_room_id))[:-1], json_bytes(unsigned)[1:-1]


def client_dict(event: Event, with_room_id: bool = True) -> dict[str, Any]:
    """The fields of the client format, without `unsigned`."""
    data: dict[str, Any] = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": event.type,
    }
    if event.state_key is not None:
        data["state_key"] = event.state_key
    if with_room_id:
        data["room_id"] = event.room_id
    if event.type == REDACTION and event.redacts is not None:
        # Where it stands depends on the room version; clients of every age find it in both places.
        data["redacts"] = event.redacts
        data["content"] = {**event.content, "redacts": event.redacts}
    return data
