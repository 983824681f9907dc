"""Users publish the keys by which they sign their devices and other users.

https://spec.matrix.org/v1.19/client-server-api/#cross-signing
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

import orjson

from homeserver.core.signatures import verify_json
from homeserver.errors import Forbidden, InvalidSignature, MissingParam
from homeserver.services.device_lists import DeviceLists
from homeserver.services.e2ee_keys import (
    MASTER,
    USAGES,
    Json,
    PublicKey,
    checked_cross_signing_key,
    encoded,
    is_same_key,
    public_key_of,
    without,
)
from storage import devices, e2ee_keys
from storage.database import Database, Read, Write

Keys = Mapping[str, Json]
"""usage → key."""


class CrossSigning:
    """Keeps cross-signing keys."""

    def __init__(self, database: Database, lists: DeviceLists) -> None:
        self._database = database
        self._lists = lists
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def needs_proof(self, user_id: str, body: Mapping[str, Any]) -> bool:
        """Whether the user has to prove anew who they are: there are keys already, and not these. `body` as of
        uploadCrossSigningKeys. Raises InvalidParam for malformed keys."""
        keys = _keys_of(body)
        for usage, key in keys.items():
            checked_cross_signing_key(key, usage, user_id)
        async with self._database.read() as tx:
            return _replaces(await _stored(tx, user_id), keys)

    async def upload(self, user_id: str, body: Mapping[str, Any], *, is_proven: bool) -> None:
        """Keep the keys. `is_proven`: the user may replace what is there.

        Raises InvalidParam for malformed keys, InvalidSignature where the master key has not signed another one,
        MissingParam where there is no master key, Forbidden where a key is named as a device.
        """
        keys = _keys_of(body)
        publics = {usage: checked_cross_signing_key(key, usage, user_id) for usage, key in keys.items()}

        async def operation(tx: Write) -> None:
            stored = await _stored(tx, user_id)
            if not is_proven and _replaces(stored, keys):
                raise Forbidden("The cross-signing keys were replaced in the meantime")
            master = publics.get(MASTER) or public_key_of(stored.get(MASTER, {}))
            _require_signed(user_id, keys, master)
            names = await devices.display_names(tx, user_id)
            if any(public.name in names for public in publics.values()):
                raise Forbidden("The key is named as one of the user's devices")
            await self._put(tx, user_id, stored, keys)

        lock = self._locks.setdefault(user_id, asyncio.Lock())
        async with lock:  # what a write puts off is not seen by another one of the same batch
            await self._database.write(operation)

    async def _put(self, tx: Write, user_id: str, stored: Keys, keys: Keys) -> None:
        new = {usage: encoded(key) for usage, key in keys.items() if stored.get(usage) != key}
        if not new:
            return
        before = stored.get(MASTER)
        if MASTER in new and before is not None and not is_same_key(before, keys[MASTER]):
            old = public_key_of(before)
            if old is not None:
                await e2ee_keys.remove_signatures(tx, user_id, old.key_id)
            # What the old master key signed means nothing any more.
            await e2ee_keys.remove_cross_signing_keys(tx, user_id, but=keys)
        position = await self._lists.signing_keys_changed(tx, user_id, new)
        for usage, key in new.items():
            e2ee_keys.put_cross_signing_key(tx, user_id, usage, key, position)


def _keys_of(body: Mapping[str, Any]) -> dict[str, Json]:
    return {usage: without(key, "unsigned") for usage in USAGES if (key := body.get(f"{usage}_key"))}


async def _stored(tx: Read, user_id: str) -> dict[str, Json]:
    found = (await e2ee_keys.cross_signing_keys_of(tx, [user_id])).get(user_id, {})
    return {usage: orjson.loads(key) for usage, key in found.items()}


def _replaces(stored: Keys, keys: Keys) -> bool:
    """Whether keys are new although there is a master key."""
    return MASTER in stored and any(not is_same_key(stored.get(usage, {}), key) for usage, key in keys.items())


def _require_signed(user_id: str, keys: Keys, master: PublicKey | None) -> None:
    for usage, key in keys.items():
        if usage == MASTER:
            continue
        if master is None:
            raise MissingParam("There is no master key that could have signed this one")
        if not verify_json(key, user_id, master.key_id, master.public):
            raise InvalidSignature(f"The {usage} key is not signed by the master key")
