"""Messages from device to device."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.errors import InvalidParam
from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.keys_world import THERE, KeysWorld
from tests.services.sync_world import user

ALICE, BOB = user("alice"), user("bob")
ZOE, YAN = f"@zoe:{THERE}", f"@yan:{THERE}"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[KeysWorld]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = KeysWorld(db, bus)
    for person, device in ((ALICE, "DEVICE"), (BOB, "DEVICE"), (BOB, "PHONE")):
        await world.add_device(person, device)
    yield world
    await world.close()
    await db.close()


async def send(world: KeysWorld, txn_id: str, messages: Any) -> None:
    await world.to_device.send(ALICE, "DEVICE", "m.test", txn_id, messages)


def numbers(answer: dict[str, Any]) -> list[int]:
    return [event["content"]["n"] for event in answer.get("to_device", {}).get("events", [])]


async def test_a_message_is_seen_by_its_device_alone_until_the_device_has_it(world: KeysWorld) -> None:
    start = (await world.sync(BOB))["next_batch"]
    await send(world, "1", {BOB: {"DEVICE": {"n": 1}}})
    answer = await world.sync(BOB, start)
    assert answer["to_device"]["events"] == [{"sender": ALICE, "type": "m.test", "content": {"n": 1}}]
    assert numbers(await world.sync(BOB, start)) == [1], "the answer may have been lost"
    assert numbers(await world.sync(BOB, device_id="PHONE")) == []
    assert numbers(await world.sync(BOB, answer["next_batch"])) == []
    assert numbers(await world.sync(BOB)) == []


async def test_a_waiting_sync_is_woken_by_a_message(world: KeysWorld) -> None:
    token = (await world.sync(BOB))["next_batch"]
    waiting = asyncio.ensure_future(world.sync(BOB, token, timeout_ms=60_000))
    while not world.notifier.is_waiting(BOB):
        await asyncio.sleep(0)
    await send(world, "1", {BOB: {"DEVICE": {"n": 1}}})
    assert numbers(await waiting) == [1]


async def test_the_wildcard_is_every_device_and_unknown_ones_are_passed_over(world: KeysWorld) -> None:
    await send(world, "1", {BOB: {"*": {"n": 1}}, user("nobody"): {"*": {"n": 1}}, ALICE: {"NONE": {"n": 1}}})
    assert numbers(await world.sync(BOB)) == numbers(await world.sync(BOB, device_id="PHONE")) == [1]
    await send(world, "2", {BOB: {"*": {"n": 2}, "PHONE": {"n": 3}}})
    assert numbers(await world.sync(BOB)) == [1, 2]
    assert numbers(await world.sync(BOB, device_id="PHONE")) == [1, 3]


async def test_the_same_transaction_sends_once(world: KeysWorld) -> None:
    for _ in range(2):
        await send(world, "1", {BOB: {"DEVICE": {"n": 1}}, ZOE: {"*": {}}})
    await asyncio.gather(*(send(world, "2", {BOB: {"DEVICE": {"n": 2}}}) for _ in range(3)))
    assert numbers(await world.sync(BOB)) == [1, 2]
    assert len(await world.edus("m.direct_to_device")) == 1


async def test_a_long_queue_comes_in_order_a_hundred_at_a_time_and_survives_lost_answers(world: KeysWorld) -> None:
    world.to_device._kept = 1000
    for n in range(230):
        await send(world, str(n), {BOB: {"DEVICE": {"n": n}}})
    answer = await world.sync(BOB)
    assert numbers(answer) == list(range(100))
    token = answer["next_batch"]
    assert numbers(await world.sync(BOB, token)) == list(range(100, 200))
    await send(world, "late", {BOB: {"DEVICE": {"n": 230}}})
    answer = await world.sync(BOB, token)
    assert numbers(answer) == list(range(100, 200)), "the answer before was lost"
    answer = await world.sync(BOB, answer["next_batch"])
    assert numbers(answer) == list(range(200, 231))
    assert numbers(await world.sync(BOB, answer["next_batch"])) == []


async def test_what_piles_up_for_a_device_is_bounded(world: KeysWorld) -> None:
    for n in range(60):
        await send(world, str(n), {BOB: {"DEVICE": {"n": n}}})
    found = numbers(await world.sync(BOB))
    assert found[-1] == 59
    assert len(found) <= 30


async def test_messages_for_another_server_go_out_in_one_edu(world: KeysWorld) -> None:
    await send(world, "1", {ZOE: {"A": {"n": 1}, "*": {"n": 2}}, YAN: {"B": {"n": 3}}})
    ((destination, content),) = await world.edus("m.direct_to_device")
    assert destination == THERE
    assert content["sender"] == ALICE
    assert content["type"] == "m.test"
    assert content["messages"] == {ZOE: {"A": {"n": 1}, "*": {"n": 2}}, YAN: {"B": {"n": 3}}}
    assert 0 < len(content["message_id"]) <= 32


async def test_a_message_of_another_server_arrives_once(world: KeysWorld) -> None:
    content = {"sender": ZOE, "type": "m.test", "message_id": "x", "messages": {BOB: {"DEVICE": {"n": 1}, "*": 5}}}
    await asyncio.gather(*(world.to_device.receive(THERE, content) for _ in range(3)))
    await world.to_device.receive(THERE, content)
    await world.to_device.receive("elsewhere.example", content)
    answer = await world.sync(BOB)
    assert numbers(answer) == [1, 1], "ids are their server's own"
    assert answer["to_device"]["events"][0]["sender"] == ZOE


async def test_messages_of_another_server_to_strangers_do_nothing(world: KeysWorld) -> None:
    before = world.db.position
    for messages in ({ZOE: {"*": {}}}, {"bob": {"*": {}}}, {BOB: 1}, {BOB: {"DEVICE": 1}}, {}):
        content = {"sender": ZOE, "type": "m.test", "message_id": "x", "messages": messages}
        await world.to_device.receive(THERE, content)
    assert world.db.position == before


async def test_whoever_is_no_user_is_refused(world: KeysWorld) -> None:
    with pytest.raises(InvalidParam):
        await send(world, "1", {"bob": {"DEVICE": {}}})


async def test_ids_of_old_messages_are_forgotten(world: KeysWorld) -> None:
    content = {"sender": ZOE, "type": "m.test", "message_id": "x", "messages": {BOB: {"DEVICE": {"n": 1}}}}
    await world.to_device.receive(THERE, content)
    world.clock.advance(31 * 86_400)
    await world.to_device.forget_old()
    await world.to_device.receive(THERE, content)
    assert numbers(await world.sync(BOB)) == [1, 1]
