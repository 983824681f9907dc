"""Clients ask for the keys of users: this server's from the database, others' from what is kept, or their servers.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from homeserver.core.identifiers import server_name_of
from homeserver.services.e2ee_keys import require_user_ids, with_visible_signatures
from homeserver.services.key_bundles import (
    KeyBundle,
    answer_of,
    bundles_of_answer,
    local_bundles,
    put_signature,
    remote_bundles,
)
from homeserver.services.remote_device_lists import RemoteDeviceLists
from homeserver.services.remote_keys import Failures, RemoteKeys, ask_servers
from storage import e2ee_keys
from storage.database import Database

# Of a server's users who are not kept yet, so many are read whole, so that they are kept; more are asked for at once.
_READ_WHOLE: Final = 10


class KeyQueries:
    """Answers keys/query."""

    def __init__(self, database: Database, lists: RemoteDeviceLists, remote: RemoteKeys, *, server_name: str) -> None:
        self._database = database
        self._lists = lists
        self._remote = remote
        self._server_name = server_name

    async def query(self, user_id: str, wanted: Mapping[str, Collection[str]], timeout_ms: int) -> dict[str, Any]:
        """The body of the answer. `wanted`: user id → device ids, none for all. Raises InvalidParam."""
        require_user_ids(wanted)
        local = [other for other in wanted if server_name_of(other) == self._server_name]
        remote = [other for other in wanted if server_name_of(other) != self._server_name]
        bundles, failures = await self._remote_bundles(user_id, remote, timeout_ms) if remote else ({}, {})
        async with self._database.read(snapshot=True) as tx:
            bundles |= await local_bundles(tx, local, seen_by=user_id, with_names=True)
        for other in local:
            bundles.setdefault(other, KeyBundle())  # who has no keys is there, with none
        return {"failures": failures} | answer_of(bundles, wanted)

    async def _remote_bundles(
        self, seen_by: str, user_ids: list[str], timeout_ms: int
    ) -> tuple[dict[str, KeyBundle], Failures]:
        kept = await self._lists.current(user_ids)
        by_server: dict[str, list[str]] = {}
        for user_id in user_ids:
            if user_id not in kept:
                by_server.setdefault(server_name_of(user_id), []).append(user_id)
        passing: dict[str, dict[str, Any]] = {}

        async def ask(server_name: str) -> dict[str, Any]:
            asked = by_server[server_name]
            followed = await self._lists.followed(asked)
            if len(followed) > _READ_WHOLE:
                self._lists.read_soon(followed)
                followed = set()
            kept.update(await self._lists.read_all(followed))
            others = {user_id: list[str]() for user_id in asked if user_id not in followed}
            if others:
                passing[server_name] = await self._remote.query_user_keys(server_name, others)
            return {}

        _, failures = await ask_servers(by_server, ask, timeout_ms)
        async with self._database.read(snapshot=True) as tx:
            bundles = await remote_bundles(tx, kept, seen_by=seen_by)
        for server_name, answer in passing.items():
            bundles |= await self._passed_on(bundles_of_answer(answer, by_server[server_name]), seen_by)
        return bundles, failures

    async def _passed_on(self, bundles: dict[str, KeyBundle], seen_by: str) -> dict[str, KeyBundle]:
        """Keys that are not kept, with the signatures that `seen_by` made on them."""
        for user_id, bundle in bundles.items():
            for keys in (bundle.devices, bundle.cross_signing):
                for name, obj in keys.items():
                    keys[name] = with_visible_signatures(obj, {user_id, seen_by})
        async with self._database.read() as tx:
            for signature in await e2ee_keys.signatures_on(tx, bundles, seen_by):
                put_signature(bundles[signature.user_id], signature)
        return bundles
