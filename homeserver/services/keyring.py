"""The signing keys of all servers: this one's, and those of others, fetched when they are needed."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from signedjson.types import SigningKey

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.canonical_json import decode
from homeserver.core.signatures import key_id_of, sign_json, verify_json
from homeserver.runtime.clock import Clock
from homeserver.services.server_key_objects import InvalidKeys, OldVerifyKey, publish, read, verify_key_of
from storage.database import Database, Write
from storage.server_keys import ServerKey, keys_of, store_keys

log = logging.getLogger(__name__)

REFETCH_PAUSE_MS: Final = 60_000
"""A server whose keys were not good enough is asked again after this long, not for every event."""
NOTARY_SERVERS: Final = 100
"""Servers asked about in one request to a notary, and answered for in one."""


@dataclass(slots=True)
class _Known:
    """What is known of one server. Times are ms since the epoch, 0: never. `insisted_at`: asked though it failed."""

    keys: dict[str, ServerKey] = field(default_factory=dict)
    asked_at: int = 0
    insisted_at: int = 0


class Keyring:
    """Finds verify keys: in memory, in the database, from the server itself, from notaries; in that order."""

    def __init__(
        self,
        database: Database,
        client: FederationClient,
        clock: Clock,
        *,
        server_name: str,
        signing_key: SigningKey,
        old_keys: Sequence[OldVerifyKey] = (),
        validity_s: float = 86_400,
        notaries: Sequence[str] = (),
        cached_servers: int = 10_000,
    ) -> None:
        self._database = database
        self._client = client
        self._clock = clock
        self.server_name = server_name
        self._signing_key = signing_key
        self._old_keys = tuple(old_keys)
        self._validity_ms = int(validity_s * 1000)
        self._notaries = tuple(notary for notary in notaries if notary != server_name)
        self._cached_servers = cached_servers
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._fetches: dict[str, asyncio.Future[None]] = {}
        self._published: tuple[int, dict[str, Any]] | None = None

    # --- this server's keys

    def published(self) -> dict[str, Any]:
        """The answer to GET /_matrix/key/v2/server; made anew when half of its time is over."""
        now = self._clock.now_ms()
        if self._published is None or self._published[0] - now < self._validity_ms // 2:
            until = now + self._validity_ms
            self._published = (until, publish(self.server_name, self._signing_key, self._old_keys, until))
        return self._published[1]

    def own_key(self, key_id: str) -> bytes | None:
        """A verify key of this server, an old one too."""
        if key_id == key_id_of(self._signing_key):
            return verify_key_of(self._signing_key)
        return next((old.verify_key for old in self._old_keys if old.key_id == key_id), None)

    # --- keys of any server

    async def keys(
        self, server_name: str, key_ids: Collection[str], valid_at: int, *, insistent: bool = False
    ) -> dict[str, bytes]:
        """Those of the keys that can be had and were valid at `valid_at` (ms since the epoch).

        Fetches where a key is missing, or where what is known is too old to tell. `insistent`: there is a sign that the
        server is back, so that it is asked although it failed lately.
        """
        found = await self.records(server_name, key_ids, valid_at, insistent=insistent)
        return {key_id: key.verify_key for key_id, key in found.items() if was_valid(key, valid_at)}

    async def records(
        self, server_name: str, key_ids: Collection[str], valid_at: int, *, insistent: bool = False
    ) -> dict[str, ServerKey]:
        """As `keys`, with keys that were not valid at that time too, and what is known of them."""
        if server_name == self.server_name:
            return self._own_records(key_ids)
        known = await self._load(server_name)
        insists = insistent and self._client.is_failing(server_name)
        if is_missing(known.keys, key_ids, valid_at) and self._may_ask(server_name, known, insists):
            await self._fetch_once(server_name, key_ids, valid_at, insists)
            known = await self._load(server_name)
        return {key_id: known.keys[key_id] for key_id in key_ids if key_id in known.keys}

    def cached(self, server_name: str, key_id: str, valid_at: int) -> bytes | None:
        """A key that is in memory and was valid then; None says nothing."""
        if server_name == self.server_name:
            return self.own_key(key_id)
        known = self._known.get(server_name)
        key = None if known is None else known.keys.get(key_id)
        return key.verify_key if key is not None and was_valid(key, valid_at) else None

    async def known(self, server_name: str) -> Mapping[str, ServerKey]:
        """What is known of a server's keys, by their ids, without asking anybody."""
        return (await self._load(server_name)).keys

    # --- as a notary

    async def notarised(
        self, wanted: Mapping[str, Mapping[str, int]], now_valid_until: int = 0
    ) -> list[dict[str, Any]]:
        """Key objects of other servers with this server's signature added (server-server-api §Querying Keys Through
        Another Server). `wanted`: server → key id (none for all) → the time until which it should be valid."""
        servers = list(wanted.items())[:NOTARY_SERVERS]
        answers = await asyncio.gather(*(self._notarise(name, ids, now_valid_until) for name, ids in servers))
        return [response for responses in answers for response in responses]

    async def _notarise(self, server_name: str, key_ids: Mapping[str, int], until: int) -> list[dict[str, Any]]:
        if server_name == self.server_name:
            return [self.published()]
        until = max([until, *key_ids.values()])
        known = await self._load(server_name)
        # The keys of a server that cannot be reached are still worth telling.
        enough = bool(known.keys) and not is_missing(known.keys, key_ids or known.keys, until)
        if not enough and self._may_ask(server_name, known):
            await self._fetch_once(server_name, key_ids, until)
            known = await self._load(server_name)
        keys = [key for key_id, key in known.keys.items() if not key_ids or key_id in key_ids]
        responses = dict.fromkeys(key.response for key in keys)
        return [sign_json(decode(raw), self.server_name, self._signing_key) for raw in responses]

    # --- fetching

    def _own_records(self, key_ids: Collection[str]) -> dict[str, ServerKey]:
        expired = {old.key_id: old.expired_at for old in self._old_keys}
        found: dict[str, ServerKey] = {}
        for key_id in key_ids:
            key = self.own_key(key_id)
            if key is not None:
                until = self._clock.now_ms() + self._validity_ms
                found[key_id] = ServerKey(key_id, key, until, expired.get(key_id), 0, b"{}")
        return found

    def _may_ask(self, server_name: str, known: _Known, insists: bool = False) -> bool:
        """Whether to ask, or to wait for what somebody else has just asked."""
        last = known.insisted_at if insists else known.asked_at
        return server_name in self._fetches or last + REFETCH_PAUSE_MS <= self._clock.now_ms()

    async def _load(self, server_name: str) -> _Known:
        known = self._known.get(server_name)
        if known is None:
            async with self._database.read() as tx:
                stored = await keys_of(tx, server_name)
            known = self._known.setdefault(server_name, _Known({key.key_id: key for key in stored}))
            while len(self._known) > self._cached_servers:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(server_name)
        return known

    async def _fetch_once(
        self, server_name: str, key_ids: Collection[str], valid_at: int, insists: bool = False
    ) -> None:
        """Fetches a server's keys for everybody who wants them now."""
        under_way = self._fetches.get(server_name)
        if under_way is not None:
            await asyncio.shield(under_way)
            return
        future = self._fetches[server_name] = asyncio.get_running_loop().create_future()
        try:
            await self._fetch(server_name, key_ids, valid_at, insists)
        finally:
            del self._fetches[server_name]
            future.set_result(None)

    async def _fetch(self, server_name: str, key_ids: Collection[str], valid_at: int, insists: bool) -> None:
        known = await self._load(server_name)
        known.asked_at = self._clock.now_ms()
        if insists:
            known.insisted_at = known.asked_at
        await self._ask_server(server_name, insists)
        for notary in self._notaries:
            if not is_missing(known.keys, key_ids, valid_at):
                return
            await self._ask_notary(notary, server_name, key_ids, valid_at)

    async def _ask_server(self, server_name: str, insists: bool = False) -> None:
        try:
            response = await self._client.server_keys(server_name, insistent=insists)
            await self._keep(server_name, read(response, server_name, self._clock.now_ms()))
        except (FederationError, InvalidKeys, ValueError) as error:
            log.info("no keys from %s: %s", server_name, error)

    async def _ask_notary(self, notary: str, server_name: str, key_ids: Collection[str], valid_at: int) -> None:
        criteria = {key_id: {"minimum_valid_until_ts": valid_at} for key_id in key_ids}
        try:
            own = await self._notary_keys(notary)
            for response in await self._client.query_keys(notary, {server_name: criteria}):
                if not any(verify_json(response, notary, key_id, key) for key_id, key in own.items()):
                    raise InvalidKeys(f"not signed by {notary}")
                await self._keep(server_name, read(response, server_name, self._clock.now_ms()))
        except (FederationError, InvalidKeys, ValueError) as error:
            log.info("no keys of %s from %s: %s", server_name, notary, error)

    async def _notary_keys(self, notary: str) -> dict[str, bytes]:
        known = await self._load(notary)
        now = self._clock.now_ms()
        if not any(was_valid(key, now) for key in known.keys.values()):
            await self._ask_server(notary)
        return {key_id: key.verify_key for key_id, key in known.keys.items() if was_valid(key, now)}

    async def _keep(self, server_name: str, keys: Sequence[ServerKey]) -> None:
        known = await self._load(server_name)
        newer = [key for key in keys if _is_news(known.keys.get(key.key_id), key)]
        known.keys.update((key.key_id, key) for key in newer)
        if not newer:
            return

        async def keep(tx: Write) -> None:
            store_keys(tx, server_name, newer)

        await self._database.write(keep)


def was_valid(key: ServerKey, at: int) -> bool:
    """Whether what a server signed at a time (ms since the epoch) may bear this key."""
    return at <= (key.valid_until if key.expired_at is None else key.expired_at)


def is_missing(known: Mapping[str, ServerKey], key_ids: Collection[str], valid_at: int) -> bool:
    """Whether asking again could tell anything that matters: expired keys never become valid again."""
    for key_id in key_ids:
        key = known.get(key_id)
        if key is None or (key.expired_at is None and key.valid_until < valid_at):
            return True
    return False


def _is_news(old: ServerKey | None, new: ServerKey) -> bool:
    """A key that was retired stays so, and nobody moves the end of a key's life backwards."""
    if old is None:
        return True
    if old.verify_key != new.verify_key:
        return old.expired_at is None and old.valid_until < new.fetched_at
    if old.expired_at is not None:
        return False
    return new.expired_at is not None or new.valid_until > old.valid_until
