"""Sending: what becomes of an event, and of the same request sent twice."""

import asyncio
import itertools

import pytest

from homeserver.errors import BadJson, Forbidden, NotFound, TooLarge
from homeserver.services.client_events import client_event
from tests.services.spine import ALICE, BOB, CAROL, Person, Spine


async def test_an_event_builds_on_the_one_before(spine: Spine) -> None:
    room_id = await spine.new_room()
    first = await spine.say(ALICE, room_id)
    second = await spine.events.get(await spine.say(ALICE, room_id))
    assert second is not None
    assert second.event.prev_events == (first,)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert head.extremities == {second.event_id: second.event.depth}


async def test_concurrent_senders_make_one_line_of_events(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB, CAROL])
    ids = await asyncio.gather(*(spine.say(person, room_id) for person in (ALICE, BOB, CAROL) * 5))
    stored = await spine.events.get_many(ids)
    ordered = sorted(stored.values(), key=lambda one: one.position or 0)
    for earlier, later in itertools.pairwise(ordered):
        assert later.event.prev_events == (earlier.event_id,)
        assert later.event.depth == earlier.event.depth + 1


async def test_a_transaction_id_sent_twice_gives_one_event(spine: Spine) -> None:
    room_id = await spine.new_room()
    first = await spine.say(ALICE, room_id, txn_id="1")
    assert await spine.say(ALICE, room_id, txn_id="1") == first
    assert await spine.say(ALICE, room_id, txn_id="2") != first


async def test_a_transaction_id_sent_twice_at_once_gives_one_event(spine: Spine) -> None:
    room_id = await spine.new_room()
    ids = await asyncio.gather(*(spine.say(ALICE, room_id, txn_id="1") for _ in range(5)))
    assert len(set(ids)) == 1


async def test_a_transaction_id_is_known_after_a_restart(spine: Spine) -> None:
    room_id = await spine.new_room()
    first = await spine.say(ALICE, room_id, txn_id="1")
    restarted = Spine(spine.database, seed=2)
    assert await restarted.say(ALICE, room_id, txn_id="1") == first


