"""Appending events of other servers: forks, rejections, history that arrives late, rooms taken over."""

from collections.abc import AsyncIterator
from typing import Any, NoReturn

import pytest
from sqlalchemy import Executable, select

from homeserver.core.events import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.runtime.bus import Hint
from homeserver.services.events import StoredEvent
from homeserver.services.remote_rooms import NoRemoteRooms
from storage import rooms as storage_rooms
from storage.database import Database, Read, Write
from storage.streams import Stream
from storage.tables import destination_events, events
from tests.services.foreign import ZOE, Foreign
from tests.services.spine import ALICE, BOB, SERVER, Spine


@pytest.fixture
async def spine(database_url: str) -> AsyncIterator[Spine]:
    """On either engine: what is stored matters here."""
    database = await Database.open(database_url, readers=2)
    yield Spine(database)
    await database.close()


@pytest.fixture
def foreign() -> Foreign:
    return Foreign()


async def receive(spine: Spine, event: Event, **how: object) -> StoredEvent:
    """Append an event as if it had passed all checks."""

    async def operation(tx: Write) -> StoredEvent:
        draft = await spine.heads.draft(tx, event.room_id)
        assert draft is not None
        if "backfilled" in how:
            return await spine.persist.append(tx, draft, event, **how)  # type: ignore[arg-type]
        before = await spine.state.snapshot_before(tx, draft, event.prev_events)
        return await spine.persist.append(tx, draft, event, snapshot_before=before, **how)  # type: ignore[arg-type]

    return await spine.database.write(operation)


async def with_zoe(spine: Spine, foreign: Foreign) -> tuple[str, str]:
    """A room with ZOE in it, and her join event."""
    room_id = await spine.new_room(power_level_content_override={"state_default": 0, "events": {}})
    tip = await latest(spine, room_id)
    join = await foreign.reply(spine, room_id, ZOE, "m.room.member", {"membership": "join"}, ZOE, prev=[tip])
    return room_id, (await receive(spine, join)).event_id


async def latest(spine: Spine, room_id: str) -> str:
    head = await spine.heads.get(room_id)
    assert head is not None
    return max(head.extremities, key=lambda event_id: head.extremities[event_id])


async def assert_memory_equals_database(spine: Spine, room_id: str) -> None:
    """The cached head, a head read anew, and the snapshot of the current state are the same."""
    head, anew = await spine.heads.get(room_id), await Spine(spine.database).heads.get(room_id)
    assert head is not None
    assert anew is not None
    assert anew.state == head.state == head.snapshot.state() == anew.snapshot.state()
    for name in ("nids", "extremities", "missing", "joined", "invited", "hosts", "version", "notify_seq"):
        assert getattr(anew, name) == getattr(head, name), name


async def test_two_branches_are_two_extremities_until_an_event_merges_them(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    ours = await spine.say(ALICE, room_id)
    theirs = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "hi"}, prev=[tip])
    await receive(spine, theirs)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert head.extremities.keys() == {ours, theirs.event_id}
    merge = await spine.events.get(await spine.say(ALICE, room_id))
    assert merge is not None
    assert set(merge.event.prev_events) == {ours, theirs.event_id}
    assert head.extremities.keys() == {merge.event_id}
    await assert_memory_equals_database(spine, room_id)


