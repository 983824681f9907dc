"""Content hashes, reference hashes and the event ids made of them.

Source: server-server-api §Signing Events; the section "Event IDs" of each room version.
"""

from base64 import b64decode, b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from homeserver.core.canonical_json import CanonicalJSONError, encode, encode_again, encode_lenient
from homeserver.core.redaction import redact
from homeserver.core.room_versions import RoomVersion


def encode_event_json(pdu: dict[str, Any], version: RoomVersion, *, again: bool = False) -> bytes:
    """The bytes that stand for `pdu` in a room of `version`: strict from room version 6 on, lenient before.

    `again`: it went through this before, or is made of parts of a PDU that did. Raises `CanonicalJSONError`.
    """
    if version.strict_canonical_json:
        return encode_again(pdu) if again else encode(pdu)
    return encode_lenient(pdu)


def content_hash(pdu: dict[str, Any], version: RoomVersion, *, again: bool = False) -> str:
    """SHA-256 over all of `pdu` but `unsigned`, `signatures` and `hashes`, in unpadded base64.

    server-server-api §Calculating the content hash for an event. `again` as in `encode_event_json`. Raises
    `CanonicalJSONError`.
    """
    hashed = pdu.copy()
    for name in ("unsigned", "signatures", "hashes"):
        hashed.pop(name, None)
    return unpadded_base64(sha256(encode_event_json(hashed, version, again=again)).digest())


def content_hash_matches(pdu: dict[str, Any], version: RoomVersion, *, again: bool = False) -> bool:
    """Whether `hashes.sha256` is the content hash; False where it is missing or no base64. `again` as in
    `encode_event_json`.

    An event that fails is processed as its redacted copy (server-server-api §Validating hashes and signatures on
    received events).
    """
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(claimed, str):
        return False
    try:
        expected = content_hash(pdu, version, again=again)
    except CanonicalJSONError:
        return False
    return claimed == expected or bytes_of_base64(claimed) == bytes_of_base64(expected)


def reference_hash(pdu: dict[str, Any], version: RoomVersion) -> bytes:
    """SHA-256 over the redacted `pdu` without `signatures` and `unsigned`, 32 bytes. Raises `CanonicalJSONError`.

    server-server-api §Calculating the reference hash for an event.
    """
    return sha256(signed_bytes(pdu, version)).digest()


def signed_bytes(pdu: dict[str, Any], version: RoomVersion, *, again: bool = False) -> bytes:
    """What servers sign of an event, and what its reference hash is made over: the redacted form without `signatures`.

    `again` as in `encode_event_json`. Raises `CanonicalJSONError`.
    """
    redacted = redact(pdu, version)
    redacted.pop("signatures", None)  # `unsigned` does not survive redaction
    return encode_event_json(redacted, version, again=again)


def compute_event_id(pdu: dict[str, Any], version: RoomVersion) -> str:
    """The event's id: taken from `event_id` in room versions 1 and 2, else the reference hash behind a `$`."""
    return event_id_of(pdu, version, b"" if version.event_id_in_pdu else signed_bytes(pdu, version))


def event_id_of(pdu: dict[str, Any], version: RoomVersion, signed: bytes) -> str:
    """As `compute_event_id`, for a caller that already has the event's `signed_bytes`."""
    if version.event_id_in_pdu:
        event_id: str = pdu["event_id"]
        return event_id
    return event_id_of_hash(sha256(signed).digest(), version)


def event_id_of_hash(digest: bytes, version: RoomVersion) -> str:
    """The event id that a reference hash gives, in room versions 3 and later."""
    encoded = urlsafe_b64encode(digest) if version.event_id_format == "urlsafe" else b64encode(digest)
    return "$" + encoded.rstrip(b"=").decode()


def unpadded_base64(data: bytes) -> str:
    """https://spec.matrix.org/v1.19/appendices/#unpadded-base64"""
    return b64encode(data).rstrip(b"=").decode()


def bytes_of_base64(text: str) -> bytes | None:
    """What `text` stands for in base64, padded or not; None where it is not base64."""
    unpadded = text.rstrip("=")
    try:
        return b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except ValueError:  # binascii.Error and non-ASCII text
        return None
