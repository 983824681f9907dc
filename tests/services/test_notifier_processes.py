"""Two processes over one database: what one writes, the other's /sync tells, and a lost hint only delays it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.bus_redis import decode_hints, encode_hints
from storage.database import Database
from tests.services.sync_world import World, event_ids, joined, user

ALICE, BOB = user("alice"), user("bob")


class LinkedBus(Bus):
    """Delivers to the other process what would go over the wire, unless the link is cut."""

    other: "LinkedBus"
    is_cut = False

    def publish(self, hints: list[Hint]) -> None:
        super().publish(hints)
        if not self.is_cut and hints:
            self.other._deliver(decode_hints(encode_hints("1", hints))[1])


Pair = tuple[World, World]


@pytest.fixture
async def pair(make_database: Callable[[], str]) -> AsyncIterator[Pair]:
    url = make_database()
    left, right = LinkedBus(), LinkedBus()
    left.other, right.other = right, left
    first = await Database.open(url, bus=left, is_shared=True)
    second = await Database.open(url, bus=right, is_shared=True)
    worlds = World(first, left), World(second, right)
    yield worlds
    for world in worlds:
        await world.close()
    await first.close()
    await second.close()


async def turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0.002)


async def test_an_event_of_another_process_wakes_a_sync(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await here.join(BOB, room_id)
    await turns()
    token = (await there.sync(BOB))["next_batch"]
    waiting = asyncio.ensure_future(there.sync(BOB, token, timeout_ms=10_000))
    await turns()
    sent = await here.send(ALICE, room_id)
    assert event_ids(joined(await asyncio.wait_for(waiting, 5), room_id)["timeline"]) == [sent]


async def test_an_invite_by_another_process_arrives(pair: Pair) -> None:
    here, there = pair
    token = (await there.sync(BOB))["next_batch"]
    room_id = await here.create_room(ALICE)
    waiting = asyncio.ensure_future(there.sync(BOB, token, timeout_ms=10_000))
    await turns()
    await here.member(ALICE, room_id, BOB, "invite")
    assert room_id in (await asyncio.wait_for(waiting, 5))["rooms"]["invite"]


async def test_receipts_account_data_and_typing_cross_processes(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await here.join(BOB, room_id)
    sent = await here.send(ALICE, room_id)
    await turns()
    token = (await there.sync(BOB))["next_batch"]
    await here.receipts.send(BOB, room_id, "m.read", sent)
    await here.account_data.put(BOB, room_id, "org.example", {"a": 1})
    here.typing.set(ALICE, room_id, True)
    await turns()
    room = joined(await there.sync(BOB, token), room_id)
    assert {event["type"] for event in room["ephemeral"]["events"]} == {"m.receipt", "m.typing"}
    assert room["account_data"]["events"][0]["content"] == {"a": 1}
    assert room["unread_notifications"]["notification_count"] == 0


async def test_a_lost_hint_delays_but_loses_nothing(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await here.join(BOB, room_id)
    await turns()
    token = (await there.sync(BOB))["next_batch"]
    bus = here.db.bus
    assert isinstance(bus, LinkedBus)
    bus.is_cut = True
    lost = await here.send(ALICE, room_id)
    bus.is_cut = False
    waiting = asyncio.ensure_future(there.sync(BOB, token, timeout_ms=10_000))
    told = await here.send(ALICE, room_id)
    await turns()
    there.clock.advance(3)
    assert event_ids(joined(await asyncio.wait_for(waiting, 5), room_id)["timeline"]) == [lost, told]


async def test_both_processes_write_to_one_room(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await there.join(BOB, room_id)
    await turns()
    token = (await here.sync(ALICE))["next_batch"]
    sent = []
    for world, sender in ((here, ALICE), (there, BOB), (here, ALICE), (there, BOB)):
        sent.append(await world.send(sender, room_id))
    await turns()
    assert event_ids(joined(await here.sync(ALICE, token), room_id)["timeline"]) == sent
