"""Changes of users' devices and keys: noted in the log for /sync, and sent to the servers that share rooms with them.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from homeserver.core.canonical_json import encode
from homeserver.services.e2ee_keys import with_visible_signatures
from homeserver.services.key_bundles import KeyBundle, local_bundles, put_signature
from homeserver.services.one_time_key_counts import one_time_keys_changed
from storage import device_lists, devices, e2ee_keys
from storage.database import Database, Position, Write
from storage.device_lists import ListState


class DeviceLists:
    """Tells of changes in what local users have. `share_names`: other servers may see what devices are called.

    Reads the log as sync's `DeviceListChanges`.
    """

    def __init__(self, database: Database, server_name: str, *, share_names: bool = False) -> None:
        self._database = database
        self._server_name = server_name
        self._share_names = share_names

    async def between(self, after: int, upto: int) -> Sequence[str]:
        """The users with a change at a position of (after, upto]."""
        async with self._database.read() as tx:
            changes = await device_lists.changes_between(tx, after, upto)
        return list(dict.fromkeys(user_id for _, user_id in changes))

    async def sharing_rooms(self, user_id: str, others: Collection[str]) -> set[str]:
        """Those of the others who are in a room that the user is in."""
        async with self._database.read() as tx:
            return await device_lists.sharing_rooms_with(tx, user_id, others)

    async def changed_for(self, user_id: str, after: int, upto: int) -> tuple[list[str], list[str]]:
        """(changed, left) for a user between two positions: those who share a room with the user and have other keys
        or began to share one, and those who ceased to."""
        async with self._database.read(snapshot=True) as tx:
            candidates = {other for _, other in await device_lists.changes_between(tx, after, upto)}
            members = await device_lists.members_changed_between(tx, user_id, after, upto)
            sharing = await device_lists.sharing_rooms_with(tx, user_id, candidates | members)
        changed = sharing | (candidates & {user_id})
        return sorted(changed), sorted(members - sharing)

    async def changed(
        self,
        tx: Write,
        user_id: str,
        updated: Collection[str] = (),
        *,
        deleted: Collection[str] = (),
        renamed: Collection[str] = (),
    ) -> None:
        """As a part of a write: these devices of a local user are new, different or gone.

        Devices without keys concern nobody else, unless others see their names. Keys that this very write puts off to
        delete are still looked for.
        """
        known = (await e2ee_keys.device_keys_of(tx, [user_id])).get(user_id, {})
        for device_id in deleted:
            one_time_keys_changed(tx, user_id, device_id)
        news = {device_id: known[device_id] for device_id in updated if device_id in known}
        if self._share_names:
            news |= {device_id: b"" for device_id in renamed if device_id not in known}
        if news or not known.keys().isdisjoint(deleted):
            await self._announce(tx, user_id, news | {name: None for name in deleted if name in known})

    async def device_keys_changed(self, tx: Write, user_id: str, device_id: str, keys: bytes) -> Position:
        """As a part of the write that puts off to keep them: a device has other keys (JSON). Returns the change's
        place."""
        return await self._announce(tx, user_id, {device_id: keys})

    async def announce(
        self, tx: Write, user_id: str, destinations: Sequence[str], *, with_keys_only: bool = False
    ) -> None:
        """As a part of a write: these servers hear of a local user's devices for the first time. The update names no
        earlier one, so that they read the whole list. `with_keys_only`: not of devices without keys."""
        known = (await e2ee_keys.device_keys_of(tx, [user_id])).get(user_id) or {}
        if with_keys_only and not known:
            return
        device_id = next(iter(known or await devices.display_names(tx, user_id)), None)
        if device_id is None:
            return
        stream_id = await device_lists.locked_stream_id(tx, user_id) or 0
        content: dict[str, Any] = {"user_id": user_id, "device_id": device_id, "stream_id": stream_id, "prev_id": []}
        if device_id in known:
            content["keys"] = await self._signed(tx, user_id, device_id, orjson.loads(known[device_id]))
        device_lists.put_edu(tx, destinations, "m.device_list_update", encode(content))

    async def forget_old(self) -> None:
        """Forget changes that later ones make superfluous. To be called now and then."""
        await self._database.write(device_lists.forget_old_changes)

    async def _announce(self, tx: Write, user_id: str, news: Mapping[str, bytes | None]) -> Position:
        """`news`: device id → keys, empty where it has none, None where the device is gone."""
        position = device_lists.note_change(tx, user_id)
        destinations = await self._destinations(tx, user_id)
        names = await devices.display_names(tx, user_id) if self._share_names and destinations else {}
        for device_id, keys in news.items():
            content: dict[str, Any] = {"user_id": user_id, "device_id": device_id}
            content |= await _next_id(tx, user_id)
            if not destinations:
                continue
            if keys is None:
                content["deleted"] = True
            else:
                if keys:
                    content["keys"] = await self._signed(tx, user_id, device_id, orjson.loads(keys))
                if names.get(device_id) is not None:
                    content["device_display_name"] = names[device_id]
            device_lists.put_edu(tx, destinations, "m.device_list_update", encode(content))
        return position

    async def signing_keys_changed(self, tx: Write, user_id: str, keys: Mapping[str, bytes] | None = None) -> Position:
        """As a part of a write: the user's cross-signing keys, or signatures on them, are not what they were; returns
        the change's place.

        `keys` (usage → JSON) are those that this very write puts off.
        """
        position = device_lists.note_change(tx, user_id)
        destinations = await self._destinations(tx, user_id)
        if not destinations:
            return position
        content: dict[str, Any] = {"user_id": user_id}
        bundle = (await local_bundles(tx, [user_id], seen_by=None, with_names=False)).get(user_id, KeyBundle())
        for usage in ("master", "self_signing"):
            if keys and usage in keys:
                content[f"{usage}_key"] = with_visible_signatures(orjson.loads(keys[usage]), {user_id})
            elif usage in bundle.cross_signing:
                content[f"{usage}_key"] = bundle.cross_signing[usage]
        device_lists.put_edu(tx, destinations, "m.signing_key_update", encode(content))
        return position

    async def _destinations(self, tx: Write, user_id: str) -> list[str]:
        servers = await device_lists.servers_of_rooms_with(tx, user_id)
        return sorted(name for name in servers if name != self._server_name)

    async def _signed(self, tx: Write, user_id: str, device_id: str, keys: dict[str, Any]) -> dict[str, Any]:
        """The keys with the signatures that the user put on them with their self-signing key."""
        bundle = KeyBundle({device_id: with_visible_signatures(keys, {user_id})})
        for signature in await e2ee_keys.signatures_on(tx, [user_id], None):
            put_signature(bundle, signature)
        return bundle.devices[device_id]


async def _next_id(tx: Write, user_id: str) -> dict[str, Any]:
    """`stream_id` and `prev_id` of the user's next update: a chain, so that the others notice what they missed.

    It goes on even while nobody is to be told: who has an older list and is told again must notice that, too.
    """
    chain: dict[str, int] = tx.batch.setdefault("device list ids", {})
    before = chain.get(user_id)
    previous = await device_lists.locked_stream_id(tx, user_id) if before is None else before
    stream_id = chain[user_id] = (previous or 0) + 1

    def forget() -> None:
        if before is None:
            chain.pop(user_id, None)
        else:
            chain[user_id] = before

    tx.on_undo(forget)
    device_lists.put_state(tx, user_id, ListState(stream_id, stale=False))
    return {"stream_id": stream_id, "prev_id": [] if previous is None else [previous]}
