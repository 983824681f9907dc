"""The rule for invites by a third-party identifier such as an email address (rule 5.4.1 of room version 12).

The identity server (or the inviting homeserver) signed that the invited address belongs to the user; the public keys
are in the room's m.room.third_party_invite. server-server-api §Third-party invites.
"""

from base64 import b64decode, urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from typing import Any

from homeserver.core.auth_context import AuthContext, reject
from homeserver.core.signatures import verify_json

_KEY_BYTES = 32


def check_third_party_invite(context: AuthContext, target: str, target_membership: str) -> None:
    """Rule 5.4.1, for an invite whose content has `third_party_invite`. Raises `AuthError`."""
    rule = f"{context.numbers.invite}.1"
    # Rule 5.4.1.1
    if target_membership == "ban":
        reject(f"{rule}.1", f"{target} is banned from the room")
    # Rule 5.4.1.2
    third_party_invite = context.event.content["third_party_invite"]
    signed = third_party_invite.get("signed") if isinstance(third_party_invite, Mapping) else None
    if not isinstance(signed, dict):
        reject(f"{rule}.2", "third_party_invite has no signed object")
    # Rule 5.4.1.3
    token = signed.get("token")
    if "mxid" not in signed or not isinstance(token, str):
        reject(f"{rule}.3", "signed lacks mxid or token")
    # Rule 5.4.1.4
    if signed["mxid"] != target:
        reject(f"{rule}.4", "signed was issued for another user")
    # Rule 5.4.1.5
    invite = context.state.get(("m.room.third_party_invite", token))
    if invite is None:
        reject(f"{rule}.5", "the room has no m.room.third_party_invite with this token")
    # Rule 5.4.1.6
    if invite.sender != context.event.sender:
        reject(f"{rule}.6", "the m.room.third_party_invite has another sender")
    # Rule 5.4.1.7
    keys = list(_public_keys(invite.content))
    if not any(_verifies(signed, server, key_id, key) for server, key_id in _signatures(signed) for key in keys):
        # Rule 5.4.1.8
        reject(f"{rule}.8", "signed has no signature by a key of the m.room.third_party_invite")


def _public_keys(content: Mapping[str, Any]) -> Iterator[bytes]:
    # Rule 5.4.1.7.1
    candidates = [content.get("public_key")]
    # Rule 5.4.1.7.2
    public_keys = content.get("public_keys")
    if isinstance(public_keys, list):
        candidates += [entry.get("public_key") for entry in public_keys if isinstance(entry, Mapping)]
    for candidate in candidates:
        key = _decode_key(candidate)
        if key is not None:
            yield key


def _decode_key(value: object) -> bytes | None:
    """A public key in base64, which may be unpadded and (from some identity servers) URL-safe."""
    if not isinstance(value, str):
        return None
    padded = value + "=" * (-len(value) % 4)
    decode = urlsafe_b64decode if "-" in value or "_" in value else b64decode
    try:
        key = decode(padded)
    except (Base64Error, ValueError):
        return None
    return key if len(key) == _KEY_BYTES else None


def _signatures(signed: dict[str, Any]) -> Iterator[tuple[str, str]]:
    signatures = signed.get("signatures")
    if not isinstance(signatures, Mapping):
        return
    for server_name, by_key in signatures.items():
        if isinstance(by_key, Mapping):
            for key_id in by_key:
                if key_id.startswith("ed25519:"):
                    yield server_name, key_id


def _verifies(signed: dict[str, Any], server_name: str, key_id: str, key: bytes) -> bool:
    return verify_json(signed, server_name, key_id, key)
