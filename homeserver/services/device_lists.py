"""Changes of users' devices and keys: noted in the log for /sync, and sent to the servers that share rooms with them.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Collection
from typing import Any

import orjson

from homeserver.core.canonical_json import encode
from storage import device_lists, devices
from storage.database import Database, Write
from storage.device_lists import ListState


class DeviceLists:
    """Tells of changes in what local users have."""

    def __init__(self, database: Database, server_name: str, *, share_names: bool = False) -> None:
        self._database = database
        self._server_name = server_name
        self._share_names = share_names

    async def changed(
        self,
        tx: Write,
        user_id: str,
        updated: Collection[str] = (),
        *,
        deleted: Collection[str] = (),
        new_keys: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        """As a part of a write: these devices of a local user are new, different or gone.

        `new_keys` (device id → keys) are what this very write puts off.
        """
        device_lists.note_change(tx, user_id)
        destinations = await self._destinations(tx, user_id)
        if not destinations:
            return
        names = await devices.display_names(tx, user_id) if self._share_names else {}
        for device_id in (*updated, *deleted):
            content: dict[str, Any] = {"user_id": user_id, "device_id": device_id}
            content |= await self._next_id(tx, user_id)
            if device_id in deleted:
                content["deleted"] = True
            else:
                if names.get(device_id) is not None:
                    content["device_display_name"] = names[device_id]
                keys = (new_keys or {}).get(device_id)
                keys = keys or await device_lists.signed_device_keys_of(tx, user_id, device_id)
                if keys is not None:
                    content["keys"] = keys
            self._send(tx, destinations, "m.device_list_update", content)

    async def signing_keys_changed(self, tx: Write, user_id: str, keys: dict[str, bytes]) -> None:
        """As a part of a write: the user's cross-signing keys are now these, usage → JSON."""
        device_lists.note_change(tx, user_id)
        destinations = await self._destinations(tx, user_id)
        if not destinations:
            return
        content: dict[str, Any] = {"user_id": user_id}
        for usage in ("master", "self_signing"):
            if usage in keys:
                content[f"{usage}_key"] = orjson.loads(keys[usage])
        self._send(tx, destinations, "m.signing_key_update", content)

    async def _destinations(self, tx: Write, user_id: str) -> list[str]:
        servers = await device_lists.servers_of_rooms_with(tx, user_id)
        return [name for name in servers if name != self._server_name]

    async def _next_id(self, tx: Write, user_id: str) -> dict[str, Any]:
        """`stream_id` and `prev_id` of the user's next update: a chain, so that the others notice what they missed."""
        chain: dict[str, int] = tx.batch.setdefault("device list ids", {})
        previous = chain.get(user_id)
        if previous is None:
            state = (await device_lists.states_of(tx, [user_id])).get(user_id)
            previous = None if state is None else state.stream_id
        stream_id = chain[user_id] = self._database.new_id("device list update")
        # An update that comes to nothing would leave a gap: the next one starts from what is stored.
        tx.on_undo(lambda: chain.pop(user_id, None))
        device_lists.put_state(tx, user_id, ListState(stream_id, stale=False))
        return {"stream_id": stream_id, "prev_id": [] if previous is None else [previous]}

    def _send(self, tx: Write, destinations: list[str], edu_type: str, content: dict[str, Any]) -> None:
        encoded = encode(content)
        for destination in destinations:
            device_lists.put_edu(tx, destination, edu_type, encoded)
