import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.core.signatures import generate_signing_key, verify_json
from homeserver.runtime.clock import FrozenClock
from homeserver.services.keyring import REFETCH_PAUSE_MS, Keyring
from homeserver.services.server_key_objects import OldVerifyKey
from storage.database import Database
from tests.federation.network import Network, Sent
from tests.services.keyring_server import KeyServer, client_of

DAY = 24 * 3600 * 1000
OWN_KEY = generate_signing_key("1", b"a" * 32)
OLD_KEY = generate_signing_key("0", b"z" * 32)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def other(network: Network, clock: FrozenClock) -> KeyServer:
    server = KeyServer("other", clock.now_ms() + DAY)
    network.servers["other"] = server.serve
    return server


def keyring_of(database: Database, network: Network, clock: FrozenClock, *notaries: str) -> Keyring:
    return Keyring(
        database,
        client_of(network, "me", clock),
        clock,
        server_name="me",
        signing_key=OWN_KEY,
        old_keys=[OldVerifyKey("ed25519:0", bytes(OLD_KEY.verify_key), 5)],
        notaries=notaries,
    )


async def test_who_comes_while_keys_are_being_fetched_waits_for_them(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    keyring, asked, may_answer = keyring_of(database, network, clock), asyncio.Event(), asyncio.Event()

    async def slowly(*request: Any) -> Any:
        asked.set()
        await may_answer.wait()
        return await other.serve(*request)

    network.servers["other"] = slowly
    first = asyncio.create_task(keyring.keys("other", ["ed25519:1"], clock.now_ms()))
    await asked.wait()
    second = asyncio.create_task(keyring.keys("other", ["ed25519:1"], clock.now_ms()))
    await asyncio.sleep(0)
    may_answer.set()
    assert await first == await second == {"ed25519:1": bytes(other.key.verify_key)}


async def test_keys_are_fetched_once_for_all_who_want_them_and_kept(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    keyring = keyring_of(database, network, clock)
    wanted = [keyring.keys("other", ["ed25519:1"], clock.now_ms()) for _ in range(5)]
    assert await asyncio.gather(*wanted) == [{"ed25519:1": bytes(other.key.verify_key)}] * 5
    assert len(network.log) == 1
    again = keyring_of(database, network, clock)
    assert await again.keys("other", ["ed25519:1"], clock.now_ms())
    assert len(network.log) == 1


async def test_keys_out_of_date_are_fetched_again(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    keyring = keyring_of(database, network, clock)
    await keyring.keys("other", ["ed25519:1"], clock.now_ms())
    clock.advance(2 * 24 * 3600)
    assert not await keyring.keys("other", ["ed25519:1"], clock.now_ms())
    assert not await keyring.keys("other", ["ed25519:1"], clock.now_ms())
    assert len(network.log) == 2  # not again for every event
    other.valid_until = clock.now_ms() + DAY
    clock.advance(61)
    assert await keyring.keys("other", ["ed25519:1"], clock.now_ms())


async def test_no_key_is_believed_for_more_than_a_week(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    other.valid_until = clock.now_ms() + 1000 * DAY
    keyring = keyring_of(database, network, clock)
    assert await keyring.keys("other", ["ed25519:1"], clock.now_ms() + 7 * DAY)
    network.servers.clear()
    assert not await keyring.keys("other", ["ed25519:1"], clock.now_ms() + 8 * DAY)


async def test_old_keys_are_good_for_what_was_signed_in_their_time(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    old = generate_signing_key("old", b"q" * 32)
    other.old[old] = 1000
    keyring = keyring_of(database, network, clock)
    assert await keyring.keys("other", ["ed25519:old"], 1000) == {"ed25519:old": bytes(old.verify_key)}
    assert await keyring.keys("other", ["ed25519:old"], 1001) == {}


async def test_keys_signed_by_somebody_else_are_refused(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    network.servers["victim"] = other.serve
    keyring = keyring_of(database, network, clock)
    assert not await keyring.keys("victim", ["ed25519:1"], clock.now_ms())


async def test_a_notary_is_asked_where_the_server_is_gone(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    notary = KeyServer("notary", clock.now_ms() + DAY, b"n" * 32, notarised=[other.published()])
    network.servers = {"notary": notary.serve}
    keyring = keyring_of(database, network, clock, "notary")
    assert await keyring.keys("other", ["ed25519:1"], clock.now_ms())


async def test_a_notary_cannot_invent_keys(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    forged = KeyServer("other", clock.now_ms() + DAY, b"f" * 32).published() | {"signatures": {}}
    notary = KeyServer("notary", clock.now_ms() + DAY, b"n" * 32, notarised=[forged])
    network.servers = {"notary": notary.serve}
    keyring = keyring_of(database, network, clock, "notary")
    assert not await keyring.keys("other", ["ed25519:1"], clock.now_ms())


async def test_as_a_notary_it_signs_what_it_knows_even_of_servers_that_are_gone(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    keyring = keyring_of(database, network, clock)
    assert len(await keyring.notarised({"other": {}})) == 1
    network.servers.clear()
    [response] = await keyring.notarised({"other": {"ed25519:1": clock.now_ms() + 3 * DAY}})
    assert verify_json(response, "me", "ed25519:1", bytes(OWN_KEY.verify_key))
    assert verify_json(response, "other", "ed25519:1", bytes(other.key.verify_key))
    assert await keyring.notarised({"nobody": {}}) == []


async def test_own_keys_need_no_request(database: Database, network: Network, clock: FrozenClock) -> None:
    keyring = keyring_of(database, network, clock)
    assert set(await keyring.keys("me", ["ed25519:1", "ed25519:2"], clock.now_ms())) == {"ed25519:1"}
    assert set(await keyring.keys("me", ["ed25519:0"], 5)) == {"ed25519:0"}
    assert set(await keyring.keys("me", ["ed25519:0"], 6)) == set()
    assert verify_json(keyring.published(), "me", "ed25519:1", bytes(OWN_KEY.verify_key))
    assert network.log == []


async def test_a_slow_server_holds_up_only_those_who_need_it(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    release = asyncio.Event()

    async def slow(sent: Sent) -> None:
        if sent.destination == "slow":
            await release.wait()

    network.interferences.append(slow)
    network.servers["slow"] = KeyServer("slow", clock.now_ms() + DAY, b"s" * 32).serve
    keyring = keyring_of(database, network, clock)
    waiting = asyncio.ensure_future(keyring.keys("slow", ["ed25519:1"], clock.now_ms()))
    assert await keyring.keys("other", ["ed25519:1"], clock.now_ms())
    assert not waiting.done()
    release.set()
    assert await waiting


async def test_a_server_that_gives_a_sign_of_life_is_asked_for_its_keys_though_it_failed(
    database: Database, network: Network, clock: FrozenClock, other: KeyServer
) -> None:
    keyring = keyring_of(database, network, clock)
    network.servers.clear()
    wanted = ("other", ["ed25519:1"], clock.now_ms())
    assert await keyring.keys(*wanted) == {}
    network.servers["other"] = other.serve
    assert await keyring.keys(*wanted) == {}
    assert await keyring.keys(*wanted, insistent=True) == {"ed25519:1": bytes(other.key.verify_key)}


async def test_signs_of_life_that_anybody_can_forge_have_a_server_asked_once_a_minute(
    database: Database, network: Network, clock: FrozenClock
) -> None:
    keyring = keyring_of(database, network, clock)
    for _ in range(10):
        assert await keyring.keys("other", ["ed25519:1"], clock.now_ms(), insistent=True) == {}
    # Once as any server that is not known to fail, once insisting.
    assert len(network.log) == 2
    clock.advance(REFETCH_PAUSE_MS / 1000)
    await keyring.keys("other", ["ed25519:1"], clock.now_ms(), insistent=True)
    assert len(network.log) == 3
