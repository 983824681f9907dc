"""Pages of history, context and single events."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from homeserver.core.filters import EventFilter
from homeserver.core.tokens import parse_token
from homeserver.errors import Forbidden, NotFound
from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.sync_world import World, joined, user

ALICE, BOB = user("alice"), user("bob")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


async def page(world: World, user_id: str, room_id: str, **options: Any) -> dict[str, Any]:
    for name in ("start", "stop"):
        if isinstance(options.get(name), str):
            options[name] = parse_token(options[name])
    answer: dict[str, Any] = orjson.loads(await world.timeline.messages(user_id, room_id, **options))
    return answer


async def test_paging_back_from_a_limited_sync_joins_on_without_a_gap(world: World) -> None:
    room_id = await world.create_room(ALICE)
    sent = [await world.send(ALICE, room_id) for _ in range(20)]
    timeline = joined(await world.sync(ALICE), room_id)["timeline"]
    first = await page(world, ALICE, room_id, backwards=True, start=timeline["prev_batch"], limit=4)
    second = await page(world, ALICE, room_id, backwards=True, start=first["end"], limit=100)
    seen = [e["event_id"] for e in (*first["chunk"], *second["chunk"]) if e["type"] == "m.room.message"]
    assert seen == list(reversed(sent[:10]))
    assert len(first["chunk"]) == 4
    assert second["chunk"][-1]["type"] == "m.room.create"
    assert "end" not in second


async def test_paging_forwards_from_a_sync_token_gives_what_came_after(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    sent = [await world.send(ALICE, room_id) for _ in range(3)]
    answer = await page(world, ALICE, room_id, backwards=False, start=token)
    assert [event["event_id"] for event in answer["chunk"]] == sent
    assert answer["chunk"][0]["room_id"] == room_id


async def test_pages_end_at_to(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    sent = [await world.send(ALICE, room_id) for _ in range(3)]
    answer = await page(world, ALICE, room_id, backwards=True, stop=token)
    assert [event["event_id"] for event in answer["chunk"]] == list(reversed(sent))


async def test_filters_narrow_pages_down(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.send(ALICE, room_id)
    name = await world.send(ALICE, room_id, "m.room.name", {"name": "x"}, state_key="")
    wanted = EventFilter.parse({"types": ["m.room.name"], "lazy_load_members": True})
    answer = await page(world, ALICE, room_id, backwards=True, wanted=wanted)
    assert [event["event_id"] for event in answer["chunk"]] == [name]
    assert [event["state_key"] for event in answer["state"]] == [ALICE]


async def test_who_left_reads_up_to_their_leaving_and_others_nothing(world: World) -> None:
    room_id = await world.create_room(ALICE, visibility="joined")
    await world.join(BOB, room_id)
    seen = await world.send(ALICE, room_id)
    leave = await world.member(BOB, room_id, BOB, "leave")
    hidden = await world.send(ALICE, room_id)
    answer = await page(world, BOB, room_id, backwards=True)
    assert [event["event_id"] for event in answer["chunk"]][:2] == [leave, seen]
    with pytest.raises(NotFound):
        await world.timeline.event(BOB, room_id, hidden)
    with pytest.raises(Forbidden):
        await page(world, user("mallory"), room_id, backwards=True)
    with pytest.raises(NotFound):
        await world.timeline.event(user("mallory"), room_id, seen)


async def test_context_surrounds_the_event(world: World) -> None:
    room_id = await world.create_room(ALICE)
    sent = [await world.send(ALICE, room_id) for _ in range(7)]
    answer = orjson.loads(await world.timeline.context(ALICE, room_id, sent[3], limit=5))
    assert answer["event"]["event_id"] == sent[3]
    assert [event["event_id"] for event in answer["events_before"]] == [sent[2], sent[1]]
    assert [event["event_id"] for event in answer["events_after"]] == [sent[4], sent[5]]
    assert "m.room.create" in {event["type"] for event in answer["state"]}
    earlier = await page(world, ALICE, room_id, backwards=True, start=answer["start"], limit=1)
    assert earlier["chunk"][0]["event_id"] == sent[0]


async def test_a_redacted_event_is_served_without_its_content(world: World) -> None:
    room_id = await world.create_room(ALICE)
    sent = await world.send(ALICE, room_id)
    await world.send(ALICE, room_id, "m.room.redaction", {"redacts": sent}, redacts=sent)
    event = orjson.loads(await world.timeline.event(ALICE, room_id, sent))
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["type"] == "m.room.redaction"
