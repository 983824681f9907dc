"""What keys for end-to-end encryption must look like to be kept, and which signatures on them are shown to whom.

https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.canonical_json import CanonicalJSONError, encode
from homeserver.core.hashes import bytes_of_base64
from homeserver.core.identifiers import is_valid_user_id
from homeserver.errors import BadJson, InvalidParam, TooLarge

MASTER: Final = "master"
SELF_SIGNING: Final = "self_signing"
USER_SIGNING: Final = "user_signing"
USAGES: Final = (MASTER, SELF_SIGNING, USER_SIGNING)

_MAX_BYTES: Final = 65_536
_PUBLIC_KEY_BYTES: Final = 32
_NOT_SIGNED: Final = ("signatures", "unsigned")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key: `key_id` is `ed25519:` with the key itself, or with a device id."""

    key_id: str
    public: bytes

    @property
    def name(self) -> str:
        """What stands behind `ed25519:`."""
        return self.key_id.partition(":")[2]


def encoded(value: Any) -> bytes:
    """Canonical JSON. Raises BadJson for what has none (fractions, huge integers), TooLarge beyond 64 KiB."""
    try:
        text = encode(value)
    except CanonicalJSONError as error:
        raise BadJson(f"This cannot be canonical JSON: {error}") from None
    if len(text) > _MAX_BYTES:
        raise TooLarge("The key is too large")
    return text


def require_user_ids(user_ids: Collection[str]) -> None:
    """Raises InvalidParam where one of them is not a user id."""
    for user_id in user_ids:
        if not is_valid_user_id(user_id):
            raise InvalidParam(f"Not a user id: {user_id[:300]!r}")


def checked_device_keys(keys: Mapping[str, Any], user_id: str, device_id: str) -> bytes:
    """The keys of a device as they are kept. Raises InvalidParam where they are another device's."""
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise InvalidParam("The keys name another user or device than the one that uploads them")
    return encoded(without(keys, "unsigned"))


def algorithm_and_id(name: str) -> tuple[str, str]:
    """The parts of `<algorithm>:<key id>`. Raises InvalidParam."""
    algorithm, colon, key_id = name.partition(":")
    if not colon or not algorithm or not key_id or len(name) > 255:
        raise InvalidParam(f"A key has to be named <algorithm>:<key id>, not {name[:300]!r}")
    return algorithm, key_id


def checked_cross_signing_key(key: Mapping[str, Any], usage: str, user_id: str) -> PublicKey:
    """The one public key of a cross-signing key. Raises InvalidParam where it is not the user's, or of no such form."""
    if key.get("user_id") != user_id:
        raise InvalidParam("The cross-signing key names another user")
    usages = key.get("usage")
    if not isinstance(usages, list) or usage not in usages:
        raise InvalidParam(f"The cross-signing key is not for the usage {usage}")
    public = public_key_of(key)
    if public is None:
        raise InvalidParam("A cross-signing key has to hold exactly one Ed25519 key, named after itself")
    return public


def public_key_of(key: Mapping[str, Any]) -> PublicKey | None:
    """The public key of a cross-signing key; None where it is not of the form that they have."""
    keys = key.get("keys")
    if not isinstance(keys, dict) or len(keys) != 1:
        return None
    ((key_id, text),) = keys.items()
    public = bytes_of_base64(text) if isinstance(text, str) else None
    if public is None or len(public) != _PUBLIC_KEY_BYTES or key_id != f"ed25519:{text}":
        return None
    return PublicKey(key_id, public)


def device_key_of(keys: Mapping[str, Any], device_id: str) -> PublicKey | None:
    """The key that a device signs with."""
    key_id = f"ed25519:{device_id}"
    held = keys.get("keys")
    text = held.get(key_id) if isinstance(held, dict) else None
    public = bytes_of_base64(text) if isinstance(text, str) else None
    return None if public is None else PublicKey(key_id, public)


def is_same_key(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two objects are equal in what signatures cover."""
    return without(one, *_NOT_SIGNED) == without(other, *_NOT_SIGNED)


def without(obj: Mapping[str, Any], *names: str) -> Json:
    """A copy that lacks some fields."""
    return {name: value for name, value in obj.items() if name not in names}


def with_visible_signatures(obj: Json, signers: Collection[str]) -> Json:
    """A copy with the signatures of these users alone: those of others would tell who knows whom."""
    signatures = obj.get("signatures")
    if not isinstance(signatures, dict):
        return obj
    visible = {user_id: dict(by_key) for user_id, by_key in signatures.items() if user_id in signers}
    return obj | {"signatures": visible}


def add_signature(obj: Json, signer: str, key_id: str, signature: str) -> None:
    """Put a signature into an object that `with_visible_signatures` made."""
    obj.setdefault("signatures", {}).setdefault(signer, {})[key_id] = signature
