"""Sliding sync: lists, windows, rooms, connections."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.errors import UnknownPos
from homeserver.runtime.bus import Bus
from homeserver.services.sliding_sync import room_facts
from storage.database import Database
from tests.services.sliding_world import SlidingWorld
from tests.services.sync_world import user

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[SlidingWorld]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = SlidingWorld(db, bus)
    yield world
    await world.close()
    await db.close()


def lists(limit: int = 10, state: list[list[str]] | None = None, **more: Any) -> dict[str, Any]:
    return {"lists": {"all": {"ranges": [[0, 99]], "timeline_limit": limit, "required_state": state or [], **more}}}


def ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["event_id"] for event in events]


async def test_first_answer_has_the_newest_rooms_whole(world: SlidingWorld) -> None:
    first = await world.create_room(ALICE)
    second = await world.create_room(ALICE)
    third = await world.create_room(ALICE)
    sent = await world.send(ALICE, first)
    await world.send(ALICE, first, "m.room.name", {"name": "First"}, state_key="")
    answer = await world.slide(ALICE, lists(2, [["m.room.create", ""]], ranges=[[0, 1]]))
    assert answer["lists"] == {"all": {"count": 3}}
    assert set(answer["rooms"]) == {first, third}
    room = answer["rooms"][first]
    assert room["initial"] is True
    assert room["name"] == "First"
    assert [event["type"] for event in room["required_state"]] == ["m.room.create"]
    assert ids(room["timeline"])[0] == sent
    assert room["limited"] is True
    assert (room["joined_count"], room["invited_count"], room["num_live"]) == (1, 0, 2)
    assert room["bump_stamp"] > answer["rooms"][third]["bump_stamp"]
    assert second not in answer["rooms"]


async def test_later_answers_have_only_what_is_new(world: SlidingWorld) -> None:
    first, second = await world.create_room(ALICE), await world.create_room(ALICE)
    answer = await world.slide(ALICE, lists(state=[["m.room.topic", "*"]]))
    sent = await world.send(ALICE, first)
    topic = await world.send(ALICE, first, "m.room.topic", {"topic": "new"}, state_key="")
    await world.send(ALICE, first, "m.room.pinned_events", {"pinned": []}, state_key="")
    answer = await world.slide(ALICE, lists(state=[["m.room.topic", "*"]]), pos=answer["pos"])
    assert set(answer["rooms"]) == {first}
    room = answer["rooms"][first]
    assert "initial" not in room
    assert ids(room["timeline"])[:2] == [sent, topic]
    assert ids(room["required_state"]) == [topic]
    assert room.keys().isdisjoint({"name", "joined_count"})
    assert second not in answer["rooms"]
    answer = await world.slide(ALICE, lists(state=[["m.room.topic", "*"]]), pos=answer["pos"])
    assert answer["rooms"] == {}


async def test_room_outside_of_the_window_catches_up_when_it_is_back(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(3)]
    answer = await world.slide(ALICE, lists())
    narrow = lists(ranges=[[0, 0]])
    missed = await world.send(ALICE, rooms[0])
    await world.send(ALICE, rooms[1])
    answer = await world.slide(ALICE, narrow, pos=answer["pos"])
    assert set(answer["rooms"]) == {rooms[1]}
    answer = await world.slide(ALICE, narrow, pos=answer["pos"])
    assert answer["rooms"] == {}
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert set(answer["rooms"]) == {rooms[0]}
    assert ids(answer["rooms"][rooms[0]]["timeline"]) == [missed]
    assert "initial" not in answer["rooms"][rooms[0]]


async def test_growing_window_sends_only_the_rooms_that_come_in(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(5)]
    answer = await world.slide(ALICE, lists(ranges=[[0, 1]]))
    assert set(answer["rooms"]) == set(rooms[3:])
    answer = await world.slide(ALICE, lists(ranges=[[0, 3]]), pos=answer["pos"])
    assert set(answer["rooms"]) == set(rooms[1:3])
    assert all(room["initial"] for room in answer["rooms"].values())
    assert all(room["num_live"] == 0 for room in answer["rooms"].values())


async def test_repeated_request_gets_the_same_answer(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    first = await world.slide(ALICE, lists(ranges=[[0, 0]]))
    other = await world.create_room(ALICE)
    sent = await world.send(ALICE, room_id)
    for _ in range(3):
        again = await world.slide(ALICE, lists(), pos=first["pos"])
        assert again["rooms"][other]["initial"] is True
        assert ids(again["rooms"][room_id]["timeline"]) == [sent]
    last = await world.slide(ALICE, lists(), pos=again["pos"])
    assert last["rooms"] == {}


async def test_answer_that_was_given_up_counts_for_nothing(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(3)]
    first = await world.slide(ALICE, lists(ranges=[[0, 0]]))
    lost = await world.slide(ALICE, lists(ranges=[[0, 1]]), pos=first["pos"])
    assert set(lost["rooms"]) == {rooms[1]}
    taken = await world.slide(ALICE, {"room_subscriptions": {rooms[0]: lists()["lists"]["all"]}}, pos=first["pos"])
    assert set(taken["rooms"]) == {rooms[0]}
    world.restart()
    answer = await world.slide(ALICE, lists(), pos=taken["pos"])
    assert set(answer["rooms"]) == {rooms[1]}
    with pytest.raises(UnknownPos):
        await world.slide(ALICE, lists(), pos=first["pos"])


async def test_connection_survives_a_restart(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(3)]
    state = [["m.room.member", "$LAZY"]]
    answer = await world.slide(ALICE, lists(state=state))
    world.restart()
    sent = await world.send(ALICE, rooms[0])
    answer = await world.slide(ALICE, lists(state=state), pos=answer["pos"])
    assert set(answer["rooms"]) == {rooms[0]}
    assert ids(answer["rooms"][rooms[0]]["timeline"]) == [sent]
    assert "required_state" not in answer["rooms"][rooms[0]]


async def test_position_of_another_is_refused(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    answer = await world.slide(ALICE, lists())
    await world.slide(BOB, lists())
    for options in ({"user_id": BOB}, {"device_id": "OTHER"}, {"body": lists() | {"conn_id": "x"}}):
        with pytest.raises(UnknownPos):
            await world.slide(**({"user_id": ALICE, "body": lists()} | options), pos=answer["pos"])
    for text in ("", "nonsense", "1.1/s1", "9" * 40, "1.1/s" + "9" * 19 + "_0"):
        if text:
            with pytest.raises(UnknownPos):
                await world.slide(ALICE, lists(), pos=text)


async def test_device_has_a_bounded_number_of_connections(world: SlidingWorld) -> None:
    await world.create_room(ALICE)
    positions = []
    for number in range(25):
        answer = await world.slide(ALICE, lists() | {"conn_id": str(number)})
        positions.append(answer["pos"])
        world.clock.advance(1)
    world.restart()
    with pytest.raises(UnknownPos):
        await world.slide(ALICE, lists() | {"conn_id": "0"}, pos=positions[0])
    await world.slide(ALICE, lists() | {"conn_id": "24"}, pos=positions[24])


async def test_unused_connections_expire(world: SlidingWorld) -> None:
    await world.create_room(ALICE)
    answer = await world.slide(ALICE, lists())
    world.clock.advance(31 * 24 * 3600)
    with pytest.raises(UnknownPos):
        await world.slide(ALICE, lists(), pos=answer["pos"])
    await world.connections.expire()
    world.restart()
    with pytest.raises(UnknownPos):
        await world.slide(ALICE, lists(), pos=answer["pos"])


async def test_request_waits_for_news(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    answer = await world.slide(ALICE, lists())
    waiting = asyncio.create_task(world.slide(ALICE, lists(), pos=answer["pos"], timeout_ms=30_000))
    while not world.notifier.is_waiting(ALICE):
        await asyncio.sleep(0)
    sent = await world.send(BOB, room_id)
    answer = await waiting
    assert ids(answer["rooms"][room_id]["timeline"]) == [sent]


async def test_request_that_was_given_up_while_it_waited_leaves_the_next_alone(world: SlidingWorld) -> None:
    """A client that opens a room gives up its long poll and asks again, from the same `pos`, for more of that room."""
    rooms = [await world.create_room(ALICE) for _ in range(2)]
    start = (await world.slide(ALICE, lists(1)))["pos"]
    given_up = asyncio.create_task(world.slide(ALICE, lists(1), pos=start, timeout_ms=30_000))
    while not world.notifier.is_waiting(ALICE):
        await asyncio.sleep(0)
    body = {**lists(1), "room_subscriptions": {rooms[0]: lists(20)["lists"]["all"]}}
    opened = await world.slide(ALICE, body, pos=start)
    assert len(opened["rooms"][rooms[0]]["timeline"]) > 1
    # Should anybody read it after all: it is at once, and takes the client nowhere.
    empty = await asyncio.wait_for(given_up, 10)
    assert (empty["pos"], empty["rooms"], empty["extensions"]) == (start, {}, {})
    new_room = await world.create_room(ALICE)
    answer = await world.slide(ALICE, body, pos=opened["pos"])
    assert set(answer["rooms"]) == {new_room}


async def test_facts_that_are_read_at_the_same_time_miss_no_change(
    world: SlidingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await world.create_room(ALICE), await world.create_room(ALICE)
    nids = {room_id: (await world.send_event.require_head(room_id)).room_nid for room_id in (first, second)}
    gates, waiting, read = [asyncio.Event(), asyncio.Event()], [], room_facts.storage.state_bodies

    async def slowly(*arguments: Any) -> Any:
        found = await read(*arguments)
        waiting.append(arguments)
        await gates[len(waiting) - 1].wait()
        return found

    monkeypatch.setattr(room_facts.storage, "state_bodies", slowly)
    world.facts._facts.clear()
    readings = []
    for room_id in (first, second):
        readings.append(asyncio.create_task(world.facts.load({room_id: nids[room_id]})))
        while len(waiting) < len(readings):
            await asyncio.sleep(0.001)
    gates[1].set()
    await readings[1]
    await world.send(ALICE, first, "m.room.name", {"name": "New"}, state_key="")
    gates[0].set()
    await readings[0]
    assert world.facts.get(first) is None  # what was read is of before the change
    assert world.facts.get(second) is not None


async def test_invite_join_kick_and_leave(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    answer = await world.slide(BOB, lists())
    assert answer["lists"]["all"]["count"] == 0
    await world.member(ALICE, room_id, BOB, "invite")
    answer = await world.slide(BOB, lists(), pos=answer["pos"])
    room = answer["rooms"][room_id]
    assert room["membership"] == "invite"
    assert {"m.room.create", "m.room.member"} <= {event["type"] for event in room["invite_state"]}
    assert room.keys().isdisjoint({"timeline", "joined_count"})
    joined = await world.join(BOB, room_id)
    answer = await world.slide(BOB, lists(state=[["m.room.member", "$ME"]]), pos=answer["pos"])
    room = answer["rooms"][room_id]
    assert room["initial"] is True
    assert ids(room["timeline"])[-1] == joined
    assert ids(room["required_state"]) == [joined]
    kicked = await world.member(ALICE, room_id, BOB, "leave")
    await world.send(ALICE, room_id)
    answer = await world.slide(BOB, lists(state=[["m.room.member", "$ME"]]), pos=answer["pos"])
    room = answer["rooms"][room_id]
    assert room["membership"] == "leave"
    assert ids(room["timeline"]) == [kicked]
    assert ids(room["required_state"]) == [kicked]
    assert answer["lists"]["all"]["count"] == 1
    answer = await world.slide(BOB, lists(), pos=answer["pos"])
    assert answer["rooms"] == {}
    await world.join(BOB, room_id)
    answer = await world.slide(BOB, lists(), pos=answer["pos"])
    assert answer["rooms"][room_id]["initial"] is True
    left = await world.member(BOB, room_id, BOB, "leave")
    answer = await world.slide(BOB, lists(), pos=answer["pos"])
    assert ids(answer["rooms"][room_id]["timeline"]) == [left]
    assert answer["lists"]["all"]["count"] == 0
    assert (await world.slide(BOB, lists(), pos=answer["pos"]))["rooms"] == {}
    assert (await world.slide(BOB, lists()))["rooms"] == {}


async def test_declined_invite_is_told_once(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.member(ALICE, room_id, BOB, "invite")
    answer = await world.slide(BOB, lists())
    declined = await world.member(BOB, room_id, BOB, "leave")
    answer = await world.slide(BOB, lists(), pos=answer["pos"])
    room = answer["rooms"][room_id]
    assert room["membership"] == "leave"
    assert ids(room["required_state"]) == [declined]
    assert len(room["timeline"]) == 1
    assert (await world.slide(BOB, lists(), pos=answer["pos"]))["rooms"] == {}


async def test_ban_of_somebody_who_was_never_in_is_not_listed(world: SlidingWorld) -> None:
    room_id, other = await world.create_room(ALICE), await world.create_room(ALICE)
    await world.join(BOB, other)
    for target in (room_id, other):
        await world.member(ALICE, target, BOB, "ban")
    answer = await world.slide(BOB, lists())
    assert set(answer["rooms"]) == {other}
    assert answer["rooms"][other]["membership"] == "ban"
    assert answer["lists"]["all"]["count"] == 1


async def test_subscription_needs_a_membership(world: SlidingWorld) -> None:
    room_id, other = await world.create_room(ALICE), await world.create_room(ALICE)
    await world.join(BOB, other)
    await world.member(BOB, other, BOB, "leave")
    config = lists()["lists"]["all"]
    body = {"room_subscriptions": {room_id: config, other: config, "!nowhere": config}}
    answer = await world.slide(BOB, body)
    assert set(answer["rooms"]) == {other}
    assert answer["rooms"][other]["membership"] == "leave"
    assert (await world.slide(BOB, body, pos=answer["pos"]))["rooms"] == {}
    assert set((await world.slide(ALICE, body))["rooms"]) == {room_id, other}


async def test_timeline_expands_with_the_limit(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    events = [await world.send(ALICE, room_id) for _ in range(6)]
    answer = await world.slide(ALICE, lists(1))
    assert ids(answer["rooms"][room_id]["timeline"]) == events[-1:]
    answer = await world.slide(ALICE, lists(4), pos=answer["pos"])
    room = answer["rooms"][room_id]
    assert room["unstable_expanded_timeline"] is True
    assert ids(room["timeline"]) == events[-4:]
    assert room["num_live"] == 0
    assert "initial" not in room
    for limit in (3, 4):
        answer = await world.slide(ALICE, lists(limit), pos=answer["pos"])
        assert answer["rooms"] == {}
    answer = await world.slide(ALICE, lists(50), pos=answer["pos"])
    assert answer["rooms"][room_id]["limited"] is False
    assert (await world.slide(ALICE, lists(100), pos=answer["pos"]))["rooms"] == {}


async def test_required_state_expands(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    answer = await world.slide(ALICE, lists(0, [["m.room.create", ""]]))
    answer = await world.slide(ALICE, lists(0, [["m.room.create", ""], ["m.room.join_rules", ""]]), pos=answer["pos"])
    assert [event["type"] for event in answer["rooms"][room_id]["required_state"]] == ["m.room.join_rules"]
    answer = await world.slide(ALICE, lists(0, [["m.room.create", ""]]), pos=answer["pos"])
    assert answer["rooms"] == {}


async def test_members_are_loaded_lazily(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    for member in (BOB, CAROL):
        await world.join(member, room_id)
    await world.send(ALICE, room_id)
    body = lists(1, [["*", "*"], ["m.room.member", "$LAZY"]])

    def members(answer: dict[str, Any]) -> set[str]:
        state = answer["rooms"][room_id].get("required_state", [])
        return {event["state_key"] for event in state if event["type"] == "m.room.member"}

    answer = await world.slide(ALICE, body)
    assert members(answer) == {ALICE}
    assert "m.room.power_levels" in {event["type"] for event in answer["rooms"][room_id]["required_state"]}
    await world.send(BOB, room_id)
    answer = await world.slide(ALICE, body, pos=answer["pos"])
    assert members(answer) == {BOB}
    await world.send(BOB, room_id)
    answer = await world.slide(ALICE, body, pos=answer["pos"])
    assert members(answer) == set()
    await world.member(CAROL, room_id, CAROL, "join", displayname="C")
    answer = await world.slide(ALICE, body, pos=answer["pos"])
    assert members(answer) == {CAROL}
    for _ in range(2):
        await world.send(BOB, room_id)
    answer = await world.slide(ALICE, body, pos=answer["pos"])
    assert members(answer) == {BOB}, "after a gap the client has forgotten its members"


async def test_wildcards_of_required_state(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    for key in ("a", "b"):
        await world.send(ALICE, room_id, "org.example", {}, state_key=key)

    async def keys(*pairs: list[str]) -> set[tuple[str, str]]:
        answer = await world.slide(ALICE, lists(0, list(pairs)))
        state = answer["rooms"][room_id].get("required_state", [])
        return {(event["type"], event["state_key"]) for event in state}

    assert await keys(["org.example", "*"]) == {("org.example", "a"), ("org.example", "b")}
    assert await keys(["*", "a"]) == {("org.example", "a")}
    assert await keys(["*", BOB]) == {("m.room.member", BOB)}
    assert await keys(["m.room.member", "$ME"]) == {("m.room.member", ALICE)}
    assert await keys(["m.room.member", "*"]) == {("m.room.member", ALICE), ("m.room.member", BOB)}
    assert len(await keys(["*", "*"])) == 8


async def test_stable_form_of_required_state(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.send(ALICE, room_id, "org.example", {}, state_key="a")
    required: dict[str, Any] = {
        "include": [{}],
        "exclude": [{"type": "m.room.create"}, {"state_key": "a"}],
        "lazy_members": True,
    }
    body = {"lists": {"all": {"timeline_limit": 0, "required_state": required}}}
    answer = await world.slide(ALICE, body, is_stable=True)
    state = {event["type"] for event in answer["rooms"][room_id]["required_state"]}
    assert state == {"m.room.power_levels", "m.room.join_rules", "m.room.history_visibility"}
    assert "notification_count" not in answer["rooms"][room_id]
    assert answer["rooms"][room_id]["lists"] == ["all"]


async def test_heroes_where_there_is_no_name(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.member(BOB, room_id, BOB, "join", displayname="Bob")
    answer = await world.slide(ALICE, lists())
    assert answer["rooms"][room_id]["heroes"] == [{"user_id": BOB, "displayname": "Bob"}]
    await world.join(CAROL, room_id)
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert len(answer["rooms"][room_id]["heroes"]) == 2
    assert answer["rooms"][room_id]["joined_count"] == 3
    await world.send(ALICE, room_id, "m.room.name", {"name": "N"}, state_key="")
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert answer["rooms"][room_id]["name"] == "N"
    assert "heroes" not in answer["rooms"][room_id]
    await world.send(ALICE, room_id, "m.room.name", {}, state_key="")
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert answer["rooms"][room_id]["name"] is None
    assert len(answer["rooms"][room_id]["heroes"]) == 2


async def test_only_what_people_care_about_bumps(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.send(ALICE, room_id)
    stamp = (await world.slide(ALICE, lists()))["rooms"][room_id]["bump_stamp"]
    answer = await world.slide(ALICE, lists())
    await world.send(ALICE, room_id, "m.reaction", {})
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert "bump_stamp" not in answer["rooms"][room_id]
    assert (await world.slide(ALICE, lists()))["rooms"][room_id]["bump_stamp"] == stamp
    await world.send(ALICE, room_id)
    answer = await world.slide(ALICE, lists())
    assert answer["rooms"][room_id]["bump_stamp"] > stamp


async def test_notifications_are_counted(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    answer = await world.slide(ALICE, lists())
    assert answer["rooms"][room_id]["notification_count"] == 0
    sent = await world.send(BOB, room_id)
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert answer["rooms"][room_id]["notification_count"] == 1
    await world.receipts.send(ALICE, room_id, "m.read", sent)
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert answer["rooms"][room_id]["notification_count"] == 0
    assert "timeline" not in answer["rooms"][room_id]


async def test_history_before_the_join_is_hidden(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE, visibility="joined")
    hidden = await world.send(ALICE, room_id)
    joined = await world.join(BOB, room_id)
    shown = ids((await world.slide(BOB, lists(20)))["rooms"][room_id]["timeline"])
    assert hidden not in shown
    assert shown[-1] == joined


async def test_a_timeline_that_begins_before_the_join_is_limited_by_what_is_before_it(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    shown = [await world.send(ALICE, room_id), await world.join(BOB, room_id)]
    room = (await world.slide(BOB, lists(2)))["rooms"][room_id]
    assert (ids(room["timeline"]), room["limited"]) == (shown, True)


async def test_two_processes_take_a_connection_further_in_turns(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(4)]
    first = world.sliding
    start = (await world.slide(ALICE, lists(ranges=[[0, 0]])))["pos"]
    world.restart()
    second = world.sliding
    assert first is not second
    lost = await world.slide(ALICE, lists(ranges=[[0, 1]]), pos=start)
    assert set(lost["rooms"]) == {rooms[2]}
    # The first process does not know of the answer that got lost: it might be asked by an older request.
    world.sliding = first
    wanted = lists(ranges=[[0, 2]])
    assert await world.slide(ALICE, wanted, pos=start) == {"pos": start, "lists": {}, "rooms": {}, "extensions": {}}
    answer = await world.slide(ALICE, wanted, pos=start)
    assert set(answer["rooms"]) == {rooms[1], rooms[2]}
    with pytest.raises(UnknownPos):
        await world.slide(ALICE, lists(), pos=lost["pos"])
    world.sliding = second
    answer = await world.slide(ALICE, lists(), pos=answer["pos"])
    assert set(answer["rooms"]) == {rooms[0]}
    world.sliding = first
    assert (await world.slide(ALICE, lists(), pos=answer["pos"]))["rooms"] == {}
