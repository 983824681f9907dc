"""Push rules of a user, and what they do to counts."""

from collections.abc import AsyncIterator

import pytest

from homeserver.errors import BadJson, InvalidParam, NotFound
from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.sync_world import World, joined, user

ALICE, BOB = user("alice"), user("bob")


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


async def test_a_changed_rule_reaches_sync_as_account_data(world: World) -> None:
    token = (await world.sync(ALICE))["next_batch"]
    await world.push_rules.put(ALICE, "room", "!a:b", {"actions": []}, None, None)
    events = (await world.sync(ALICE, token))["account_data"]["events"]
    assert events[0]["type"] == "m.push_rules"
    assert events[0]["content"]["global"]["room"][0]["rule_id"] == "!a:b"


async def test_rules_are_placed_next_to_others(world: World) -> None:
    for rule_id, before, after in (("one", None, None), ("two", None, "one"), ("three", "two", None)):
        await world.push_rules.put(BOB, "content", rule_id, {"actions": [], "pattern": "x"}, before, after)
    rules = (await world.push_rules.ruleset(BOB))["content"]
    assert [rule["rule_id"] for rule in rules if not rule["default"]] == ["one", "three", "two"]
    with pytest.raises(InvalidParam):
        await world.push_rules.put(BOB, "content", "x", {"actions": [], "pattern": "x"}, "unknown", None)


async def test_unknown_rules_are_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.push_rules.rule(ALICE, "room", "!a:b")
    with pytest.raises(NotFound):
        await world.push_rules.delete(ALICE, "override", ".m.rule.master")


async def test_a_muted_room_does_not_count(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await world.push_rules.put(BOB, "room", room_id, {"actions": []}, None, None)
    token = (await world.sync(BOB))["next_batch"]
    await world.send(ALICE, room_id)
    room = joined(await world.sync(BOB, token), room_id)
    assert room["unread_notifications"] == {"highlight_count": 0, "notification_count": 0}
    world.notifier.reset()
    room = joined(await world.sync(BOB), room_id)
    assert room["unread_notifications"] == {"highlight_count": 0, "notification_count": 0}


async def test_threads_are_counted_and_read_by_themselves(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    root = await world.send(ALICE, room_id)
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    reply = await world.send(ALICE, room_id, content={"body": "x", "msgtype": "m.text"} | relation)
    wanted = {"room": {"timeline": {"unread_thread_notifications": True}}}
    room = joined(await world.sync(BOB, filter=wanted), room_id)
    assert room["unread_notifications"]["notification_count"] == 1
    assert room["unread_thread_notifications"] == {root: {"highlight_count": 0, "notification_count": 1}}
    await world.receipts.send(BOB, room_id, "m.read", reply, root)
    room = joined(await world.sync(BOB, filter=wanted), room_id)
    assert room["unread_notifications"]["notification_count"] == 1
    assert "unread_thread_notifications" not in room
    with pytest.raises(InvalidParam):
        await world.receipts.send(BOB, room_id, "m.read", reply, "main")


async def test_a_thread_is_read_by_what_relates_to_its_root_in_another_way(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    root = await world.send(ALICE, room_id)

    async def relate(kind: str, target: str, event_type: str = "m.room.message") -> str:
        content = {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": kind, "event_id": target}}
        return await world.send(ALICE, room_id, event_type, content)

    await relate("m.thread", root)
    reference = await relate("m.reference", root)
    reaction = await relate("m.annotation", reference, "m.reaction")
    elsewhere = await world.send(ALICE, room_id)
    with pytest.raises(InvalidParam):
        await world.receipts.send(BOB, room_id, "m.read", elsewhere, root)
    await world.receipts.send(BOB, room_id, "m.read", reaction, root)
    wanted = {"room": {"timeline": {"unread_thread_notifications": True}}}
    room = joined(await world.sync(BOB, filter=wanted), room_id)
    assert room["unread_notifications"]["notification_count"] == 3
    assert "unread_thread_notifications" not in room


async def test_what_the_server_manages_is_not_set_as_account_data(world: World) -> None:
    for data_type in ("m.push_rules", "m.fully_read"):
        with pytest.raises(BadJson):
            await world.account_data.put(ALICE, "", data_type, {})