async def test_conflicting_state_is_resolved_and_the_losers_undone(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    await spine.put(ALICE, room_id, "m.room.topic", {"topic": "ours"}, "")
    await spine.membership.ban(ALICE, room_id, ZOE)
    late = await foreign.reply(spine, room_id, ZOE, "m.room.topic", {"topic": "theirs"}, "", prev=[tip])
    stored = await receive(spine, late)
    topic = await spine.state.event(room_id, "m.room.topic")
    assert topic is not None
    assert topic.event.content == {"topic": "ours"}
    assert stored.changed == {}
    await assert_memory_equals_database(spine, room_id)


async def test_resolution_may_bring_in_what_the_other_branch_says(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    await spine.say(ALICE, room_id)
    topic = await foreign.reply(spine, room_id, ZOE, "m.room.topic", {"topic": "theirs"}, "", prev=[tip])
    stored = await receive(spine, topic)
    current = await spine.state.event(room_id, "m.room.topic")
    assert current is not None
    assert current.event_id == topic.event_id
    assert stored.changed == {("m.room.topic", ""): (topic.event_id, None)}
    await assert_memory_equals_database(spine, room_id)


async def test_resolution_takes_back_a_join(spine: Spine, foreign: Foreign) -> None:
    """A ban on one branch wins over the join on the other; members, counts and servers follow."""
    room_id, tip = await with_zoe(spine, foreign)
    yan = "@yan:remote.example"
    await spine.membership.ban(ALICE, room_id, yan)
    join = await foreign.reply(spine, room_id, yan, "m.room.member", {"membership": "join"}, yan, prev=[tip])
    await receive(spine, join)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert head.hosts == {SERVER: 1, "remote.example": 1}
    await assert_memory_equals_database(spine, room_id)


async def test_a_relation_to_what_cannot_be_an_event_is_no_thread(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    for target in ("$a\0b", "$" + "x" * 300, 3):
        content = {"m.relates_to": {"rel_type": "m.thread", "event_id": target}}
        event = await foreign.reply(spine, room_id, ZOE, "m.room.message", content, prev=[tip])
        assert (await receive(spine, event)).thread_root is None
        tip = event.event_id


async def test_an_event_that_cites_what_is_missing_follows_a_gap(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    head = await spine.heads.get(room_id)
    join = await spine.events.get(tip)
    assert head is not None
    assert join is not None
    missing = "$" + "x" * 43
    auth = [*join.event.auth_events, tip]
    message = ("m.room.message", {"body": "hello"})
    event = foreign.event(head.room_version, room_id, ZOE, *message, prev=[missing], auth=auth, depth=40)
    assert (await receive(spine, event, backfilled=False)).follows_gap
    following = await foreign.reply(spine, room_id, ZOE, *message, prev=[event.event_id])
    assert not (await receive(spine, following)).follows_gap
    stored = await Spine(spine.database).events.get_many([event.event_id, following.event_id])
    assert [stored[event_id].follows_gap for event_id in (event.event_id, following.event_id)] == [True, False]
    assert head.missing == {missing: 40}


async def test_rejected_and_soft_failed_events_are_kept_but_change_nothing(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    rejected = await foreign.reply(spine, room_id, ZOE, "m.room.topic", {"topic": "no"}, "", prev=[tip])
    failed = await foreign.reply(spine, room_id, ZOE, "m.room.name", {"name": "no"}, "", prev=[tip])
    await receive(spine, rejected, rejected="rule 8")
    await receive(spine, failed, soft_failed=True)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert head.extremities.keys() == {tip}
    assert ("m.room.topic", "") not in head.state
    assert ("m.room.name", "") not in head.state
    stored = await Spine(spine.database).events.get_many([rejected.event_id, failed.event_id])
    assert stored[rejected.event_id].rejected == "rule 8"
    assert stored[failed.event_id].soft_failed


async def test_an_event_behind_a_soft_failed_one_replaces_what_that_built_on(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    failed = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "a"}, prev=[tip])
    await receive(spine, failed, soft_failed=True)
    following = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "b"}, prev=[failed.event_id])
    await receive(spine, following)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert head.extremities.keys() == {following.event_id}


async def test_an_event_behind_a_gap_replaces_nothing(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    gap = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "a"}, prev=[tip])
    references = {"prev": [gap.event_id], "auth": gap.auth_events, "depth": gap.depth + 1}
    following = foreign.event(gap.room_version, room_id, ZOE, "m.room.message", {"body": "b"}, **references)

    async def operation(tx: Write) -> None:
        draft = await spine.heads.draft(tx, room_id)
        assert draft is not None
        await spine.import_room.outliers(tx, draft, [gap], {})
        await spine.persist.append(tx, draft, following, snapshot_before=draft.snapshot)

    await spine.database.write(operation)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert head.extremities.keys() == {tip, following.event_id}


async def test_the_same_event_twice_is_stored_once(spine: Spine, foreign: Foreign) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    event = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "a"}, prev=[tip])
    first = await receive(spine, event)
    assert (await receive(spine, event)).position == first.position


async def test_history_that_arrives_late_lies_before_everything(spine: Spine, foreign: Foreign) -> None:
    events_of_room, state = foreign.room()
    room_id, join = await take_over(spine, foreign, events_of_room[:-1], state)
    head = await spine.heads.get(room_id)
    assert head is not None
    missing = events_of_room[-2]
    assert head.missing.keys() == {missing.event_id}
    stored = await receive(spine, missing, backfilled=True)
    assert stored.position is not None
    assert stored.position < 0
    assert not stored.outlier
    head = await spine.heads.get(room_id)
    assert head is not None
    assert head.extremities.keys() == {join.event_id}
    assert head.missing.keys() == set(missing.prev_events)
    await assert_memory_equals_database(spine, room_id)


