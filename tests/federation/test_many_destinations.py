"""What many servers in a room, or many that are idle, cost."""

import asyncio
from collections.abc import Iterable
from typing import Any
from unittest import mock

import pytest

from federation.outbound.transport import Answer
from federation.sender import delivery
from federation.sender import sender as sender_module
from homeserver.core import event_builder
from homeserver.runtime.clock import FrozenClock
from storage.tables import room_hosts
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent

SERVERS = 100


async def fill(hs1: Hearth, until: Until, room_id: str, server_names: Iterable[str]) -> None:
    """Put servers into the room that nobody joined from. What was said before is for none of them."""
    head = await hs1.reading.heads.get(room_id)
    assert head is not None

    async def is_routed() -> bool:
        return hs1.sender._routed >= hs1.base.database.position and not hs1.sender._reread

    async def insert(tx: Any) -> None:
        for name in server_names:
            tx.insert(room_hosts, room_nid=head.room_nid, server_name=name, joined_count=1)

    # Else the router, at work on how the room was made, may read who is in it before and keep that.
    await until(is_routed)
    await hs1.base.database.write(insert)
    hs1.sender._hosts.clear()


async def test_a_message_to_a_hundred_servers_is_signed_and_serialised_once(
    hs1: Hearth, network: Network, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await hs1.create_room("alice")
    await fill(hs1, until, room_id, (f"other{number}" for number in range(SERVERS)))

    async def take(sent: Sent) -> Answer | None:
        return Answer(200, {}, b'{"pdus":{}}') if "/send/" in sent.target else None

    network.interferences.append(take)
    serialised = mock.Mock(wraps=sender_module._outbound)
    signed = mock.Mock(wraps=event_builder.add_event_signature)
    monkeypatch.setattr(sender_module, "_outbound", serialised)
    monkeypatch.setattr(event_builder, "add_event_signature", signed)
    await hs1.send("alice", room_id, "hello")

    async def all_have_it() -> bool:
        return len(network.requests("/send/")) == SERVERS

    await until(all_have_it)
    assert serialised.call_count == 1
    assert signed.call_count == 1


async def test_servers_that_are_up_to_date_cost_nothing_and_few_are_sent_to_at_once(
    hs1: Hearth, network: Network, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await hs1.create_room("alice")
    before = len(hs1.base.tasks)
    await fill(hs1, until, room_id, (f"other{number}" for number in range(3_000)))

    async def take(sent: Sent) -> Answer | None:
        return Answer(200, {}, b'{"pdus":{}}') if "/send/" in sent.target else None

    network.interferences.append(take)
    monkeypatch.setattr(delivery, "AT_ONCE", 20)
    most = 0

    async def count(sent: Sent) -> Answer | None:
        nonlocal most
        most = max(most, sum("sending to " in task.get_name() for task in asyncio.all_tasks()))
        return None

    network.interferences.insert(0, count)
    await hs1.send("alice", room_id, "hello")

    async def all_have_it() -> bool:
        return len(network.requests("/send/")) == 3_000 and not hs1.sender.waiting()

    async def nothing_is_left() -> bool:
        return not hs1.sender._outboxes and len(hs1.base.tasks) <= before

    await until(all_have_it)
    await until(nothing_is_left)
    assert most == 20


async def test_servers_that_fail_and_hang_leave_places_for_the_others(
    hs1: Hearth, network: Network, until: Until, monkeypatch: pytest.MonkeyPatch, clock: FrozenClock
) -> None:
    monkeypatch.setattr(delivery, "AT_ONCE", 4)
    monkeypatch.setattr(delivery, "TO_FAILING_AT_ONCE", 2)
    room_id = await hs1.create_room("alice")
    failing = [f"bad{number}" for number in range(10)]
    await fill(hs1, until, room_id, (*failing, "good"))
    for name in failing:
        hs1.outside.reachability.failed(name)
    clock.advance(100_000)
    hang, to_good = asyncio.Event(), asyncio.Event()

    def sent_to() -> set[str]:
        return {sent.destination for sent in network.requests("/send/")}

    async def two_hang() -> bool:
        return len(sent_to() - {"good"}) == 2

    async def answer(sent: Sent) -> Answer | None:
        if sent.destination in failing:
            await hang.wait()
        else:
            to_good.set()
        return Answer(200, {}, b'{"pdus":{}}')

    network.interferences.append(answer)
    for body in "abc":
        to_good.clear()
        await hs1.send("alice", room_id, body)
        await asyncio.wait_for(to_good.wait(), 60)
        await until(two_hang)
    hang.set()

    async def all_have_it() -> bool:
        return sent_to() == {*failing, "good"}

    await until(all_have_it)
