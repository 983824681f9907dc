"""What a device uploads: its identity keys, one-time keys and fallback keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from homeserver.errors import Forbidden, InvalidParam, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.services.device_lists import DeviceLists
from homeserver.services.e2ee_keys import algorithm_and_id, checked_device_keys, encoded, is_same_key
from homeserver.services.one_time_key_counts import ALWAYS_COUNTED, OneTimeKeyCounts, one_time_keys_changed
from storage import devices, e2ee_keys
from storage.database import Database, Write

Named = dict[tuple[str, str], bytes]
"""(algorithm, key id) → key, as canonical JSON."""

# Clients keep about fifty there, the largest some hundreds.
_MAX_ONE_TIME_KEYS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Upload:
    """Keys of one device; `identity` as canonical JSON."""

    identity: bytes | None
    one_time: Named
    fallback: Named


class DeviceKeys:
    """Keeps what devices upload."""

    def __init__(self, database: Database, clock: Clock, lists: DeviceLists, counts: OneTimeKeyCounts) -> None:
        self._database = database
        self._clock = clock
        self._lists = lists
        self._counts = counts

    async def upload(self, user_id: str, device_id: str | None, body: Mapping[str, Any]) -> dict[str, int]:
        """Keep a device's keys; returns how many one-time keys of each algorithm it has now.

        `body` as of uploadKeys. The same upload twice is one. Raises InvalidParam where the keys are another device's,
        or a one-time key's id stands for another key already.
        """
        if device_id is None:
            raise InvalidParam("Keys belong to a device, and this access token to none")
        prepared = self.prepared(user_id, device_id, body)
        if prepared.identity is None and not prepared.one_time and not prepared.fallback:
            return dict(await self._counts.counts(user_id, device_id))

        async def operation(tx: Write) -> dict[str, int]:
            await self.put(tx, user_id, device_id, prepared)
            return {ALWAYS_COUNTED: 0} | await e2ee_keys.one_time_key_counts(tx, user_id, device_id)

        return await self._database.write(operation)

    def prepared(self, user_id: str, device_id: str, body: Mapping[str, Any]) -> "Upload":
        """What a device uploads, checked as far as it can be by itself. Raises InvalidParam."""
        keys = body.get("device_keys")
        identity = None if keys is None else checked_device_keys(keys, user_id, device_id)
        fallback = _named(body.get("fallback_keys") or {})
        if len({algorithm for algorithm, _ in fallback}) < len(fallback):
            raise InvalidParam("There can be one fallback key of each algorithm")
        return Upload(identity, _named(body.get("one_time_keys") or {}), fallback)

    async def put(self, tx: Write, user_id: str, device_id: str, upload: "Upload") -> None:
        """As a part of a write: keep it."""
        if upload.identity is not None:
            await self._put_identity(tx, user_id, device_id, upload.identity)
        await self._put_one_time(tx, user_id, device_id, upload.one_time)
        await _put_fallback(tx, user_id, device_id, upload.fallback)
        if upload.one_time or upload.fallback:
            one_time_keys_changed(tx, user_id, device_id)

    async def forget_device(self, tx: Write, user_id: str, device_id: str) -> None:
        """As a part of a write: the device is gone, and so are its keys and the messages that wait for it."""
        await self._lists.changed(tx, user_id, deleted=[device_id])
        devices.remove(tx, user_id, [device_id])

    async def _put_identity(self, tx: Write, user_id: str, device_id: str, identity: bytes) -> None:
        if device_id in await e2ee_keys.cross_signing_key_ids(tx, user_id):
            raise Forbidden("The device is named as one of the user's cross-signing keys")
        stored = await e2ee_keys.device_keys_of_device(tx, user_id, device_id)
        if stored == identity:
            return
        if stored is not None and not is_same_key(orjson.loads(stored), orjson.loads(identity)):
            await e2ee_keys.remove_signatures(tx, user_id, f"ed25519:{device_id}")
        position = await self._lists.device_keys_changed(tx, user_id, device_id, identity)
        e2ee_keys.put_device_keys(tx, user_id, device_id, identity, position)

    async def _put_one_time(self, tx: Write, user_id: str, device_id: str, keys: Named) -> None:
        if not keys:
            return
        stored = await e2ee_keys.one_time_keys_named(tx, user_id, device_id, [key_id for _, key_id in keys])
        for name, key in stored.items():
            if name in keys and not _is_same(key, keys[name]):
                raise InvalidParam(f"The one-time key {':'.join(name)} exists already, and is another one")
        new = {name: key for name, key in keys.items() if name not in stored}
        held = await e2ee_keys.one_time_key_counts(tx, user_id, device_id)
        if sum(held.values()) + len(new) > _MAX_ONE_TIME_KEYS:
            raise TooLarge("The device has too many one-time keys")
        await e2ee_keys.put_one_time_keys(tx, user_id, device_id, new, self._clock.now_us())


async def _put_fallback(tx: Write, user_id: str, device_id: str, keys: Named) -> None:
    if not keys:
        return
    stored = await e2ee_keys.fallback_keys_of(tx, user_id, device_id)
    for (algorithm, key_id), key in keys.items():
        there = stored.get(algorithm)
        # The same key again, as after a lost answer, may well have been used in the meantime.
        if there is None or there[0] != key_id or not _is_same(there[1], key):
            e2ee_keys.put_fallback_key(tx, user_id, device_id, algorithm, key_id, key)


def _named(keys: Mapping[str, Any]) -> Named:
    return {algorithm_and_id(name): encoded(key) for name, key in keys.items()}


def _is_same(stored: bytes, key: bytes) -> bool:
    """Whether both are the same key; it may have been signed anew."""
    if stored == key:
        return True
    one, other = orjson.loads(stored), orjson.loads(key)
    return isinstance(one, dict) and isinstance(other, dict) and is_same_key(one, other)
