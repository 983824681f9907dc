"""/sync over the real write path."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.core.event_builder import EventDraft
from homeserver.runtime.bus import Bus
from homeserver.services.import_room import ImportRoom
from homeserver.services.member_rows import MemberRows
from homeserver.services.persist_event import SentBy
from homeserver.services.sync.users import SyncUser
from storage import memberships
from storage.database import Database, Write
from storage.streams import Stream
from tests.services.sync_world import SERVER, World, event_ids, joined, user

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = World(db, bus)
    yield world
    await world.close()
    await db.close()


async def test_initial_sync_has_the_room_with_its_state_and_timeline(world: World) -> None:
    room_id = await world.create_room(ALICE)
    sent = [await world.send(ALICE, room_id) for _ in range(12)]
    answer = await world.sync(ALICE)
    room = joined(answer, room_id)
    assert event_ids(room["timeline"]) == sent[-10:]
    assert room["timeline"]["limited"] is True
    assert {event["type"] for event in room["state"]["events"]} == {
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.history_visibility",
    }
    assert room["summary"]["m.joined_member_count"] == 1
    assert answer["account_data"]["events"][0]["type"] == "m.push_rules"


async def test_incremental_sync_has_only_what_is_new(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    sent = await world.send(ALICE, room_id)
    answer = await world.sync(ALICE, token)
    room = joined(answer, room_id)
    assert event_ids(room["timeline"]) == [sent]
    assert room["timeline"]["limited"] is False
    assert room["state"]["events"] == []
    assert "rooms" not in await world.sync(ALICE, answer["next_batch"])


async def test_a_waiting_sync_is_woken_by_an_event(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    token = (await world.sync(BOB))["next_batch"]
    waiting = asyncio.ensure_future(world.sync(BOB, token, timeout_ms=10_000))
    await asyncio.sleep(0)
    sent = await world.send(ALICE, room_id)
    assert event_ids(joined(await waiting, room_id)["timeline"]) == [sent]


async def test_stopping_ends_a_waiting_sync(world: World) -> None:
    await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    waiting = asyncio.ensure_future(world.sync(ALICE, token, timeout_ms=60_000))
    while not world.notifier.is_waiting(ALICE):
        await asyncio.sleep(0)
    world.notifier.close()
    assert "rooms" not in await asyncio.wait_for(waiting, 30)


async def test_newly_joined_room_has_full_state_and_earlier_messages(world: World) -> None:
    room_id = await world.create_room(ALICE)
    before = await world.send(ALICE, room_id)
    token = (await world.sync(BOB))["next_batch"]
    join = await world.join(BOB, room_id)
    room = joined(await world.sync(BOB, token), room_id)
    assert event_ids(room["timeline"])[-2:] == [before, join]
    memberships = [event["unsigned"]["membership"] for event in room["timeline"]["events"]]
    assert memberships[-2:] == ["leave", "join"]


async def test_history_that_is_for_members_only_is_hidden_from_who_joined_later(world: World) -> None:
    room_id = await world.create_room(ALICE, visibility="joined")
    before = await world.send(ALICE, room_id)
    join = await world.join(BOB, room_id)
    room = joined(await world.sync(BOB), room_id)
    assert before not in event_ids(room["timeline"])
    assert join in event_ids(room["timeline"])


async def test_who_is_kicked_sees_the_kick_and_nothing_after_it(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    token = (await world.sync(BOB))["next_batch"]
    sent = await world.send(ALICE, room_id)
    kick = await world.member(ALICE, room_id, BOB, "leave")
    await world.send(ALICE, room_id)
    answer = await world.sync(BOB, token)
    assert room_id not in answer["rooms"].get("join", {})
    assert event_ids(answer["rooms"]["leave"][room_id]["timeline"]) == [sent, kick]
    assert "rooms" not in await world.sync(BOB, answer["next_batch"])


async def test_an_invite_comes_with_stripped_state(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(BOB))["next_batch"]
    invite = await world.member(ALICE, room_id, BOB, "invite")
    answer = await world.sync(BOB, token)
    events = answer["rooms"]["invite"][room_id]["invite_state"]["events"]
    assert {"m.room.create", "m.room.join_rules", "m.room.member"} <= {event["type"] for event in events}
    for event in events:
        more = {"origin_server_ts"} if event["type"] == "m.room.create" else set()
        if event["state_key"] == BOB:
            more = {"origin_server_ts", "event_id"}
            assert event["event_id"] == invite
        assert set(event) == {"type", "state_key", "sender", "content"} | more


async def test_a_rejected_invite_shows_up_as_left_without_history(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.member(ALICE, room_id, BOB, "invite")
    token = (await world.sync(BOB))["next_batch"]
    leave = await world.member(BOB, room_id, BOB, "leave")
    answer = await world.sync(BOB, token)
    assert event_ids(answer["rooms"]["leave"][room_id]["timeline"]) == [leave]
    assert answer["rooms"]["leave"][room_id]["state"]["events"] == []


async def test_a_rejected_invite_to_a_room_that_nobody_is_in_shows_up_as_left(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.member(ALICE, room_id, BOB, "invite")
    token = (await world.sync(BOB))["next_batch"]
    await world.member(ALICE, room_id, ALICE, "leave")
    members = MemberRows(world.events, server_name=SERVER)
    imports = ImportRoom(world.db, world.events, world.state, world.persist, members)
    head = await world.send_event.require_head(room_id)
    draft = EventDraft("m.room.member", BOB, {"membership": "leave"}, room_id, BOB)
    leave = await world.send_event.build(head, draft)

    async def leave_alone(tx: Write) -> None:
        await imports.membership(tx, await world.send_event.require_draft(tx, room_id), leave)

    await world.db.write(leave_alone)
    answer = await world.sync(BOB, token)
    assert event_ids(answer["rooms"]["leave"][room_id]["timeline"]) == [leave.event_id]
    assert "rooms" not in await world.sync(BOB, answer["next_batch"])


async def test_a_timeline_that_begins_before_the_join_is_limited_by_what_is_before_it(world: World) -> None:
    room_id = await world.create_room(ALICE)
    shown = [await world.send(ALICE, room_id), await world.join(BOB, room_id)]
    only_two = {"room": {"timeline": {"limit": 2}}}
    timeline = joined(await world.sync(BOB, filter=only_two), room_id)["timeline"]
    assert (event_ids(timeline), timeline["limited"]) == (shown, True)


async def test_a_gap_is_limited_and_its_state_changes_come_in_state(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    name = await world.send(ALICE, room_id, "m.room.name", {"name": "new"}, state_key="")
    sent = [await world.send(ALICE, room_id) for _ in range(11)]
    room = joined(await world.sync(ALICE, token), room_id)
    assert room["timeline"]["limited"] is True
    assert event_ids(room["timeline"]) == sent[1:]
    assert event_ids(room["state"]) == [name]


async def test_transaction_id_is_for_the_sending_device_only(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    await world.send(ALICE, room_id, sent_by=SentBy("DEVICE", "txn1"))
    mine = joined(await world.sync(ALICE, token), room_id)["timeline"]["events"][0]
    other = joined(await world.sync(ALICE, token, device_id="OTHER"), room_id)["timeline"]["events"][0]
    assert mine["unsigned"]["transaction_id"] == "txn1"
    assert "transaction_id" not in other["unsigned"]


async def test_lazy_members_are_those_of_senders_and_are_sent_once(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await world.join(CAROL, room_id)
    for _ in range(10):
        await world.send(ALICE, room_id)
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 5}}}
    answer = await world.sync(ALICE, filter=lazy)
    members = [e["state_key"] for e in joined(answer, room_id)["state"]["events"] if e["type"] == "m.room.member"]
    assert ALICE in members
    await world.send(CAROL, room_id)
    answer = await world.sync(ALICE, answer["next_batch"], filter=lazy)
    await world.send(CAROL, room_id)
    again = await world.sync(ALICE, answer["next_batch"], filter=lazy)
    assert joined(again, room_id)["state"]["events"] == []


async def test_state_after_is_the_state_at_the_end_of_the_timeline(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    name = await world.send(ALICE, room_id, "m.room.name", {"name": "new"}, state_key="")
    room = joined(await world.sync(ALICE, token, use_state_after=True), room_id)
    assert event_ids(room["state_after"]) == [name]
    assert "state" not in room


async def test_unread_counts_grow_with_messages_and_vanish_with_a_receipt(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    token = (await world.sync(BOB))["next_batch"]
    await world.send(ALICE, room_id)
    mention = {"body": "bob", "msgtype": "m.text", "m.mentions": {"user_ids": [BOB]}}
    last = await world.send(ALICE, room_id, content=mention)
    answer = await world.sync(BOB, token)
    assert joined(answer, room_id)["unread_notifications"] == {"highlight_count": 1, "notification_count": 2}
    assert joined(await world.sync(BOB), room_id)["unread_notifications"]["notification_count"] == 2
    await world.receipts.send(BOB, room_id, "m.read", last)
    answer = await world.sync(BOB, answer["next_batch"])
    assert joined(answer, room_id)["unread_notifications"] == {"highlight_count": 0, "notification_count": 0}
    assert joined(answer, room_id)["ephemeral"]["events"][0]["content"][last]["m.read"][BOB]["ts"]


async def test_private_receipts_are_shown_to_their_user_only(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    sent = await world.send(ALICE, room_id)
    alice, bob = (await world.sync(ALICE))["next_batch"], (await world.sync(BOB))["next_batch"]
    await world.receipts.send(BOB, room_id, "m.read.private", sent)
    assert "ephemeral" in joined(await world.sync(BOB, bob), room_id)
    assert "ephemeral" not in joined(await world.sync(ALICE, alice), room_id)


async def test_typing_is_told_and_ends_by_itself(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    token = (await world.sync(ALICE))["next_batch"]
    world.typing.set(BOB, room_id, True, 5_000)
    answer = await world.sync(ALICE, token)
    assert joined(answer, room_id)["ephemeral"]["events"] == [{"type": "m.typing", "content": {"user_ids": [BOB]}}]
    for _ in range(8):
        await asyncio.sleep(0)
        world.clock.advance(1)
        await asyncio.sleep(0)
    answer = await world.sync(ALICE, answer["next_batch"])
    assert joined(answer, room_id)["ephemeral"]["events"][0]["content"] == {"user_ids": []}


async def test_messages_of_ignored_users_are_left_out(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await world.account_data.put(ALICE, "", "m.ignored_user_list", {"ignored_users": {BOB: {}}})
    token = (await world.sync(ALICE))["next_batch"]
    await world.send(BOB, room_id)
    sent = await world.send(ALICE, room_id)
    assert event_ids(joined(await world.sync(ALICE, token), room_id)["timeline"]) == [sent]


async def test_account_data_and_tags_arrive(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE))["next_batch"]
    await world.account_data.put(ALICE, "", "org.example", {"a": 1})
    await world.account_data.put_tag(ALICE, room_id, "m.favourite", {"order": 0.5})
    answer = await world.sync(ALICE, token)
    assert answer["account_data"]["events"] == [{"type": "org.example", "content": {"a": 1}}]
    assert joined(answer, room_id)["account_data"]["events"][0]["content"]["tags"] == {"m.favourite": {"order": 0.5}}


async def test_presence_of_who_shares_a_room_is_told(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await world.sync(BOB)
    token = (await world.sync(ALICE))["next_batch"]
    await world.sync(BOB, set_presence="online")
    answer = await world.sync(ALICE, token)
    assert answer["presence"]["events"][0]["sender"] == BOB
    assert answer["presence"]["events"][0]["content"]["presence"] == "online"


async def test_presence_of_who_comes_to_share_a_room_is_told_once(world: World) -> None:
    room_id = await world.create_room(ALICE)
    token = (await world.sync(ALICE, set_presence="online"))["next_batch"]
    bobs = (await world.sync(BOB, set_presence="online"))["next_batch"]
    await world.join(BOB, room_id)
    answer = await world.sync(ALICE, token)
    assert BOB in {event["sender"] for event in answer["presence"]["events"]}
    assert "presence" not in await world.sync(ALICE, answer["next_batch"])
    answer = await world.sync(BOB, bobs)
    assert ALICE in {event["sender"] for event in answer["presence"]["events"]}
    assert "presence" not in await world.sync(BOB, answer["next_batch"])


async def test_that_a_room_was_left_is_told_though_it_is_forgotten_already(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    token = (await world.sync(BOB))["next_batch"]
    leave = await world.member(BOB, room_id, BOB, "leave")

    async def forget(tx: Write) -> None:
        memberships.forget(tx, (await world.heads.draft(tx, room_id)).room_nid, BOB)
        tx.position(Stream.MEMBERSHIPS, BOB)

    await world.db.write(forget)
    answer = await world.sync(BOB, token)
    assert event_ids(answer["rooms"]["leave"][room_id]["timeline"]) == [leave]
    assert "rooms" not in await world.sync(BOB, answer["next_batch"])


async def test_a_token_older_than_the_process_is_served_from_the_database(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    token = (await world.sync(BOB))["next_batch"]
    sent = await world.send(ALICE, room_id)
    await world.receipts.send(ALICE, room_id, "m.read", sent)
    other = await world.create_room(ALICE)
    await world.member(ALICE, other, BOB, "invite")
    world.notifier.reset()
    answer = await world.sync(BOB, token)
    assert event_ids(joined(answer, room_id)["timeline"]) == [sent]
    assert joined(answer, room_id)["ephemeral"]["events"][0]["content"][sent]["m.read"]
    assert other in answer["rooms"]["invite"]


async def test_a_redacted_event_is_shown_redacted_later(world: World) -> None:
    room_id = await world.create_room(ALICE)
    sent = await world.send(ALICE, room_id)
    await world.sync(ALICE)
    await world.send(ALICE, room_id, "m.room.redaction", {"redacts": sent}, redacts=sent)
    events = joined(await world.sync(ALICE), room_id)["timeline"]["events"]
    assert [event["content"] for event in events if event["event_id"] == sent] == [{}]


async def test_who_leaves_stops_typing(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    world.typing.set(BOB, room_id, True)
    await world.member(BOB, room_id, BOB, "leave")
    assert world.typing.users(room_id) == []


async def test_identical_initial_syncs_share_one_computation(world: World) -> None:
    await world.create_room(ALICE)
    request = world.request(ALICE)
    first, second = await asyncio.gather(world.engine.sync(request), world.engine.sync(request))
    assert first is second


async def test_a_gap_is_not_answered_with_what_was_written_for_somebody_further_on(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    options = {"filter": {"room": {"timeline": {"limit": 3}}}, "use_state_after": True}
    bob = (await world.sync(BOB, **options))["next_batch"]
    name = await world.send(ALICE, room_id, "m.room.name", {"name": "new"}, state_key="")
    alice = (await world.sync(ALICE, **options))["next_batch"]
    for _ in range(4):
        await world.send(ALICE, room_id)
    await world.sync(ALICE, alice, **options)
    world.notifier.reset()
    assert event_ids(joined(await world.sync(BOB, bob, **options), room_id)["state_after"]) == [name]


async def test_an_event_that_comes_while_old_news_are_read_is_not_lost(world: World) -> None:
    room_id = await world.create_room(ALICE)
    since = (await world.sync(ALICE))["next_batch"]
    rooms = world.engine._rooms
    world.logs.floor = 2**62  # memory does not reach back: the database is asked
    read, sent = rooms.read_news, []

    async def read_slowly(reader: SyncUser, position: int) -> list[str]:
        found = await read(reader, position)
        sent.append(await world.send(ALICE, room_id))
        return found

    rooms.read_news = read_slowly  # type: ignore[method-assign]
    answer = await world.sync(ALICE, since)
    assert event_ids(joined(answer, room_id)["timeline"]) == sent
