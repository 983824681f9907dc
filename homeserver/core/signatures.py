"""Signing and verifying: JSON objects (keys, devices) and events, which are signed in their redacted form.

Source: https://spec.matrix.org/v1.19/appendices/#signing-json; server-server-api §Signing Events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from signedjson.key import decode_signing_key_base64
from signedjson.types import SigningKey

from homeserver.core.canonical_json import CanonicalJSONError, encode_lenient
from homeserver.core.events import MEMBER, Event
from homeserver.core.hashes import bytes_of_base64, signed_bytes, unpadded_base64
from homeserver.core.identifiers import server_name_of
from homeserver.core.room_versions import RoomVersion

ALGORITHM: Final = "ed25519"
_SIGNATURE_BYTES: Final = 64
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What has to be verified for one required signer of an event.

    `signatures` are key id → signature bytes, of the algorithms that this server understands; where it is empty, the
    server has not signed. `message` is what was signed. Keys that nobody knows, or that were not valid at the event's
    time, are skipped; of the others all must verify, and there must be one.
    """

    server_name: str
    signatures: Mapping[str, bytes]
    message: bytes


def generate_signing_key(version: str, seed: bytes) -> SigningKey:
    """The Ed25519 key of a 32-byte seed, under the key id `ed25519:{version}`. Raises `ValueError` for other sizes."""
    return decode_signing_key_base64(ALGORITHM, version, unpadded_base64(seed))


def key_id_of(key: SigningKey) -> str:
    """`ed25519:{version}`, the name of a key in `signatures` and in published keys."""
    return f"{key.alg}:{key.version}"


def sign_json(obj: dict[str, Any], server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of `obj` with the signature of `server_name` added to those it has. Raises `CanonicalJSONError`."""
    return _with_signature(obj, server_name, key, _signed_json(obj))


def verify_json(obj: dict[str, Any], server_name: str, key_id: str, verify_key: bytes) -> bool:
    """Whether `obj` bears a signature of `server_name` under `key_id` that `verify_key` (32 bytes) verifies.

    https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature. Never raises for what `obj` holds.
    """
    signature = _signatures_of(obj, server_name).get(key_id)
    if signature is None:
        return False
    try:
        message = _signed_json(obj)
    except CanonicalJSONError:
        return False
    return verify(message, signature, verify_key)


def sign_event(pdu: dict[str, Any], version: RoomVersion, server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of `pdu`, hashes and all, with the signature of `server_name` over its redacted form added.

    server-server-api §Adding hashes and signatures to outgoing events. Raises `CanonicalJSONError`.
    """
    return add_event_signature(pdu, server_name, key, signed_bytes(pdu, version))


def add_event_signature(pdu: dict[str, Any], server_name: str, key: SigningKey, message: bytes) -> dict[str, Any]:
    """As `sign_event`, for a caller that already has the event's `hashes.signed_bytes`."""
    return _with_signature(pdu, server_name, key, message)


def required_signers(event: Event) -> frozenset[str]:
    """The servers whose signatures an event must bear.

    The sender's, unless it is an invite made from a third-party invite, which another server may have sent; in room
    versions 1 and 2 also the one in the event id; and that of the user who authorised a restricted join (rule 4.2 of
    https://spec.matrix.org/v1.19/rooms/v8/#authorisation-rules). Holds an empty string, which nobody can sign for,
    where that user id names no server.
    """
    signers: set[str] = set()
    if not _is_third_party_invite(event):
        signers.add(server_name_of(event.sender))
    if event.room_version.event_id_in_pdu:
        signers.add(server_name_of(event.event_id))
    if event.room_version.restricted_joins and event.type == MEMBER:
        authoriser = event.content.get("join_authorised_via_users_server", event)
        if authoriser is not event:
            signers.add(authoriser.partition(":")[2] if isinstance(authoriser, str) else "")
    return frozenset(signers)


def signatures_to_check(event: Event, message: bytes | None = None) -> list[SignatureCheck]:
    """One check for each of `required_signers`. Pure data, so that many can be verified at once on threads.

    `message`: the event's `hashes.signed_bytes`, where they are at hand. Raises `CanonicalJSONError` for an event that
    did not pass `event_format.check_pdu`.
    """
    if message is None:
        message = signed_bytes(event.pdu, event.room_version)
    return [
        SignatureCheck(server_name, _signatures_of(event.pdu, server_name), message)
        for server_name in sorted(required_signers(event))
    ]


def verify(message: bytes, signature: bytes, verify_key: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` was made with the key that `verify_key` (32 bytes) belongs to.

    False for input of other sizes. libsodium runs without Python's lock, so threads verify side by side.
    """
    if len(signature) != _SIGNATURE_BYTES or len(verify_key) != _KEY_BYTES:
        return False
    try:
        VerifyKey(verify_key).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def _is_third_party_invite(event: Event) -> bool:
    return event.membership == "invite" and "third_party_invite" in event.content


def _signed_json(obj: dict[str, Any]) -> bytes:
    # Lenient: other servers sign, and expect us to verify, whatever their JSON library writes.
    return encode_lenient({key: value for key, value in obj.items() if key not in ("signatures", "unsigned")})


def _with_signature(obj: dict[str, Any], server_name: str, key: SigningKey, message: bytes) -> dict[str, Any]:
    signatures = dict(obj.get("signatures") or {})
    signature = unpadded_base64(key.sign(message).signature)
    signatures[server_name] = {**signatures.get(server_name, {}), key_id_of(key): signature}
    return {**obj, "signatures": signatures}


def _signatures_of(obj: dict[str, Any], server_name: str) -> dict[str, bytes]:
    """key id → signature of `server_name` in `obj`, without unknown algorithms and what is no base64."""
    by_server = obj.get("signatures")
    by_key = by_server.get(server_name) if isinstance(by_server, dict) else None
    if not isinstance(by_key, dict):
        return {}
    found: dict[str, bytes] = {}
    for key_id, text in by_key.items():
        if key_id.startswith(ALGORITHM + ":") and isinstance(text, str):
            signature = bytes_of_base64(text)
            if signature is not None:
                found[key_id] = signature
    return found
