"""From the name of a server to where it is (server-server-api §Resolving server names)."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from federation.outbound.dns import ServiceRecord, ServiceRecords
from federation.outbound.failures import FederationError
from federation.outbound.transport import Address, split_host_port
from federation.outbound.well_known import (
    FIRST_FAILURE_LIFETIME_S,
    MAX_FAILURE_LIFETIME_S,
    Delegation,
    WellKnownReader,
)
from homeserver.core.identifiers import is_valid_server_name
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness

DEFAULT_PORT: Final = 8448
ADDRESS_LIFETIME_S: Final = 300.0
CACHED_SERVERS: Final = 10_000


@dataclass(slots=True)
class _Entry:
    address: Address
    expires_at: float


@dataclass(slots=True)
class _Delegation:
    found: Delegation
    expires_at: float
    failures: int = 0


class Discovery:
    """Resolves server names; remembers what it found, for as long as the other server wants within limits."""

    def __init__(
        self, well_known: WellKnownReader, service_records: ServiceRecords, clock: Clock, randomness: Randomness
    ) -> None:
        self._well_known = well_known
        self._service_records = service_records
        self._clock = clock
        self._randomness = randomness
        self._addresses: OrderedDict[str, _Entry] = OrderedDict()
        self._delegations: OrderedDict[str, _Delegation] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[Address]] = {}

    async def locate(self, server_name: str) -> Address:
        """Where to connect to, which name to expect in the certificate, and what to say in the Host header.

        Raises `FederationError` where `server_name` is no server name. Does not say whether anybody is there.
        """
        entry = self._addresses.get(server_name)
        if entry is not None and entry.expires_at > self._clock.monotonic():
            return entry.address
        under_way = self._under_way.get(server_name)
        if under_way is not None:
            return await asyncio.shield(under_way)
        return await self._locate_once(server_name)

    def forget(self, server_name: str) -> None:
        self._addresses.pop(server_name, None)

    async def _locate_once(self, server_name: str) -> Address:
        """Looks the server up for everybody who asks meanwhile."""
        future: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._under_way[server_name] = future
        try:
            address = await self._resolve(server_name)
        except BaseException as error:
            failure = error if isinstance(error, FederationError) else FederationError(
                "unreachable", server_name, "the look-up was broken off"
            )
            future.set_exception(failure)
            future.exception()  # nobody else may have waited for it
            raise
        finally:
            del self._under_way[server_name]
        future.set_result(address)
        _remember(self._addresses, server_name, _Entry(address, self._clock.monotonic() + ADDRESS_LIFETIME_S))
        return address

    async def _resolve(self, server_name: str) -> Address:
        if not is_valid_server_name(server_name):
            raise FederationError("unreachable", server_name, "not a server name")
        host, port = split_host_port(server_name)
        # Steps 1 and 2
        if _is_ip_literal(host) or port is not None:
            return Address(((host, port or DEFAULT_PORT),), server_name, host)
        # Step 3
        delegated = await self._delegation_of(host)
        if delegated is None:
            # Steps 4 to 6
            return await self._by_service_records(host)
        delegated_host, delegated_port = split_host_port(delegated)
        # Steps 3.1 and 3.2
        if _is_ip_literal(delegated_host) or delegated_port is not None:
            return Address(((delegated_host, delegated_port or DEFAULT_PORT),), delegated, delegated_host)
        # Steps 3.3 to 3.5
        return await self._by_service_records(delegated_host)

    async def _by_service_records(self, host: str) -> Address:
        for service in ("_matrix-fed._tcp", "_matrix._tcp"):
            records = await self._service_records.look_up(f"{service}.{host}")
            if records:
                hosts = tuple((record.target, record.port) for record in self._in_order(records))
                return Address(hosts, host, host)
        return Address(((host, DEFAULT_PORT),), host, host)

    def _in_order(self, records: Sequence[ServiceRecord]) -> list[ServiceRecord]:
        """By priority; among equals at random, the heavier the likelier to be first (RFC 2782)."""
        return sorted(
            records,
            key=lambda record: (record.priority, -(self._randomness.uniform() ** (1 / max(record.weight, 0.1)))),
        )

    async def _delegation_of(self, host: str) -> str | None:
        now = self._clock.monotonic()
        entry = self._delegations.get(host)
        if entry is not None and entry.expires_at > now:
            return entry.found.server_name
        found = await self._well_known.read(host)
        failures = 0
        if found is None:
            failures = 1 if entry is None else entry.failures + 1
            seconds = min(FIRST_FAILURE_LIFETIME_S * 2 ** min(failures - 1, 10), MAX_FAILURE_LIFETIME_S)
            # A delegation that worked is believed a while longer when the answer fails now.
            known = entry.found.server_name if entry is not None and failures <= 3 else None
            found = Delegation(known, seconds)
        lifetime = self._randomness.jitter(found.lifetime_s, 0.1)
        _remember(self._delegations, host, _Delegation(found, now + lifetime, failures))
        return found.server_name


def _remember(cache: OrderedDict, key: str, value: object) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > CACHED_SERVERS:
        cache.popitem(last=False)


def _is_ip_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
