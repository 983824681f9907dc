"""The newest events of rooms: nothing is lost of what happens while they are read, or where there are many rooms."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from homeserver.runtime.bus import Bus
from homeserver.services.events import StoredEvent
from homeserver.services.sync import room_log
from storage import timeline
from storage.database import Database, Read
from storage.streams import Stream
from storage.timeline import Place
from tests.services.sliding_world import SlidingWorld
from tests.services.sync_world import event_ids, joined, user

ALICE, BOB = user("alice"), user("bob")
KEPT = 2

During = Callable[[Callable[[], Awaitable[Any]]], None]


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[SlidingWorld]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = SlidingWorld(db, bus, timelines=KEPT)
    yield world
    await world.close()
    await db.close()


@pytest.fixture
def during_the_next_load(monkeypatch: pytest.MonkeyPatch) -> During:
    """Something happens when what a log lacks has been read, and is not in the log yet."""
    original = timeline.newest_events

    def arrange(happening: Callable[[], Awaitable[Any]]) -> None:
        pending = [happening]

        async def newest_events(tx: Read, *args: Any) -> dict[int, list[Place]]:
            found = await original(tx, *args)
            if pending:
                await pending.pop()()
            return found

        monkeypatch.setattr(timeline, "newest_events", newest_events)

    return arrange


async def others_are_written_to(world: SlidingWorld, _room_id: str) -> None:
    for _ in range(KEPT):
        await world.create_room(BOB)


async def the_room_becomes_whole(world: SlidingWorld, room_id: str) -> None:
    async def operation(tx: Any) -> None:
        tx.position(Stream.MEMBERSHIPS, room_id)

    await world.db.write(operation)


async def hints_are_lost(world: SlidingWorld, _room_id: str) -> None:
    world.notifier.reset()


@pytest.mark.parametrize("drop", [others_are_written_to, the_room_becomes_whole, hints_are_lost])
async def test_an_event_that_arrives_while_a_log_is_read_is_not_lost_with_the_log(
    world: SlidingWorld, during_the_next_load: During, drop: Callable[[SlidingWorld, str], Awaitable[None]]
) -> None:
    room_id = await world.create_room(ALICE)
    before = [await world.send(ALICE, room_id)]
    sent: list[str] = []

    async def happening() -> None:
        sent.append(await world.send(ALICE, room_id))
        await drop(world, room_id)

    world.notifier.reset()
    during_the_next_load(happening)
    first = await world.sync(ALICE)
    assert event_ids(joined(first, room_id)["timeline"])[-1:] == before
    assert event_ids(joined(await world.sync(ALICE, first["next_batch"]), room_id)["timeline"]) == sent


async def test_what_a_log_gives_up_while_older_events_are_read_is_not_skipped(
    world: SlidingWorld, during_the_next_load: During, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await world.create_room(ALICE)
    sent: list[str] = []

    async def happening() -> None:
        sent.extend([await world.send(ALICE, room_id) for _ in range(6)])

    world.notifier.reset()
    monkeypatch.setattr(room_log, "_MAX_EVENTS", 4)
    during_the_next_load(happening)
    first = await world.sync(ALICE)
    assert event_ids(joined(await world.sync(ALICE, first["next_batch"]), room_id)["timeline"]) == sent


async def test_a_redaction_while_a_log_is_read_is_seen_in_it(
    world: SlidingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await world.create_room(ALICE)
    sent = await world.send(ALICE, room_id)
    await world.send(ALICE, room_id)
    original, pending = world.events.get_many, [True]

    async def get_many(event_ids: Iterable[str], tx: Read | None = None) -> dict[str, StoredEvent]:
        found = await original(event_ids, tx)
        if pending and sent in found:
            pending.pop()
            await world.send(ALICE, room_id, "m.room.redaction", {"redacts": sent}, redacts=sent)
        return found

    world.notifier.reset()
    monkeypatch.setattr(world.events, "get_many", get_many)
    await world.sync(ALICE)
    assert not pending
    shown = {e["event_id"]: e["content"] for e in joined(await world.sync(ALICE), room_id)["timeline"]["events"]}
    assert shown[sent] == {}


async def test_more_rooms_than_are_kept_are_in_one_answer(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(2 * KEPT)]
    first = await world.sync(ALICE)
    assert {room_id for room_id in rooms if joined(first, room_id)} == set(rooms)
    sent = {room_id: [await world.send(ALICE, room_id)] for room_id in rooms}
    answer = await world.sync(ALICE, first["next_batch"])
    assert {room_id: event_ids(joined(answer, room_id)["timeline"]) for room_id in rooms} == sent


async def test_more_rooms_than_are_kept_are_in_one_answer_of_sliding_sync(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(2 * KEPT)]
    first = await world.slide(ALICE)
    assert set(first["rooms"]) == set(rooms)
    sent = {room_id: [await world.send(ALICE, room_id)] for room_id in rooms}
    answer = await world.slide(ALICE, pos=first["pos"])
    assert {room_id: [e["event_id"] for e in room["timeline"]] for room_id, room in answer["rooms"].items()} == sent


async def test_a_room_keeps_its_place_in_an_answer_that_needs_another_ones_log(world: SlidingWorld) -> None:
    second_room, first_room = await world.create_room(ALICE), await world.create_room(ALICE)
    first = await world.sync(ALICE)
    sent = await world.send(ALICE, first_room)
    await world.create_room(BOB)
    world.typing.set(ALICE, second_room, True)
    answer = await world.sync(ALICE, first["next_batch"])
    assert event_ids(joined(answer, first_room).get("timeline", {})) == [sent]


@pytest.mark.parametrize("drop", [others_are_written_to, the_room_becomes_whole, hints_are_lost])
async def test_a_room_is_in_the_answer_though_its_log_is_dropped_meanwhile(
    world: SlidingWorld, monkeypatch: pytest.MonkeyPatch, drop: Callable[[SlidingWorld, str], Awaitable[None]]
) -> None:
    room_id = await world.create_room(ALICE)
    slid, first = await world.slide(ALICE), await world.sync(ALICE)
    sent = await world.send(ALICE, room_id)
    original, pending = world.unread.counts, [True]

    async def counts(*args: Any) -> Any:
        found = await original(*args)
        if pending:
            pending.pop()
            await drop(world, room_id)
        return found

    monkeypatch.setattr(world.unread, "counts", counts)
    answer = await world.sync(ALICE, first["next_batch"])
    assert event_ids(joined(answer, room_id).get("timeline", {})) == [sent]
    pending.append(True)
    answer = await world.slide(ALICE, pos=slid["pos"])
    assert [event["event_id"] for event in answer["rooms"][room_id]["timeline"]] == [sent]


async def test_a_room_that_is_not_kept_has_its_unread_count(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(2 * KEPT)]
    for room_id in rooms:
        await world.join(BOB, room_id)
    first = await world.sync(BOB)
    for room_id in rooms:
        await world.send(ALICE, room_id)
    answer = await world.sync(BOB, first["next_batch"])
    counts = [joined(answer, room_id)["unread_notifications"]["notification_count"] for room_id in rooms]
    assert counts == [1] * len(rooms)


async def test_what_a_state_event_replaced_is_shown_redacted(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    secret, later = [
        await world.send(ALICE, room_id, "m.room.name", {"name": name}, state_key="") for name in ("secret", "later")
    ]
    await world.send(ALICE, room_id, "m.room.name", {"name": "last"}, state_key="")
    assert replaced_content(await world.sync(ALICE), room_id, later) == {"name": "secret"}
    await world.send(ALICE, room_id, "m.room.redaction", {}, redacts=secret)
    assert replaced_content(await world.sync(ALICE), room_id, later) == {}


def replaced_content(answer: dict[str, Any], room_id: str, event_id: str) -> Any:
    [event] = [one for one in joined(answer, room_id)["timeline"]["events"] if one["event_id"] == event_id]
    return event["unsigned"]["prev_content"]
