"""Key objects: what servers publish at /_matrix/key/v2/server, made and read (server-server-api §Publishing Keys)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from signedjson.types import SigningKey

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.hashes import bytes_of_base64, unpadded_base64
from homeserver.core.signatures import key_id_of, sign_json, verify_json
from storage.server_keys import ServerKey

MAX_VALIDITY_MS: Final = 7 * 24 * 3600 * 1000
"""However long a server wants its keys to be believed, it is not longer than this from when they were fetched."""
MAX_KEYS: Final = 1000
_KEY_BYTES: Final = 32


class InvalidKeys(ValueError):
    """A key object is not what it claims to be."""


@dataclass(frozen=True, slots=True)
class OldVerifyKey:
    """A key that this server used to sign with: its public half, and when it was last used (ms since the epoch)."""

    key_id: str
    verify_key: bytes
    expired_at: int


def verify_key_of(key: SigningKey) -> bytes:
    """The public half of a signing key, 32 bytes."""
    public = key.verify_key
    assert public is not None
    return bytes(public)


def publish(
    server_name: str, signing_key: SigningKey, old_keys: Sequence[OldVerifyKey], valid_until: int
) -> dict[str, Any]:
    """The key object of this server, signed."""
    content = {
        "server_name": server_name,
        "valid_until_ts": valid_until,
        "verify_keys": {key_id_of(signing_key): {"key": unpadded_base64(verify_key_of(signing_key))}},
        "old_verify_keys": {
            old.key_id: {"key": unpadded_base64(old.verify_key), "expired_ts": old.expired_at} for old in old_keys
        },
    }
    return sign_json(content, server_name, signing_key)


def read(response: dict[str, Any], server_name: str, now_ms: int) -> list[ServerKey]:
    """The keys of a key object of `server_name`; raises `InvalidKeys` unless one of its own current keys signed it."""
    if response.get("server_name") != server_name:
        raise InvalidKeys("the keys are of another server")
    valid_until = response.get("valid_until_ts")
    if type(valid_until) is not int:
        raise InvalidKeys("valid_until_ts is not an integer")
    current = _keys(response.get("verify_keys"))
    old = _keys(response.get("old_verify_keys") or {})
    if not any(verify_json(response, server_name, key_id, key) for key_id, (key, _) in current.items()):
        raise InvalidKeys("none of the server's own keys signed them")
    raw = encode_lenient(response)
    until = min(max(valid_until, 0), now_ms + MAX_VALIDITY_MS)
    found = [ServerKey(key_id, key, until, None, now_ms, raw) for key_id, (key, _) in current.items()]
    for key_id, (key, expired_at) in old.items():
        if key_id not in current and type(expired_at) is int and 0 <= expired_at < 2**63:
            found.append(ServerKey(key_id, key, expired_at, expired_at, now_ms, raw))
    return found


def _keys(value: Any) -> dict[str, tuple[bytes, Any]]:
    """key id → (key, expired_ts); unknown algorithms and what is no key are left out."""
    if not isinstance(value, dict):
        raise InvalidKeys("the keys are not an object")
    found: dict[str, tuple[bytes, Any]] = {}
    for key_id, entry in list(value.items())[:MAX_KEYS]:
        text = entry.get("key") if isinstance(entry, dict) else None
        key = bytes_of_base64(text) if isinstance(text, str) else None
        if key_id.startswith("ed25519:") and len(key_id) <= 255 and key is not None and len(key) == _KEY_BYTES:
            found[key_id] = (key, entry.get("expired_ts"))
    return found
