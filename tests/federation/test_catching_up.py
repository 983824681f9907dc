"""A server that was away for long is told of the last event of each room, and asks for the rest itself."""

import orjson
import pytest

from federation.sender import delivery
from homeserver.runtime.clock import FrozenClock
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network


def sent_to(network: Network, server_name: str) -> list[str]:
    bodies = [sent.body for sent in network.requests("/v1/send/") if sent.destination == server_name]
    return [pdu["content"].get("body") for body in bodies for pdu in orjson.loads(body or b"{}")["pdus"]]


async def test_after_a_long_outage_only_the_last_event_of_each_room_is_sent(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FAR_BEHIND", 20)
    rooms = [await hs1.create_room("alice") for _ in range(3)]
    for room_id in rooms:
        await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    last: list[str] = []
    for room_id in rooms:
        last.append([await hs1.send("alice", room_id, str(number)) for number in range(15)][-1])
    hs1.sender._outbox("hs2").give_up_memory()  # as it does with more than it holds
    network.heal()
    network.log.clear()
    await until(lambda: _all(hs2, last))
    assert sent_to(network, "hs2") == ["14", "14", "14"]
    for room_id in rooms:
        assert await hs2.state(room_id) == await hs1.state(room_id)
    later = await hs1.send("alice", rooms[0], "later")
    await until(lambda: hs2.has(later))


async def test_after_a_short_outage_every_event_is_sent(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    ids = [await hs1.send("alice", room_id, str(number)) for number in range(60)]
    hs1.sender._outbox("hs2").give_up_memory()
    network.heal()
    network.log.clear()
    await until(lambda: hs2.has(ids[-1]))
    assert sent_to(network, "hs2") == [str(number) for number in range(60)]


async def test_a_server_that_is_back_after_days_is_believed_at_once_and_sent_what_it_missed(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until, clock: FrozenClock
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    missed = await hs1.send("alice", room_id, "missed")
    for _ in range(180):  # until its keys are out of date, and it is left alone for an hour each time
        clock.advance(3601)
        hs1.outside.reachability.failed("hs2")
    network.heal()
    healed_at = clock.now_ms()
    hs2.outside.reachability.succeeded("hs1")
    said = await hs2.send("bob", room_id, "I am back")
    await until(lambda: hs1.has(said))
    await until(lambda: hs2.has(missed))
    assert clock.now_ms() - healed_at < 300_000


async def _all(server: Hearth, event_ids: list[str]) -> bool:
    return all([await server.has(event_id) for event_id in event_ids])
