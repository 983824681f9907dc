"""What clients are shown along with an event of what relates to it, and the pages of what relates to it."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.sync_world import World, joined, user

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


def relation(kind: str, parent: str, **content: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": "*", **content, "m.relates_to": {"rel_type": kind, "event_id": parent}}


def edit(parent: str, text: str = "new") -> dict[str, Any]:
    return relation("m.replace", parent, **{"m.new_content": {"msgtype": "m.text", "body": text}})


async def relations(world: World, user_id: str, room_id: str, event_id: str) -> dict[str, Any]:
    event = orjson.loads(await world.timeline.event(user_id, room_id, event_id))
    found: dict[str, Any] = event.get("unsigned", {}).get("m.relations", {})
    return found


async def test_the_newest_valid_edit_is_shown_with_the_event(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    parent = await world.send(ALICE, room_id)
    assert await relations(world, BOB, room_id, parent) == {}
    await world.send(ALICE, room_id, content=edit(parent, "first"))
    world.clock.advance(1)
    newest = await world.send(ALICE, room_id, content=edit(parent, "second"))
    world.clock.advance(1)
    await world.send(BOB, room_id, content=edit(parent, "of somebody else"))
    await world.send(ALICE, room_id, content=relation("m.replace", parent))
    await world.send(ALICE, room_id, "m.other", content=edit(parent, "of another type"))
    found = await relations(world, BOB, room_id, parent)
    assert found["m.replace"]["event_id"] == newest
    assert found["m.replace"]["content"]["m.new_content"]["body"] == "second"
    assert found["m.replace"]["unsigned"]["membership"] == "join"


async def test_redacting_the_newest_edit_brings_back_the_one_before(world: World) -> None:
    room_id = await world.create_room(ALICE)
    parent = await world.send(ALICE, room_id)
    first = await world.send(ALICE, room_id, content=edit(parent, "first"))
    world.clock.advance(1)
    second = await world.send(ALICE, room_id, content=edit(parent, "second"))
    assert (await relations(world, ALICE, room_id, parent))["m.replace"]["event_id"] == second
    await world.send(ALICE, room_id, "m.room.redaction", {"redacts": second}, redacts=second)
    assert (await relations(world, ALICE, room_id, parent))["m.replace"]["event_id"] == first
    await world.send(ALICE, room_id, "m.room.redaction", {"redacts": parent}, redacts=parent)
    assert await relations(world, ALICE, room_id, parent) == {}


async def test_an_edit_cannot_be_edited_nor_can_state(world: World) -> None:
    room_id = await world.create_room(ALICE)
    parent = await world.send(ALICE, room_id)
    first = await world.send(ALICE, room_id, content=edit(parent))
    await world.send(ALICE, room_id, content=edit(first))
    name = await world.send(ALICE, room_id, "m.room.name", {"name": "x"}, state_key="")
    await world.send(ALICE, room_id, "m.room.name", edit(name))
    assert await relations(world, ALICE, room_id, first) == {}
    assert await relations(world, ALICE, room_id, name) == {}


async def test_a_thread_is_summed_up_for_each_reader(world: World) -> None:
    room_id = await world.create_room(ALICE)
    for member in (BOB, CAROL):
        await world.join(member, room_id)
    root = await world.send(ALICE, room_id)
    await world.send(BOB, room_id, content=relation("m.thread", root))
    last = await world.send(BOB, room_id, content=relation("m.thread", root))
    corrected = await world.send(BOB, room_id, content=edit(last))
    thread = (await relations(world, ALICE, room_id, root))["m.thread"]
    assert (thread["count"], thread["current_user_participated"]) == (2, True)
    assert thread["latest_event"]["event_id"] == last
    assert thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == corrected
    assert (await relations(world, CAROL, room_id, root))["m.thread"]["current_user_participated"] is False
    await world.account_data.put(CAROL, "", "m.ignored_user_list", {"ignored_users": {BOB: {}}})
    assert await relations(world, CAROL, room_id, root) == {}


async def test_references_are_listed_and_reactions_are_not(world: World) -> None:
    room_id = await world.create_room(ALICE)
    parent = await world.send(ALICE, room_id)
    await world.send(ALICE, room_id, "m.reaction", relation("m.annotation", parent))
    assert await relations(world, ALICE, room_id, parent) == {}
    assert not world.aggregations.are_needed(world.events.cached(parent))  # type: ignore[arg-type]
    ids = [await world.send(ALICE, room_id, "m.x", relation("m.reference", parent)) for _ in range(2)]
    found = await relations(world, ALICE, room_id, parent)
    assert found == {"m.reference": {"chunk": [{"event_id": event_id} for event_id in ids]}}


async def test_events_of_another_room_do_not_count(world: World) -> None:
    room_id, other = await world.create_room(ALICE), await world.create_room(ALICE)
    parent = await world.send(ALICE, room_id)
    await world.send(ALICE, other, content=edit(parent))
    await world.send(ALICE, other, content=relation("m.thread", parent))
    assert await relations(world, ALICE, room_id, parent) == {}


async def test_who_left_is_shown_what_related_to_an_event_then(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    root = await world.send(ALICE, room_id)
    seen = await world.send(ALICE, room_id, content=relation("m.thread", root))
    await world.member(BOB, room_id, BOB, "leave")
    await world.send(ALICE, room_id, content=relation("m.thread", root))
    thread = (await relations(world, BOB, room_id, root))["m.thread"]
    assert (thread["count"], thread["latest_event"]["event_id"]) == (1, seen)
    assert (await relations(world, ALICE, room_id, root))["m.thread"]["count"] == 2


async def test_a_sync_shows_what_relates_to_events_where_there_was_a_gap(world: World) -> None:
    room_id = await world.create_room(ALICE)
    since = (await world.sync(ALICE))["next_batch"]
    parent = await world.send(ALICE, room_id)
    newest = await world.send(ALICE, room_id, content=edit(parent))
    without = joined(await world.sync(ALICE, since), room_id)["timeline"]
    assert not without["limited"]
    assert "m.relations" not in without["events"][0]["unsigned"]
    whole = joined(await world.sync(ALICE), room_id)["timeline"]
    shown = next(event for event in whole["events"] if event["event_id"] == parent)
    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == newest


async def test_what_relates_to_events_read_from_the_database_is_found(world: World) -> None:
    room_id = await world.create_room(ALICE)
    parent = await world.send(ALICE, room_id)
    newest = await world.send(ALICE, room_id, content=edit(parent))
    bus = Bus()
    other = World(world.db, bus)
    assert (await relations(other, ALICE, room_id, parent))["m.replace"]["event_id"] == newest
    page = orjson.loads(await other.timeline.messages(ALICE, room_id, backwards=True))
    shown = next(event for event in page["chunk"] if event["event_id"] == parent)
    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == newest
    await other.close()
