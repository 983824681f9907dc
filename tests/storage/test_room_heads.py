"""Room heads where two processes write to the same rooms."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest

from homeserver.services.client_events import client_event
from storage.database import Database
from tests.services.spine import ALICE, BOB, CAROL, Person, Spine


@pytest.fixture
async def processes(make_database: Callable[[], str]) -> AsyncIterator[tuple[Spine, Spine]]:
    """Two of them over one PostgreSQL database, with no bus between."""
    url = make_database()
    first = await Database.open(url, readers=2, is_shared=True)
    second = await Database.open(url, readers=2, is_shared=True)
    yield Spine(first, seed=1), Spine(second, seed=1)
    await first.close()
    await second.close()


async def test_both_processes_write_one_line_of_events(processes: tuple[Spine, Spine]) -> None:
    one, two = processes
    room_id = await one.new_room(joined=[BOB])
    ids = []
    for number in range(10):
        ids.append(await one.say(ALICE, room_id, str(number)))
        ids.append(await two.say(BOB, room_id, str(number)))
    stored = await one.events.get_many(ids)
    for earlier, later in itertools.pairwise(ids):
        assert stored[later].event.prev_events == (earlier,)


async def test_concurrent_writers_fork_nothing(processes: tuple[Spine, Spine]) -> None:
    one, two = processes
    room_id = await one.new_room(joined=[BOB])
    ids = await asyncio.gather(
        *(spine.say(person, room_id, str(n)) for n in range(15) for spine, person in ((one, ALICE), (two, BOB)))
    )
    stored = sorted((await one.events.get_many(ids)).values(), key=lambda s: s.position or 0)
    for earlier, later in itertools.pairwise(stored):
        assert later.event.prev_events == (earlier.event_id,)


async def test_state_of_the_other_process_is_caught_up_with(processes: tuple[Spine, Spine]) -> None:
    one, two = processes
    room_id = await one.new_room()
    await two.membership.join(BOB, room_id)
    await two.put(ALICE, room_id, "m.room.topic", {"topic": "new"}, "")
    await one.membership.join(CAROL, room_id)
    await two.say(BOB, room_id)
    heads = [await spine.heads.get(room_id) for spine in (one, two, Spine(one.database))]
    for name in ("state", "joined", "hosts", "nids"):
        assert getattr(heads[1], name) == getattr(heads[2], name), name
    assert heads[0] is not None
    assert heads[0].joined == {ALICE.user_id, BOB.user_id, CAROL.user_id}


async def test_a_member_banned_by_one_process_cannot_send_through_the_other(processes: tuple[Spine, Spine]) -> None:
    one, two = processes
    room_id = await one.new_room(joined=[BOB])
    await two.say(BOB, room_id)
    await one.membership.ban(ALICE, room_id, BOB.user_id)
    with pytest.raises(Exception, match="not allowed"):
        await two.say(BOB, room_id)


async def test_a_request_repeated_at_the_other_process_happens_once(processes: tuple[Spine, Spine]) -> None:
    one, two = processes
    room_id = await one.new_room()
    first = await one.say(ALICE, room_id, txn_id="1")
    assert await two.say(ALICE, room_id, txn_id="1") == first
    again = await asyncio.gather(*(spine.say(ALICE, room_id, txn_id="2") for spine in (one, two, one, two)))
    assert len(set(again)) == 1


async def test_a_head_is_read_anew_after_it_left_memory(database: Database) -> None:
    spine = Spine(database)
    spine.heads._cache.size = 1
    rooms = [await spine.new_room(Person(f"@p{n}:hearth.example")) for n in range(4)]
    for n, room_id in enumerate(rooms * 2):
        event_id = await spine.say(Person(f"@p{n % 4}:hearth.example"), room_id)
        stored = await spine.events.get(event_id)
        assert stored is not None
        assert len(stored.event.prev_events) == 1
        assert client_event(stored)["room_id"] == room_id