async def take_over(
    spine: Spine, foreign: Foreign, known: list[Event], state: dict[tuple[str, str], Event]
) -> tuple[str, Event]:
    """ALICE joins a room of the other server, whose last event is the last of `known`."""
    room_id, version = known[0].room_id, known[0].room_version
    current = {key: event for key, event in state.items() if event in known}
    auth = [current[key].event_id for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    join = foreign.event(
        version,
        room_id,
        ALICE.user_id,
        "m.room.member",
        {"membership": "join"},
        ALICE.user_id,
        prev=[known[-1].event_id],
        auth=[*auth, current["m.room.join_rules", ""].event_id],
        depth=len(known) + 1,
    )

    async def operation(tx: Write) -> None:
        draft = await spine.heads.draft(tx, room_id)
        if draft is None:
            draft = spine.heads.create(tx, room_id, version, ZOE)
        chain = [event for event in known if event.type != "m.room.member" or event.sender == ZOE]
        await spine.import_room.join(tx, draft, join, state=list(current.values()), auth_chain=chain)

    await spine.database.write(operation)
    return room_id, join


async def test_a_room_of_another_server_is_taken_over_whole(spine: Spine, foreign: Foreign) -> None:
    known, state = foreign.room(members=50)
    room_id, join = await take_over(spine, foreign, known, state)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert len(head.joined) == 52
    assert head.hosts == {"remote.example": 51, SERVER: 1}
    assert head.extremities.keys() == {join.event_id}
    await assert_memory_equals_database(spine, room_id)
    stored = await spine.events.get(await spine.say(ALICE, room_id))
    assert stored is not None
    assert stored.event.prev_events == (join.event_id,)


async def test_a_room_can_be_taken_over_again_after_everybody_left(spine: Spine, foreign: Foreign) -> None:
    known, state = foreign.room()
    room_id, _ = await take_over(spine, foreign, known, state)
    await spine.membership.leave(ALICE, room_id)
    name = foreign.event(
        known[0].room_version,
        room_id,
        ZOE,
        "m.room.name",
        {"name": "new"},
        "",
        prev=[known[-1].event_id],
        auth=[state[key].event_id for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
        + [state["m.room.member", ZOE].event_id],
        depth=90,
    )
    await take_over(spine, foreign, [*known, name], {**state, name.key: name})
    current = await spine.state.event(room_id, "m.room.name")
    assert current is not None
    assert current.event.content == {"name": "new"}
    await assert_memory_equals_database(spine, room_id)


async def test_an_invite_from_outside_is_kept_without_a_room(spine: Spine, foreign: Foreign) -> None:
    heard: list[Hint] = []
    spine.database.bus.subscribe(heard.extend)
    invite = foreign.event(
        ROOM_VERSIONS["11"], "!far:remote.example", ZOE, "m.room.member", {"membership": "invite"}, BOB.user_id
    )

    async def operation(tx: Write) -> None:
        draft = spine.heads.create(tx, invite.room_id, invite.room_version)
        await spine.import_room.membership(tx, draft, invite, [{"type": "m.room.name", "content": {"name": "far"}}])

    await spine.database.write(operation)
    assert [hint.keys for hint in heard if hint.stream == Stream.MEMBERSHIPS] == [(BOB.user_id, invite.room_id)]
    assert await spine.membership.membership_of(invite.room_id, BOB.user_id) == "invite"
    assert (await spine.out_of_room.stripped_state(invite.room_id, BOB.user_id))[0]["content"] == {"name": "far"}
    # No server of the room answers: the invite is rejected for this server alone.
    await spine.membership.leave(BOB, invite.room_id)
    assert await spine.membership.membership_of(invite.room_id, BOB.user_id) == "leave"


@pytest.mark.parametrize("redaction_first", [False, True])
async def test_a_redaction_counts_whichever_comes_first(spine: Spine, foreign: Foreign, redaction_first: bool) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    message = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "oops"}, prev=[tip])
    redaction = await foreign.reply(spine, room_id, ZOE, "m.room.redaction", {}, prev=[tip], redacts=message.event_id)
    for event in (redaction, message) if redaction_first else (message, redaction):
        await receive(spine, event)
    for source in (spine.events, Spine(spine.database).events):
        stored = await source.get(message.event_id)
        assert stored is not None
        assert stored.redacted_because is not None
        assert stored.shown.content == {}


