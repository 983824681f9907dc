"""The three tellings of a room's state agree: the current state, the fold of its changes, and the snapshot."""

import random

import pytest

from homeserver.services.events import StoredEvent
from storage import memberships, room_state
from storage.database import Database, Write
from storage.rooms import by_id
from tests.services.foreign import Foreign
from tests.services.spine import ALICE, BOB, CAROL, Spine


@pytest.mark.parametrize("seed", range(3))
async def test_current_state_is_the_fold_of_its_changes_and_the_snapshot(database: Database, seed: int) -> None:
    spine, chance = Spine(database), random.Random(seed)
    room_id = await spine.new_room(joined=[BOB])
    for number in range(60):
        match chance.randint(0, 4):
            case 0:
                await spine.put(ALICE, room_id, "m.room.topic", {"topic": str(number)}, "")
            case 1:
                await spine.put(ALICE, room_id, "m.test", {"n": number}, str(chance.randint(0, 9)))
            case 2:
                await spine.membership.join(CAROL, room_id)
            case 3 if await spine.membership.membership_of(room_id, CAROL.user_id) == "join":
                await spine.membership.leave(CAROL, room_id)
            case _:
                await spine.say(BOB, room_id, str(number))
    async with database.read() as tx:
        row = await by_id(tx, room_id)
        assert row is not None
        current = await room_state.load_current(tx, row.room_nid)
        folded: dict[tuple[str, str], tuple[str, int]] = {}
        for change in await room_state.changes_since(tx, row.room_nid, 0):
            folded.pop(change.key, None)
            if change.entry is not None:
                folded[change.key] = change.entry
        assert folded == current
        members = {one.user_id: one.membership for one in await memberships.of_room(tx, row.room_nid)}
    assert {key: entry[0] for key, entry in current.items()} == await Spine(database).state.at(row.snapshot_id)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert {user_id for user_id, membership in members.items() if membership == "join"} == head.joined
    assert row.joined_count == len(head.joined)


async def test_the_state_before_every_event_can_be_told(database: Database) -> None:
    spine = Spine(database)
    room_id = await spine.new_room()
    sent = [await spine.put(ALICE, room_id, "m.test", {"n": n}, str(n % 7)) for n in range(40)]
    anew = Spine(database)
    for number, event_id in enumerate(sent):
        stored = await anew.events.get(event_id)
        assert stored is not None
        before = await anew.state.before(stored)
        assert before is not None
        expected = {str(n % 7): sent[n] for n in range(number)}
        assert {key[1]: value for key, value in before.items() if key[0] == "m.test"} == expected
        assert await anew.state.entry_before(stored, ("m.test", "3")) == expected.get("3")


async def test_a_room_taken_over_has_its_state_in_few_rows(database: Database) -> None:
    spine, foreign = Spine(database), Foreign()
    known, state = foreign.room(members=600)
    join = foreign.event(
        known[0].room_version,
        known[0].room_id,
        ALICE.user_id,
        "m.room.member",
        {"membership": "join"},
        ALICE.user_id,
        prev=[known[-1].event_id],
        auth=[event.event_id for event in known[:4] if event.type != "m.room.member"],
        depth=700,
    )

    async def operation(tx: Write) -> StoredEvent:
        draft = spine.heads.create(tx, join.room_id, join.room_version)
        return await spine.import_room.join(tx, draft, join, state=list(state.values()), auth_chain=known[:4])

    stored = await database.write(operation)
    before = await Spine(database).state.before(stored)
    assert before == {key: event.event_id for key, event in state.items()}
