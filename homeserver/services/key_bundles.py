"""The keys of users as they are shown: those of their devices and their cross-signing keys, with signatures put in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.services.e2ee_keys import (
    MASTER,
    SELF_SIGNING,
    USAGES,
    USER_SIGNING,
    Json,
    add_signature,
    public_key_of,
    with_visible_signatures,
)
from storage import device_lists, e2ee_keys
from storage.database import Read
from storage.e2ee_keys import Signature

_SECTIONS = {MASTER: "master_keys", SELF_SIGNING: "self_signing_keys", USER_SIGNING: "user_signing_keys"}


@dataclass(slots=True)
class KeyBundle:
    """One user's keys: device id → keys, usage → cross-signing key."""

    devices: dict[str, Json] = field(default_factory=dict)
    cross_signing: dict[str, Json] = field(default_factory=dict)


async def local_bundles(
    tx: Read, user_ids: Collection[str], *, seen_by: str | None, with_names: bool
) -> dict[str, KeyBundle]:
    """user id → keys, of this server's users; who has none is absent. `seen_by` None: another server asks.

    `with_names`: what users call their devices is shown as `unsigned.device_display_name`.
    """
    found: dict[str, KeyBundle] = {}
    for user_id, device_id, text, name in await e2ee_keys.named_device_keys_of(tx, user_ids):
        keys: Json = orjson.loads(text)
        keys["unsigned"] = {"device_display_name": name} if with_names and name is not None else {}
        found.setdefault(user_id, KeyBundle()).devices[device_id] = keys
    return await _complete(tx, user_ids, found, seen_by)


async def remote_bundles(tx: Read, user_ids: Collection[str], *, seen_by: str) -> dict[str, KeyBundle]:
    """user id → keys, of other servers' users whose lists are kept."""
    found = {
        user_id: KeyBundle({device_id: orjson.loads(text) for device_id, text in by_device.items()})
        for user_id, by_device in (await device_lists.remote_devices_of(tx, user_ids)).items()
    }
    return await _complete(tx, user_ids, found, seen_by)


async def _complete(
    tx: Read, user_ids: Collection[str], found: dict[str, KeyBundle], seen_by: str | None
) -> dict[str, KeyBundle]:
    """Add the cross-signing keys and the signatures, and take out what `seen_by` must not see."""
    for user_id, by_usage in (await e2ee_keys.cross_signing_keys_of(tx, user_ids)).items():
        bundle = found.setdefault(user_id, KeyBundle())
        for usage in USAGES:
            if usage in by_usage and (usage != USER_SIGNING or user_id == seen_by):
                bundle.cross_signing[usage] = orjson.loads(by_usage[usage])
    for user_id, bundle in found.items():
        signers = {user_id} if seen_by is None else {user_id, seen_by}
        for keys in (bundle.devices, bundle.cross_signing):
            for name, obj in keys.items():
                keys[name] = with_visible_signatures(obj, signers)
    for signature in await e2ee_keys.signatures_on(tx, found, seen_by):
        put_signature(found[signature.user_id], signature)
    return found


def put_signature(bundle: KeyBundle, signature: Signature) -> None:
    """Put a signature where it belongs, if what it signs is there."""
    obj = bundle.devices.get(signature.key_id.partition(":")[2])
    if obj is None:
        obj = next((k for k in bundle.cross_signing.values() if signature.key_id in k.get("keys", {})), None)
    if obj is not None:
        add_signature(obj, signature.signer_user_id, signature.signer_key_id, signature.signature)


def answer_of(bundles: Mapping[str, KeyBundle], wanted: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """The body of an answer to keys/query, but for `failures`. `wanted`: user id → device ids, none for all."""
    answer: dict[str, Any] = {"device_keys": {}}
    for user_id, bundle in bundles.items():
        some = wanted.get(user_id)
        answer["device_keys"][user_id] = {
            device_id: keys for device_id, keys in bundle.devices.items() if not some or device_id in some
        }
        for usage, key in bundle.cross_signing.items():
            answer.setdefault(_SECTIONS[usage], {})[user_id] = key
    return answer


def bundles_of_answer(answer: Mapping[str, Any], user_ids: Collection[str]) -> dict[str, KeyBundle]:
    """What another server answered to keys/query, as far as it is well-formed and of these users."""
    found: dict[str, KeyBundle] = {}
    for user_id in user_ids:
        devices_of_user = _object(_object(answer.get("device_keys")).get(user_id))
        bundle = KeyBundle(
            {device_id: keys for device_id, keys in devices_of_user.items() if is_of_device(keys, user_id, device_id)}
        )
        for usage in (MASTER, SELF_SIGNING):
            key = _object(answer.get(_SECTIONS[usage])).get(user_id)
            if isinstance(key, dict) and is_cross_signing_key(key, user_id, usage):
                bundle.cross_signing[usage] = key
        if bundle.devices or bundle.cross_signing:
            found[user_id] = bundle
    return found


def is_of_device(keys: object, user_id: str, device_id: str) -> bool:
    """Whether these are well-formed keys of the device."""
    return (
        isinstance(keys, dict)
        and keys.get("user_id") == user_id
        and keys.get("device_id") == device_id
        and isinstance(keys.get("keys"), dict)
    )


def is_cross_signing_key(key: object, user_id: str, usage: str) -> bool:
    """Whether this is a well-formed cross-signing key of the user for the usage."""
    if not isinstance(key, dict) or key.get("user_id") != user_id or public_key_of(key) is None:
        return False
    usages = key.get("usage")
    return isinstance(usages, list) and usage in usages


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
