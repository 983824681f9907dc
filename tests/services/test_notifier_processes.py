"""Two processes over one database: what one writes, the other's /sync tells, and a lost hint only delays it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from homeserver.runtime.bus import Hint
from storage.streams import Stream
from tests.services.linked import LinkedBus, linked_databases
from tests.services.sync_world import World, event_ids, joined, user

ALICE, BOB = user("alice"), user("bob")


Pair = tuple[World, World]


@pytest.fixture
async def pair(make_database: Callable[[], str]) -> AsyncIterator[Pair]:
    async with linked_databases(make_database()) as databases:
        first, second = (World(database, database.bus) for database in databases)
        yield first, second
        for world in (first, second):
            await world.close()


async def level(pair: Pair) -> None:
    """Wait until each process knows of what the other has committed."""
    async with asyncio.timeout(60):
        while any(world.notifier.position < max(one.db.position for one in pair) for world in pair):
            await asyncio.sleep(0.001)


async def waits(world: World, user_id: str) -> None:
    """Wait until a /sync of the user waits."""
    async with asyncio.timeout(60):
        while not world.notifier.is_waiting(user_id):
            await asyncio.sleep(0.001)


async def test_an_event_of_another_process_wakes_a_sync(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await here.join(BOB, room_id)
    await level(pair)
    token = (await there.sync(BOB))["next_batch"]
    waiting = asyncio.ensure_future(there.sync(BOB, token, timeout_ms=60_000))
    await waits(there, BOB)
    sent = await here.send(ALICE, room_id)
    assert event_ids(joined(await waiting, room_id)["timeline"]) == [sent]


async def test_an_invite_by_another_process_arrives(pair: Pair) -> None:
    here, there = pair
    token = (await there.sync(BOB))["next_batch"]
    room_id = await here.create_room(ALICE)
    waiting = asyncio.ensure_future(there.sync(BOB, token, timeout_ms=60_000))
    await waits(there, BOB)
    await here.member(ALICE, room_id, BOB, "invite")
    assert room_id in (await waiting)["rooms"]["invite"]


async def test_receipts_account_data_and_typing_cross_processes(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await here.join(BOB, room_id)
    sent = await here.send(ALICE, room_id)
    await level(pair)
    token = (await there.sync(BOB))["next_batch"]
    await here.receipts.send(BOB, room_id, "m.read", sent)
    await here.account_data.put(BOB, room_id, "org.example", {"a": 1})
    here.typing.set(ALICE, room_id, True)
    await level(pair)
    room = joined(await there.sync(BOB, token), room_id)
    assert {event["type"] for event in room["ephemeral"]["events"]} == {"m.receipt", "m.typing"}
    assert room["account_data"]["events"][0]["content"] == {"a": 1}
    assert room["unread_notifications"]["notification_count"] == 0


async def test_a_lost_hint_delays_but_loses_nothing(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await here.join(BOB, room_id)
    await level(pair)
    token = (await there.sync(BOB))["next_batch"]
    bus = here.db.bus
    assert isinstance(bus, LinkedBus)
    bus.is_cut = True
    lost = await here.send(ALICE, room_id)
    bus.is_cut = False
    waiting = asyncio.ensure_future(there.sync(BOB, token, timeout_ms=60_000))
    await waits(there, BOB)
    told = await here.send(ALICE, room_id)
    while not waiting.done():
        there.clock.advance(1)
        await asyncio.sleep(0.001)
    assert event_ids(joined(await waiting, room_id)["timeline"]) == [lost, told]


async def test_both_processes_write_to_one_room(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await there.join(BOB, room_id)
    await level(pair)
    token = (await here.sync(ALICE))["next_batch"]
    sent = []
    for world, sender in ((here, ALICE), (there, BOB), (here, ALICE), (there, BOB)):
        sent.append(await world.send(sender, room_id))
    await level(pair)
    assert event_ids(joined(await here.sync(ALICE, token), room_id)["timeline"]) == sent


async def test_what_another_process_redacts_is_not_shown_any_more(pair: Pair) -> None:
    here, there = pair
    room_id = await here.create_room(ALICE)
    await here.join(BOB, room_id)
    sent = await here.send(ALICE, room_id)
    await level(pair)
    assert content_of(joined(await there.sync(BOB), room_id), sent)
    await here.send(ALICE, room_id, "m.room.redaction", {}, redacts=sent)
    await level(pair)
    assert not content_of(joined(await there.sync(BOB), room_id), sent)


def content_of(room: dict[str, Any], event_id: str) -> Any:
    [event] = [event for event in room["timeline"]["events"] if event["event_id"] == event_id]
    return event["content"]


async def test_who_is_here_is_not_offline_because_another_process_misses_them(pair: Pair) -> None:
    here, there = pair
    told: list[tuple[str, bool]] = []
    for world in pair:
        world.notifier.listeners.append(lambda hints: told.extend(presence_in(hints)))
    with there.presence.syncing(ALICE, "A", "online"):
        pass
    await there.presence.set(ALICE, "A", "online", "busy")
    with here.presence.syncing(ALICE, "A", "online"), here.presence.syncing(ALICE, "B", "unavailable"):
        for _ in range(400):
            there.clock.advance(1)
            await asyncio.sleep(0)
        for world in pair:
            state = await world.presence.get(ALICE)
            assert (state.state, state.currently_active, state.status_msg) == ("online", True, "busy")
    # Each process told once of each step, and the one that sees more answered: there is no end to it otherwise.
    assert 0 < len(told) < 20


def presence_in(hints: Sequence[Hint]) -> list[tuple[str, bool]]:
    found = [hint.payload for hint in hints if hint.stream == Stream.PRESENCE]
    return [(told["state"], told["currently_active"]) for told in found]
