"""Sliding sync: what is asked for beside rooms."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from homeserver.runtime.bus import Bus
from storage.database import Database
from storage.streams import Stream
from tests.services.sliding_world import ALL, SlidingWorld
from tests.services.sync_world import user

ALICE, BOB = user("alice"), user("bob")


class Queue:
    """Messages to one device, by position."""

    def __init__(self) -> None:
        self.messages: dict[int, bytes] = {}
        self.deleted = 0

    async def pending(
        self, user_id: str, device_id: str, since: int, upto: int, limit: int
    ) -> tuple[Sequence[bytes], int | None]:
        found = sorted(position for position in self.messages if since < position <= upto)
        cut = found[limit - 1] if len(found) > limit else None
        return [self.messages[position] for position in found[:limit]], cut

    async def postpone(self, user_id: str, device_id: str, after: int, upto: int) -> None:
        raise AssertionError("the extension has a token of its own")

    async def delete_up_to(self, user_id: str, device_id: str, position: int) -> None:
        self.deleted = position


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[SlidingWorld]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = SlidingWorld(db, bus, Queue())
    yield world
    await world.close()
    await db.close()


def body(extension: str, lists: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return {"lists": ALL if lists is None else lists, "extensions": {extension: {"enabled": True, **options}}}


async def put_message(world: SlidingWorld, text: bytes) -> None:
    async def operation(tx: Any) -> Any:
        return tx.position(Stream.TO_DEVICE, ALICE)

    position = int(await world.db.write(operation))
    world.messages.messages[position] = text  # type: ignore[attr-defined]


async def test_messages_to_the_device_go_by_their_own_token(world: SlidingWorld) -> None:
    for number in range(3):
        await put_message(world, b'{"n":%d}' % number)
    answer = await world.slide(ALICE, body("to_device", {}, limit=2))
    told = answer["extensions"]["to_device"]
    assert told["events"] == [{"n": 0}, {"n": 1}]
    again = await world.slide(ALICE, body("to_device", {}, limit=2))
    assert again["extensions"]["to_device"] == told
    rest = body("to_device", {}, limit=2, since=told["next_batch"])
    answer = await world.slide(ALICE, rest, pos=again["pos"])
    assert answer["extensions"]["to_device"]["events"] == [{"n": 2}]
    assert world.messages.deleted == int(told["next_batch"])  # type: ignore[attr-defined]
    last = body("to_device", {}, since=answer["extensions"]["to_device"]["next_batch"])
    answer = await world.slide(ALICE, last, pos=answer["pos"])
    assert answer["extensions"]["to_device"]["events"] == []


async def test_message_to_the_device_ends_a_wait(world: SlidingWorld) -> None:
    answer = await world.slide(ALICE, body("to_device", {}))
    since = answer["extensions"]["to_device"]["next_batch"]
    request = body("to_device", {}, since=since)
    waiting = asyncio.create_task(world.slide(ALICE, request, pos=answer["pos"], timeout_ms=30_000))
    while not world.notifier.is_waiting(ALICE):
        await asyncio.sleep(0)
    await put_message(world, b"{}")
    world.notifier.wake_users([ALICE])
    async with asyncio.timeout(30):
        while not waiting.done():
            world.notifier.wake_users([ALICE])
            await asyncio.sleep(0)
    assert (await waiting)["extensions"]["to_device"]["events"] == [{}]


async def test_devices_of_those_who_come_and_go(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    answer = await world.slide(ALICE, body("e2ee", {}))
    told = answer["extensions"]["e2ee"]
    assert told == {"device_one_time_keys_count": {"signed_curve25519": 0}, "device_unused_fallback_key_types": []}
    await world.join(BOB, room_id)
    answer = await world.slide(ALICE, body("e2ee", {}), pos=answer["pos"])
    assert answer["extensions"]["e2ee"]["device_lists"] == {"changed": [BOB], "left": []}
    await world.member(BOB, room_id, BOB, "leave")
    answer = await world.slide(ALICE, body("e2ee", {}), pos=answer["pos"])
    assert answer["extensions"]["e2ee"]["device_lists"] == {"changed": [], "left": [BOB]}


async def test_account_data_of_the_user_and_of_rooms(world: SlidingWorld) -> None:
    one, two = await world.create_room(ALICE), await world.create_room(ALICE)
    await world.account_data.put(ALICE, "", "org.example", {"n": 1})
    await world.account_data.put(ALICE, one, "org.example", {"n": 2})
    top = {"l": {"ranges": [[0, 0]], "timeline_limit": 1}}
    answer = await world.slide(ALICE, body("account_data", top))
    told = answer["extensions"]["account_data"]
    assert {event["type"] for event in told["global"]} == {"org.example", "m.push_rules"}
    assert told["rooms"] == {}
    answer = await world.slide(ALICE, body("account_data"), pos=answer["pos"])
    assert answer["extensions"]["account_data"] == {
        "global": [],
        "rooms": {one: [{"type": "org.example", "content": {"n": 2}}]},
    }
    await world.account_data.put(ALICE, two, "org.example", {"n": 3})
    nowhere = {"lists": ALL, "extensions": {"account_data": {"enabled": True, "lists": []}}}
    assert (await world.slide(ALICE, nowhere, pos=answer["pos"]))["extensions"]["account_data"]["rooms"] == {}
    told = (await world.slide(ALICE, body("account_data"), pos=answer["pos"]))["extensions"]["account_data"]
    assert set(told["rooms"]) == {two}


async def test_receipts(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    old, new = await world.send(ALICE, room_id), await world.send(ALICE, room_id)
    await world.receipts.send(BOB, room_id, "m.read", old)
    await world.receipts.send(ALICE, room_id, "m.read", old)
    only_newest = {"l": {"ranges": [[0, 0]], "timeline_limit": 1}}
    answer = await world.slide(ALICE, body("receipts", only_newest))
    event = answer["extensions"]["receipts"]["rooms"][room_id]
    assert event["type"] == "m.receipt"
    assert set(event["content"][old]["m.read"]) == {ALICE}
    await world.receipts.send(BOB, room_id, "m.read", new)
    answer = await world.slide(ALICE, body("receipts", only_newest), pos=answer["pos"])
    assert answer["rooms"] == {}
    assert set(answer["extensions"]["receipts"]["rooms"][room_id]["content"][new]["m.read"]) == {BOB}


async def test_receipts_of_a_room_outside_of_the_window_come_later(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    sent = await world.send(ALICE, room_id)
    await world.create_room(ALICE)
    top = {"l": {"ranges": [[0, 0]], "timeline_limit": 1}}
    answer = await world.slide(ALICE, body("receipts"))
    await world.receipts.send(BOB, room_id, "m.read", sent)
    answer = await world.slide(ALICE, body("receipts", top), pos=answer["pos"])
    assert answer["extensions"]["receipts"]["rooms"] == {}
    answer = await world.slide(ALICE, body("receipts"), pos=answer["pos"])
    assert set(answer["extensions"]["receipts"]["rooms"]) == {room_id}


async def test_typing(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    world.typing.set(BOB, room_id, True)
    answer = await world.slide(ALICE, body("typing"))
    content = {"type": "m.typing", "content": {"user_ids": [BOB]}}
    assert answer["extensions"]["typing"]["rooms"] == {room_id: content}
    answer = await world.slide(ALICE, body("typing"), pos=answer["pos"])
    assert answer["extensions"]["typing"]["rooms"] == {}
    world.typing.set(BOB, room_id, False)
    answer = await world.slide(ALICE, body("typing"), pos=answer["pos"])
    assert answer["extensions"]["typing"]["rooms"][room_id]["content"] == {"user_ids": []}


async def test_unknown_extensions_are_ignored_and_others_are_off(world: SlidingWorld) -> None:
    await world.create_room(ALICE)
    request = {"extensions": {"org.example": {"enabled": True}, "typing": {}, "to_device": {"enabled": False}}}
    assert (await world.slide(ALICE, request))["extensions"] == {}
