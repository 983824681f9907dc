"""Users publish signatures: of their own devices, of their master key, of other users' master keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeserver.core.signatures import verify_json
from homeserver.errors import InvalidParam, InvalidSignature, MatrixError, NotFound
from homeserver.services.device_lists import DeviceLists
from homeserver.services.e2ee_keys import (
    Json,
    PublicKey,
    device_key_of,
    is_same_key,
    public_key_of,
    require_user_ids,
    without,
)
from homeserver.services.key_queries import KeyQueries
from homeserver.services.remote_keys import DEFAULT_TIMEOUT_MS
from storage import device_lists, e2ee_keys
from storage.database import Database, Write
from storage.e2ee_keys import Signature

_MAX_KEYS: Final = 1_000


class KeySignatures:
    """Checks signatures against what is known of the keys, and keeps the good ones."""

    def __init__(self, database: Database, queries: KeyQueries, lists: DeviceLists) -> None:
        self._database = database
        self._queries = queries
        self._lists = lists

    async def upload(self, user_id: str, body: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Keep the signatures of a user; returns what failed: user id → key id → error.

        `body`: user id → device id, or public key of a cross-signing key → the signed object. Raises InvalidParam.
        """
        require_user_ids(body)
        if sum(len(keys) for keys in body.values()) > _MAX_KEYS:
            raise InvalidParam(f"At most {_MAX_KEYS} keys can be signed at once")
        known = await self._queries.query(user_id, {name: [] for name in (user_id, *body)}, DEFAULT_TIMEOUT_MS)
        good: list[Signature] = []
        failures: dict[str, dict[str, Any]] = {}
        for target, by_key in body.items():
            for name, obj in by_key.items():
                try:
                    good += _checked(known, user_id, target, name, obj)
                except MatrixError as error:
                    failures.setdefault(target, {})[name] = error.body()
        if good:
            await self._database.write(lambda tx: self._keep(tx, user_id, good))
        return failures

    async def _keep(self, tx: Write, user_id: str, signatures: Iterable[Signature]) -> None:
        new = [signature for signature in signatures if await e2ee_keys.put_signature(tx, signature)]
        own = [signature.key_id.partition(":")[2] for signature in new if signature.user_id == user_id]
        signed_devices = set(own) & (await e2ee_keys.device_keys_of(tx, [user_id])).get(user_id, {}).keys()
        if signed_devices:
            await self._lists.changed(tx, user_id, sorted(signed_devices))
        if set(own) - signed_devices:
            await self._lists.signing_keys_changed(tx, user_id)
        # Nobody else sees a signature on another user's key, but the signer's other devices have to look.
        for target in sorted({signature.user_id for signature in new} - {user_id}):
            device_lists.note_change(tx, target)


def _checked(known: Mapping[str, Any], signer: str, target: str, name: str, obj: object) -> list[Signature]:
    """The signatures of `signer` on a key. Raises NotFound, InvalidParam, InvalidSignature."""
    if not isinstance(obj, dict) or obj.get("user_id") != target:
        raise InvalidParam("The signed object is not of this user")
    stored, allowed = _signable(known, signer, target, name)
    if not is_same_key(stored, obj):
        raise InvalidSignature("The signed object is not the key that this server knows")
    by_signer = obj.get("signatures")
    given = by_signer.get(signer) if isinstance(by_signer, dict) else None
    found: list[Signature] = []
    for key_id, signature in given.items() if isinstance(given, dict) else ():
        public = allowed.get(key_id)
        if public is None:
            continue  # clients send the object with what was on it before
        message: Json = without(stored, "signatures", "unsigned") | {"signatures": {signer: {key_id: signature}}}
        if not isinstance(signature, str) or not verify_json(message, signer, key_id, public.public):
            raise InvalidSignature
        found.append(Signature(target, _key_id(stored, name), signer, key_id, signature))
    if not found:
        raise InvalidSignature("There is no signature by a key that may sign this one")
    return found


def _signable(known: Mapping[str, Any], signer: str, target: str, name: str) -> tuple[Json, dict[str, PublicKey]]:
    """The key as it is known, and the keys of `signer` that may sign it. Raises NotFound."""
    own_devices = known["device_keys"].get(signer, {})
    if target == signer and name in own_devices:
        return own_devices[name], _publics([_own(known, "self_signing_keys", signer)])
    master: Json = known.get("master_keys", {}).get(target, {})
    public = public_key_of(master)
    if public is None or public.name != name:
        raise NotFound("There is no such key")
    if target == signer:
        return master, _publics(device_key_of(keys, device_id) for device_id, keys in own_devices.items())
    return master, _publics([_own(known, "user_signing_keys", signer)])


def _own(known: Mapping[str, Any], section: str, signer: str) -> PublicKey | None:
    key = known.get(section, {}).get(signer)
    return None if key is None else public_key_of(key)


def _publics(keys: Iterable[PublicKey | None]) -> dict[str, PublicKey]:
    return {key.key_id: key for key in keys if key is not None}


def _key_id(stored: Mapping[str, Any], name: str) -> str:
    """The id under which signatures on the key are kept."""
    public = public_key_of(stored)
    return f"ed25519:{name}" if public is None else public.key_id