@pytest.mark.parametrize("how", [{"rejected": "no"}, {"soft_failed": True}, {"outlier": True}])
async def test_an_event_that_was_stored_without_effect_is_found_though_it_builds_on_the_newest(
    spine: Spine, foreign: Foreign, how: dict[str, Any]
) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    message = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "hello"}, prev=[tip])
    stored = await receive(spine, message, **how)
    spine.events._cache.clear()
    again = await receive(spine, message)
    assert again.nid == stored.nid
    assert again.is_accepted == ("outlier" in how)  # which takes its place now


async def test_receiving_an_event_that_builds_on_the_newest_reads_nothing(
    spine: Spine, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id, tip = await with_zoe(spine, foreign)
    message = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "hello"}, prev=[tip])
    statements: list[str] = []

    async def noted(_: Read, statement: Executable) -> NoReturn:
        statements.append(str(statement))
        raise AssertionError(statement)

    monkeypatch.setattr(Read, "fetch_all", noted)
    assert (await receive(spine, message)).is_accepted
    assert statements == []


async def test_a_redaction_by_somebody_without_power_is_ignored(spine: Spine, foreign: Foreign) -> None:
    room_id, _ = await with_zoe(spine, foreign)
    message = await spine.say(ALICE, room_id)
    redaction = await foreign.reply(spine, room_id, ZOE, "m.room.redaction", {}, prev=[message], redacts=message)
    await receive(spine, redaction)
    stored = await spine.events.get(message)
    assert stored is not None
    assert stored.redacted_because is None


async def noted(spine: Spine) -> list[tuple[str, str]]:
    """(server, event id) of what is to be sent to servers that may not be in the room."""
    statement = select(destination_events.c.destination, events.c.event_id)
    async with spine.database.read() as tx:
        rows = await tx.fetch_all(statement.join(events, events.c.event_nid == destination_events.c.event_nid))
    return sorted(tuple(row) for row in rows)


async def test_a_server_hears_of_the_kick_of_its_last_member(spine: Spine, foreign: Foreign) -> None:
    room_id, _ = await with_zoe(spine, foreign)
    await spine.membership.kick(ALICE, room_id, ZOE)
    assert await noted(spine) == [("remote.example", await latest(spine, room_id))]


@pytest.mark.parametrize("visibility", ["shared", "joined"])
async def test_a_server_whose_own_event_puts_it_out_is_told_of_the_other_branches(
    spine: Spine, foreign: Foreign, visibility: str
) -> None:
    """They are why its join did not stand. What only members may read is not sent to a server that is none."""
    room_id, _ = await with_zoe(spine, foreign)
    await spine.put(ALICE, room_id, "m.room.history_visibility", {"history_visibility": visibility}, "")
    tip = await latest(spine, room_id)
    ours = await spine.say(ALICE, room_id)
    theirs = await foreign.reply(spine, room_id, ZOE, "m.room.message", {"body": "hi"}, prev=[tip])

    async def operation(tx: Write) -> None:
        draft = await spine.heads.draft(tx, room_id)
        assert draft is not None
        before = await spine.state.snapshot_before(tx, draft, theirs.prev_events)
        cause = await spine.persist.append(tx, draft, theirs, snapshot_before=before)
        await spine.member_rows.tell_gone(tx, draft, cause, {"remote.example"})

    await spine.database.write(operation)
    told = [] if visibility == "joined" else sorted([ours, theirs.event_id])
    assert await noted(spine) == [("remote.example", event_id) for event_id in told]


async def test_a_remote_invite_carries_both_signatures(spine: Spine, foreign: Foreign) -> None:
    class Remote(NoRemoteRooms):
        async def send_invite(self, event: Event, stripped_state: object) -> Event:
            self.asked = event
            return event

    remote = Remote()
    other = Spine(spine.database, remote=remote)
    room_id = await other.new_room(preset="private_chat", name="Here")
    await other.membership.invite(ALICE, room_id, ZOE)
    head = await other.heads.get(room_id)
    assert head is not None
    assert head.invited == {ZOE}
    assert head.extremities.keys() == {remote.asked.event_id}
    await assert_memory_equals_database(other, room_id)


async def test_the_log_position_of_a_head_is_that_of_its_newest_event(spine: Spine) -> None:
    room_id = await spine.new_room()
    stored = await spine.events.get(await spine.say(ALICE, room_id))
    head = await spine.heads.get(room_id)
    assert head is not None
    assert stored is not None
    assert head.position == stored.position
    async with spine.database.read() as tx:
        assert await storage_rooms.log_position(tx) == stored.position
