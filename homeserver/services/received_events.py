"""Steps 1 to 3 of the checks on received PDUs: format, signatures, hash. For any number of them at once.

server-server-api §Checks performed on receipt of a PDU
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_format import InvalidEvent, check_pdu
from homeserver.core.events import Event
from homeserver.core.hashes import content_hash_matches, event_id_of, signed_bytes
from homeserver.core.room_versions import RoomVersion
from homeserver.services.event_signatures import EventSignatures


@dataclass(slots=True)
class Received:
    """Events that passed, in the order in which they came; of the others (event id where known, reason).

    `ids`: the event id of each PDU that is an event of the room, None for the others; `signed`: event id → what its
    signatures are made over.
    """

    events: list[Event] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    signed: dict[str, bytes] = field(default_factory=dict)
    dropped: list[tuple[str | None, str]] = field(default_factory=list)


def parse(pdus: Iterable[object], version: RoomVersion, room_id: str) -> Received:
    """Step 1: events of the room in the format of its version; each once."""
    received = Received()
    for pdu in pdus:
        try:
            checked = check_pdu(pdu, version)
            # One encoding serves the event id and the signatures: both are made over the same bytes.
            signed = signed_bytes(checked, version, again=True)
            event = Event.from_pdu(checked, version, event_id_of(checked, version, signed))
        except (InvalidEvent, CanonicalJSONError) as error:
            received.dropped.append((None, f"step 1: {error}"))
            received.ids.append(None)
            continue
        event_id, refusal = event.event_id, None
        if event.room_id != room_id:
            refusal = "it is of another room"
        elif event_id in event.prev_events or event_id in event.auth_events:
            refusal = "it cites itself"
        received.ids.append(event_id if refusal is None else None)
        if refusal is not None:
            received.dropped.append((event_id, f"step 1: {refusal}"))
        elif event_id not in received.signed:
            received.events.append(event)
            received.signed[event_id] = signed
    return received


async def verify(received: Received, signatures: EventSignatures, told_by: str | None = None) -> Received:
    """Steps 2 and 3: events without the signatures that they need are dropped, those with a wrong hash redacted.

    `told_by`: as in `EventSignatures.failures`.
    """
    failures = await signatures.failures(received.events, received.signed, told_by=told_by)
    passed: list[Event] = []
    for event in received.events:
        failure = failures.get(event.event_id)
        if failure is not None:
            received.dropped.append((event.event_id, f"step 2: {failure}"))
        elif content_hash_matches(event.pdu, event.room_version, again=True):
            passed.append(event)
        else:
            passed.append(event.redacted())
    received.events = passed
    return received
