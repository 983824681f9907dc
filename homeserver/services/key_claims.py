"""One-time keys are handed out: each to one asker, the oldest first; fallback keys where none is left.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from homeserver.core.identifiers import server_name_of
from homeserver.services.e2ee_keys import require_user_ids
from homeserver.services.one_time_key_counts import one_time_keys_changed
from homeserver.services.remote_keys import Failures, RemoteKeys, ask_servers
from storage import e2ee_keys
from storage.database import Database, Write

Wanted = Mapping[str, Mapping[str, str]]
"""user id → device id → algorithm."""
Claimed = dict[str, dict[str, dict[str, Any]]]
"""user id → device id → `<algorithm>:<key id>` → key."""

# How many keys are handed out in one write: others wait behind it.
_AT_ONCE: Final = 50


class KeyClaims:
    """Claims keys here and on other servers."""

    def __init__(self, database: Database, remote: RemoteKeys, *, server_name: str) -> None:
        self._database = database
        self._remote = remote
        self._server_name = server_name

    async def claim(self, wanted: Wanted, timeout_ms: int) -> tuple[Claimed, Failures]:
        """The keys, as far as there are any, and the servers that could not be asked. Raises InvalidParam."""
        require_user_ids(wanted)
        by_server: dict[str, dict[str, Mapping[str, str]]] = {}
        for user_id, devices in wanted.items():
            by_server.setdefault(server_name_of(user_id), {})[user_id] = devices
        local = by_server.pop(self._server_name, {})

        async def ask(server_name: str) -> dict[str, Any]:
            return await self._remote.claim_user_keys(server_name, by_server[server_name])

        answers, failures = await ask_servers(by_server, ask, timeout_ms)
        claimed = await self.claim_local(local)
        for server_name, answer in answers.items():
            claimed |= _claimed_of(answer, by_server[server_name])
        return claimed, failures

    async def claim_local(self, wanted: Wanted) -> Claimed:
        """Keys of this server's devices; those of unknown devices are left out."""
        claimed: Claimed = {}
        listed = [
            (user_id, device_id, algorithm)
            for user_id, devices in wanted.items()
            for device_id, algorithm in devices.items()
        ]
        for start in range(0, len(listed), _AT_ONCE):
            some = listed[start : start + _AT_ONCE]
            for user_id, device_id, name, key in await self._database.write(lambda tx, some=some: _take(tx, some)):
                claimed.setdefault(user_id, {})[device_id] = {name: key}
        return claimed


async def _take(tx: Write, wanted: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str, Any]]:
    taken: list[tuple[str, str, str, Any]] = []
    for user_id, device_id, algorithm in wanted:
        key = await e2ee_keys.take_one_time_key(tx, user_id, device_id, algorithm)
        if key is None:
            key = await e2ee_keys.use_fallback_key(tx, user_id, device_id, algorithm)
        if key is not None:
            one_time_keys_changed(tx, user_id, device_id)
            taken.append((user_id, device_id, f"{key.algorithm}:{key.key_id}", orjson.loads(key.key)))
    return taken


def _claimed_of(answer: Mapping[str, Any], wanted: Wanted) -> Claimed:
    """What another server answered, as far as it was asked for."""
    found: Claimed = {}
    by_user = answer.get("one_time_keys")
    for user_id, devices in by_user.items() if isinstance(by_user, dict) else ():
        for device_id, keys in devices.items() if isinstance(devices, dict) and user_id in wanted else ():
            if device_id in wanted[user_id] and isinstance(keys, dict):
                found.setdefault(user_id, {})[device_id] = keys
    return found
