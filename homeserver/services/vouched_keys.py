"""Keys of servers that cannot be reached, by the word of the server that tells of a room (server-server-api §Querying
Keys Through Another Server).

Who joins a room while its own server is down can have the signing keys of that from nobody but who is in the room. A
key object is signed with the keys that it holds, so a notary could make one up for a server that nobody here has ever
heard of. Therefore such keys count for what that notary tells of a room and for nothing else: they are not stored, and
no request is ever authenticated by them. Where any key of the server is known, one of those must have signed.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.signatures import verify_json
from homeserver.runtime.clock import Clock
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.keyring import NOTARY_SERVERS, REFETCH_PAUSE_MS, Keyring, is_missing
from homeserver.services.server_key_objects import InvalidKeys, read
from storage.server_keys import ServerKey

log = logging.getLogger(__name__)

REQUESTS: Final = 10
"""Requests to one notary for what it tells at once: keys of more servers than those hold are done without."""


@dataclass(slots=True)
class _Told:
    """What a notary told of one server. `asked_at` is ms since the epoch."""

    asked_at: int
    keys: dict[str, ServerKey] = field(default_factory=dict)


class VouchedKeys:
    """Asks notaries, and remembers for a while what each has said."""

    def __init__(self, keyring: Keyring, client: FederationClient, clock: Clock, *, remembered: int = 5_000) -> None:
        self._keyring = keyring
        self._client = client
        self._clock = clock
        self._told: BoundedCache[tuple[str, str], _Told] = BoundedCache(remembered)

    async def records(
        self, notary: str, wanted: Mapping[str, Collection[str]], valid_at: Mapping[str, int]
    ) -> dict[str, dict[str, ServerKey]]:
        """Server → key id → key, as the notary has them. `wanted`: server → key ids; `valid_at`: server → the time (ms
        since the epoch) for which they are wanted."""
        now = self._clock.now_ms()
        names = [name for name in wanted if name not in (notary, self._keyring.server_name)]
        to_ask = [name for name in names if self._may_ask(notary, name, wanted[name], valid_at.get(name, 0), now)]
        for at in range(0, min(len(to_ask), REQUESTS * NOTARY_SERVERS), NOTARY_SERVERS):
            await self._ask(notary, to_ask[at : at + NOTARY_SERVERS], wanted, valid_at)
        found = {name: self._told.get((notary, name)) for name in names}
        return {name: told.keys for name, told in found.items() if told is not None}

    def _may_ask(self, notary: str, name: str, key_ids: Collection[str], valid_at: int, now: int) -> bool:
        told = self._told.get((notary, name))
        if told is None:
            return True
        return is_missing(told.keys, key_ids, valid_at) and told.asked_at + REFETCH_PAUSE_MS <= now

    async def _ask(
        self,
        notary: str,
        names: Sequence[str],
        wanted: Mapping[str, Collection[str]],
        valid_at: Mapping[str, int],
    ) -> None:
        now = self._clock.now_ms()
        told = {name: _Told(now) for name in names}
        for name in names:
            self._told.put((notary, name), told[name])
        criteria = {
            name: {key_id: {"minimum_valid_until_ts": valid_at.get(name, 0)} for key_id in wanted[name]}
            for name in names
        }
        try:
            responses = await self._client.query_keys(notary, criteria)
        except (FederationError, ValueError) as error:
            log.info("%s does not vouch for the keys of others: %s", notary, error)
            return
        for response in responses[: len(names)]:
            try:
                name, keys = await self._read(notary, response, told.keys())
            except (InvalidKeys, ValueError) as error:
                log.info("%s vouches for keys that are not good: %s", notary, error)
            else:
                told[name].keys.update((key.key_id, key) for key in keys)

    async def _read(
        self, notary: str, response: dict[str, Any], asked: Collection[str]
    ) -> tuple[str, list[ServerKey]]:
        """The server of a key object, and its keys. Raises `InvalidKeys`."""
        now = self._clock.now_ms()
        name, signatures = response.get("server_name"), response.get("signatures")
        by_notary = signatures.get(notary) if isinstance(signatures, dict) else None
        if not isinstance(name, str) or name not in asked or not isinstance(by_notary, dict):
            raise InvalidKeys("they were not asked for, or are not signed by the notary")
        own = await self._keyring.keys(notary, list(by_notary)[:NOTARY_SERVERS], now)
        if not any(verify_json(response, notary, key_id, key) for key_id, key in own.items()):
            raise InvalidKeys("they are not signed by the notary")
        keys = read(response, name, now)
        known = await self._keyring.known(name)
        if known and not _continue(known, name, response, keys):
            raise InvalidKeys(f"they are others than are known of {name}")
        return name, keys


def _continue(
    known: Mapping[str, ServerKey], name: str, response: dict[str, Any], keys: Sequence[ServerKey]
) -> bool:
    """Whether the key object is signed with a key that is known of the server, and holds no other key by its name."""
    if any(key.key_id in known and known[key.key_id].verify_key != key.verify_key for key in keys):
        return False
    current = [key for key in known.values() if key.expired_at is None]
    return any(verify_json(response, name, key.key_id, key.verify_key) for key in current)
