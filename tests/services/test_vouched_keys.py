"""Keys of servers that cannot be reached, by the word of the one that tells of a room."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from federation.outbound.transport import Answer
from homeserver.core.signatures import generate_signing_key
from homeserver.runtime.clock import FrozenClock
from homeserver.services.keyring import Keyring
from homeserver.services.vouched_keys import REQUESTS, VouchedKeys
from storage.database import Database
from tests.federation.network import Network
from tests.services.keyring_server import KeyServer, client_of

DAY = 24 * 3600 * 1000
WANTED = {"other": ["ed25519:1"]}


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(sqlite_url)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def other(clock: FrozenClock) -> KeyServer:
    """A server that cannot be reached."""
    return KeyServer("other", clock.now_ms() + DAY)


@pytest.fixture
def notary(network: Network, clock: FrozenClock, other: KeyServer) -> KeyServer:
    server = KeyServer("notary", clock.now_ms() + DAY, b"n" * 32, notarised=[other.published()])
    network.servers["notary"] = server.serve
    return server


@pytest.fixture
def keyring(database: Database, network: Network, clock: FrozenClock) -> Keyring:
    key = generate_signing_key("1", b"m" * 32)
    return Keyring(database, client_of(network, "me", clock), clock, server_name="me", signing_key=key)


@pytest.fixture
def vouched(keyring: Keyring, network: Network, clock: FrozenClock) -> VouchedKeys:
    return VouchedKeys(keyring, client_of(network, "me", clock), clock)


async def keys_of(vouched: VouchedKeys, wanted: Any = WANTED) -> dict[str, bytes]:
    found = await vouched.records("notary", wanted, {})
    return {key_id: key.verify_key for keys in found.values() for key_id, key in keys.items()}


async def test_a_notary_tells_the_keys_of_a_server_that_is_gone(
    vouched: VouchedKeys, notary: KeyServer, other: KeyServer, network: Network
) -> None:
    for _ in range(2):
        assert await keys_of(vouched) == {"ed25519:1": bytes(other.key.verify_key)}
    assert len(network.requests("key/v2/query")) == 1


async def test_what_one_notary_says_is_no_key_for_anybody_else(
    vouched: VouchedKeys, keyring: Keyring, notary: KeyServer, clock: FrozenClock
) -> None:
    """Requests, and what other servers tell, are not authenticated by it."""
    assert await keys_of(vouched)
    assert not await keyring.keys("other", ["ed25519:1"], clock.now_ms())
    assert keyring.cached("other", "ed25519:1", clock.now_ms()) is None
    assert (await vouched.records("another", WANTED, {}))["other"] == {}


async def test_a_notary_cannot_replace_keys_that_are_known(
    vouched: VouchedKeys, keyring: Keyring, notary: KeyServer, other: KeyServer, network: Network, clock: FrozenClock
) -> None:
    network.servers["other"] = other.serve
    assert await keyring.keys("other", ["ed25519:1"], clock.now_ms())
    del network.servers["other"]
    for made_up in (KeyServer("other", clock.now_ms() + DAY, b"x" * 32, "2"), KeyServer("other", 2**50, b"x" * 32)):
        notary.notarised = [made_up.published()]
        clock.advance(61)
        assert await keys_of(vouched, {"other": ["ed25519:1", "ed25519:2"]}) == {}
    notary.notarised = [other.published()]
    clock.advance(61)
    assert await keys_of(vouched, {"other": ["ed25519:1", "ed25519:2"]}) == {"ed25519:1": bytes(other.key.verify_key)}


@pytest.mark.parametrize("lack", ["the notary's signature", "the server's signature", "being asked for"])
async def test_keys_without_are_not_believed(
    vouched: VouchedKeys, notary: KeyServer, network: Network, lack: str
) -> None:
    if lack == "the notary's signature":
        impostor = KeyServer("notary", notary.valid_until, b"i" * 32, notarised=notary.notarised)

        async def serve(method: str, target: str, *rest: Any) -> Answer:
            return await (impostor if target.endswith("/query") else notary).serve(method, target, *rest)

        network.servers["notary"] = serve
    elif lack == "the server's signature":
        notary.notarised[0]["valid_until_ts"] += 1
    else:
        notary.notarised[0] = KeyServer("third", 2**50, b"t" * 32).published()
    assert await keys_of(vouched) == {}


async def test_a_notary_is_not_asked_again_and_again_for_what_it_does_not_know(
    vouched: VouchedKeys, notary: KeyServer, network: Network, clock: FrozenClock
) -> None:
    notary.notarised = []
    assert await keys_of(vouched) == await keys_of(vouched) == {}
    assert len(network.requests("key/v2/query")) == 1
    clock.advance(61)
    await keys_of(vouched)
    assert len(network.requests("key/v2/query")) == 2


async def test_a_room_of_very_many_dead_servers_costs_a_bounded_number_of_requests(
    vouched: VouchedKeys, notary: KeyServer, network: Network
) -> None:
    await keys_of(vouched, {f"s{number}": ["ed25519:1"] for number in range(5_000)})
    assert len(network.requests("key/v2/query")) == REQUESTS