async def test_others_are_not_held_up_by_a_request_that_was_made_before_a_restart(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    first = await spine.say(ALICE, room_id, txn_id="1")
    restarted = Spine(spine.database, seed=2)
    again, other = await asyncio.gather(
        restarted.say(ALICE, room_id, txn_id="1"), restarted.say(BOB, room_id, txn_id="1")
    )
    assert again == first
    assert await restarted.events.get(other) is not None


async def test_a_request_sent_again_is_answered_even_if_it_would_not_be_allowed_any_more(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    first = await spine.say(BOB, room_id, txn_id="1")
    await spine.membership.leave(BOB, room_id)
    assert await Spine(spine.database, seed=2).say(BOB, room_id, txn_id="1") == first


async def test_devices_do_not_share_transaction_ids(spine: Spine) -> None:
    room_id = await spine.new_room()
    first = await spine.say(ALICE, room_id, txn_id="1")
    assert await spine.say(Person(ALICE.user_id, "OTHER"), room_id, txn_id="1") != first


async def test_a_refused_request_may_be_tried_again(spine: Spine) -> None:
    room_id = await spine.new_room()
    with pytest.raises(Forbidden):
        await spine.say(BOB, room_id, txn_id="1")
    await spine.membership.join(BOB, room_id)
    assert await spine.say(BOB, room_id, txn_id="1")


async def test_a_failed_operation_leaves_nothing_of_its_batch_mates_behind(spine: Spine) -> None:
    room_id = await spine.new_room()
    results = await asyncio.gather(
        *(spine.say(person, room_id) for person in (ALICE, BOB, ALICE, BOB, ALICE)), return_exceptions=True
    )
    assert [isinstance(result, Forbidden) for result in results] == [False, True, False, True, False]
    sent = [result for result in results if isinstance(result, str)]
    stored = await spine.events.get_many(sent)
    assert stored[sent[1]].event.prev_events == (sent[0],)
    assert stored[sent[2]].event.prev_events == (sent[1],)


async def test_an_event_over_the_limit_is_too_large(spine: Spine) -> None:
    room_id = await spine.new_room()
    with pytest.raises(TooLarge):
        await spine.say(ALICE, room_id, "x" * 70_000)
    with pytest.raises(TooLarge):
        await spine.put(ALICE, room_id, "x" * 300, {})


async def test_content_that_is_no_canonical_json_is_bad(spine: Spine) -> None:
    room_id = await spine.new_room()
    with pytest.raises(BadJson):
        await spine.put(ALICE, room_id, "m.test", {"value": 1.5})


async def test_state_that_changes_nothing_is_not_sent_again(spine: Spine) -> None:
    room_id = await spine.new_room()
    first = await spine.put(ALICE, room_id, "m.room.name", {"name": "A"}, "")
    assert await spine.put(ALICE, room_id, "m.room.name", {"name": "A"}, "") == first
    assert await spine.put(ALICE, room_id, "m.room.name", {"name": "B"}, "") != first


async def test_a_state_event_tells_what_it_replaced(spine: Spine) -> None:
    room_id = await spine.new_room()
    first = await spine.put(ALICE, room_id, "m.room.name", {"name": "A"}, "")
    second = await spine.put(ALICE, room_id, "m.room.name", {"name": "B"}, "")
    for events in (spine.events, Spine(spine.database).events):
        stored = await events.get(second)
        assert stored is not None
        unsigned = client_event(stored)["unsigned"]
        assert unsigned["replaces_state"] == first
        assert unsigned["prev_content"] == {"name": "A"}


async def test_a_redacted_event_is_shown_without_its_content(spine: Spine) -> None:
    room_id = await spine.new_room()
    event_id = await spine.say(ALICE, room_id, "secret")
    redaction = await spine.send.redact(ALICE, room_id, event_id, {"reason": "typo"}, "1")
    for events in (spine.events, Spine(spine.database).events):
        stored = await events.get(event_id)
        assert stored is not None
        shown = client_event(stored)
        assert shown["content"] == {}
        assert shown["unsigned"]["redacted_because"]["event_id"] == redaction
        assert shown["unsigned"]["redacted_because"]["content"]["reason"] == "typo"


async def test_a_redacted_name_is_not_told_as_previous_content(spine: Spine) -> None:
    room_id = await spine.new_room()
    first = await spine.put(ALICE, room_id, "m.room.name", {"name": "secret"}, "")
    second = await spine.put(ALICE, room_id, "m.room.name", {"name": "B"}, "")
    await spine.put(ALICE, room_id, "m.room.name", {"name": "C"}, "")
    await spine.send.redact(ALICE, room_id, first, {}, None)
    for events in (spine.events, Spine(spine.database).events):
        stored = await events.get(second)
        assert stored is not None
        assert client_event(stored)["unsigned"]["prev_content"] == {}


async def test_others_events_are_redacted_with_power_only(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    of_alice, of_bob = await spine.say(ALICE, room_id), await spine.say(BOB, room_id)
    with pytest.raises(Forbidden):
        await spine.send.redact(BOB, room_id, of_alice, {}, None)
    assert await spine.send.redact(ALICE, room_id, of_bob, {}, None)


async def test_an_event_of_another_room_is_not_redacted(spine: Spine) -> None:
    room_id, other = await spine.new_room(), await spine.new_room()
    event_id = await spine.say(ALICE, other)
    with pytest.raises(NotFound):
        await spine.send.redact(ALICE, room_id, event_id, {}, None)


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
async def test_every_room_version_takes_messages(spine: Spine, version: str) -> None:
    room_id = await spine.new_room(joined=[BOB], room_version=version)
    event_id = await spine.say(BOB, room_id)
    await spine.send.redact(ALICE, room_id, event_id, {}, None)
    stored = await Spine(spine.database).events.get(event_id)
    assert stored is not None
    assert stored.shown.content == {}
