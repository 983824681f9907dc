"""However much another server answers, and of whatever shape: the memory that it costs has bounds."""

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from federation.outbound.client import LARGE_AT_ONCE, FederationClient
from federation.outbound.failures import FederationError
from federation.outbound.requests import JSON_BYTES
from federation.outbound.transport import Answer
from homeserver.runtime.clock import FrozenClock
from tests.federation.network import Network, Sent
from tests.federation.test_transport import Locator, get, listening, transport
from tests.servers.homeserver import Certificates
from tests.services.keyring_server import client_of

MIB = 1024 * 1024


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def client(network: Network) -> FederationClient:
    return client_of(network, "me", FrozenClock())


def answering(body: bytes) -> Network:
    async def answer(sent: Sent) -> Answer | None:
        return Answer(200, {"content-type": "application/json"}, body)

    return Network(interferences=[answer])


def state_of(members: int) -> bytes:
    """An answer with as many members as honest servers tell them."""
    ids = [f"${letter * 43}" for letter in "abcd"]
    pdus = [
        {
            "type": "m.room.member", "room_id": "!abcdefghijklmnopqr:example.org", "sender": f"@user{n}:example.org",
            "state_key": f"@user{n}:example.org", "content": {"membership": "join", "displayname": f"User {n}"},
            "origin_server_ts": 1_700_000_000_000, "depth": 12345, "prev_events": ids[:1], "auth_events": ids[1:],
            "hashes": {"sha256": "h" * 43}, "signatures": {"example.org": {"ed25519:a_AbCd": "s" * 86}},
        }
        for n in range(members)
    ]  # fmt: skip
    return orjson.dumps({"auth_chain": [], "pdus": pdus})


_READ = """
import asyncio, resource, sys
from pathlib import Path
from tests.federation.test_large_answers import answering, client

body = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
state, _ = asyncio.run(client(answering(body)).state("other", "!r", "$e"))
print(len(state), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_a_room_of_fifty_thousand_members_is_read_in_a_few_times_its_size(tmp_path: Path) -> None:
    """In a process of its own: what the parser of JSON reserves but never touches costs nothing."""
    body = state_of(50_000)
    (tmp_path / "answer").write_bytes(body)
    command = [sys.executable, "-c", _READ, str(tmp_path / "answer")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    members, taken = map(int, answer.stdout.split())
    assert members == 50_000
    assert taken < 9 * len(body)


@pytest.mark.parametrize("item", [b"[]", b"{}", b'{"a":{}}', b"0", b"[[[]]]"])
async def test_values_that_take_many_times_their_size_are_not_parsed(traced: None, item: bytes) -> None:
    body = b'{"auth_chain":[],"pdus":[' + b",".join([item] * 4_000_000) + b"]}"
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    with pytest.raises(FederationError) as refused:
        await client(answering(body)).state("other", "!r", "$e")
    assert refused.value.kind == "malformed"
    assert tracemalloc.get_traced_memory()[1] - before < MIB


async def test_an_answer_that_grows_beyond_the_limit_is_broken_off(traced: None, tmp_path: Path) -> None:
    certificates = Certificates.make(tmp_path)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        piece = b'{"a":"' + b"x" * 100_000 + b'"},'
        for _ in range(4 * JSON_BYTES // len(piece)):  # who reads all of it has read too much
            await response.write(piece)
        return response

    async with listening(certificates, endless) as port, transport(certificates, Locator(port)) as made:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        with pytest.raises(FederationError) as refused:
            await get(made, max_bytes=JSON_BYTES)
    assert refused.value.kind == "malformed"
    assert tracemalloc.get_traced_memory()[1] - before < 2 * JSON_BYTES


async def test_few_large_answers_are_read_at_once_and_one_of_each_server() -> None:
    network, may_answer = answering(b'{"auth_chain":[],"pdus":[]}'), asyncio.Event()
    answer = network.interferences[0]

    async def slowly(sent: Sent) -> Answer | None:
        await may_answer.wait()
        return await answer(sent)

    network.interferences[0] = slowly
    asking = client(network)
    wanted = [asking.state(name, "!r", "$e") for name in ("a", "a", "a", *"bcdefg")]
    tasks = [asyncio.create_task(one) for one in wanted]
    while len(network.log) < LARGE_AT_ONCE:
        await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sorted(sent.destination for sent in network.log) == ["a", "b", "c", "d"][:LARGE_AT_ONCE]
    may_answer.set()
    assert await asyncio.gather(*tasks) == [([], [])] * len(tasks)
