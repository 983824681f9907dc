"""Who is mentioned by a name in the body of a message, where the sender's client does not say whom it mentions."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from homeserver.runtime.bus import Bus
from homeserver.services.member_names import RoomNames
from storage import memberships
from storage.database import Database, Read
from tests.services.sync_world import World, joined, user

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")

During = Callable[[Callable[[], Awaitable[Any]]], None]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = World(db, bus, legacy_mentions=True)
    yield world
    await world.close()
    await db.close()


@pytest.fixture
def during_the_next_reading(monkeypatch: pytest.MonkeyPatch) -> During:
    """Something happens when the members have been read."""
    original = memberships.joined_members

    def arrange(happening: Callable[[], Awaitable[Any]]) -> None:
        pending = [happening]

        async def joined_members(tx: Read, room_nid: int) -> Any:
            rows = await original(tx, room_nid)
            if pending:
                await pending.pop()()
            return rows

        monkeypatch.setattr(memberships, "joined_members", joined_members)

    return arrange


async def highlights(world: World, reader: str, room_id: str) -> int:
    counts = joined(await world.sync(reader), room_id)["unread_notifications"]
    return int(counts["highlight_count"])


async def say(world: World, room_id: str, body: str, **content: object) -> None:
    await world.send(ALICE, room_id, content={"msgtype": "m.text", "body": body, **content})


async def test_user_name_in_the_body_is_a_mention(world: World) -> None:
    room_id = await world.create_room(ALICE)
    for other in (BOB, CAROL):
        await world.join(other, room_id)
    await say(world, room_id, f"Hello {BOB}!")
    await say(world, room_id, "bobby is not BOB, of course")
    await say(world, room_id, "nobody")
    assert await highlights(world, BOB, room_id) == 2
    assert await highlights(world, CAROL, room_id) == 0


async def test_the_name_is_that_of_the_member_in_the_room_now(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.member(BOB, room_id, BOB, "join", displayname="Robert Ⅲ")
    await say(world, room_id, "ROBERT Ⅲ, are you there?")
    assert await highlights(world, BOB, room_id) == 1
    await world.member(BOB, room_id, BOB, "join", displayname="ボブ")
    await say(world, room_id, "robert Ⅲ")
    await say(world, room_id, "やあボブさん")
    assert await highlights(world, BOB, room_id) == 1
    await world.member(BOB, room_id, BOB, "leave")
    await world.join(BOB, room_id)
    await say(world, room_id, "ボブ")
    assert await highlights(world, BOB, room_id) == 0


@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_new_name_is_known_though_it_came_while_names_were_read(
    world: World, during_the_next_reading: During, is_heard: bool
) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    said = await world.events.get(await world.send(ALICE, room_id))
    head = await world.heads.get(room_id)
    assert said is not None
    assert head is not None

    async def rename() -> None:
        listeners = list(world.db.on_commit)
        if not is_heard:
            world.db.on_commit.clear()
        await world.member(BOB, room_id, BOB, "join", displayname="Robert")
        world.db.on_commit[:] = listeners
        if not is_heard:
            world.notifier.reset()

    during_the_next_reading(rename)
    world.notifier.reset()
    await world.push_actions.verdicts(said.event, head, [BOB])
    await say(world, room_id, "hello Robert")
    assert await highlights(world, BOB, room_id) == 1


async def test_whoever_says_whom_they_mention_is_taken_at_their_word(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await say(world, room_id, "bob", **{"m.mentions": {}})
    assert await highlights(world, BOB, room_id) == 0


async def test_whoever_may_do_so_mentions_the_whole_room(world: World) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await say(world, room_id, "@room wake up")
    assert await highlights(world, BOB, room_id) == 1
    await say(world, room_id, "everybody!", **{"m.mentions": {"room": True}})
    assert await highlights(world, BOB, room_id) == 2
    await world.send(BOB, room_id, content={"msgtype": "m.text", "body": "@room no"})
    assert await highlights(world, ALICE, room_id) == 0


async def test_the_rules_for_it_are_among_those_that_users_see(world: World) -> None:
    events = (await world.sync(ALICE))["account_data"]["events"]
    (rules,) = [event["content"]["global"] for event in events if event["type"] == "m.push_rules"]
    assert [rule["rule_id"] for rule in rules["content"]] == [".m.rule.contains_user_name"]
    assert rules == await world.push_rules.ruleset(ALICE)


def test_everybody_whose_name_is_in_a_text_is_a_candidate() -> None:
    names = RoomNames()
    for number, name in enumerate(("Al", "al bert", "-al-", "ü", " ", "", None, "a.b", "*al*")):
        names.add(user(f"u{number}"), name)
    names.add(user("odd*name"), None)
    assert names.candidates("al") >= {user(f"u{number}") for number in (0, 1, 2, 8)}
    assert user("u3") in names.candidates("xüx")
    assert user("u4") in names.candidates("x y")
    assert names.candidates("u5") >= {user("u5"), user("odd*name")}
    for user_id in list(names.display_names):
        names.remove(user_id)
    assert not names.candidates("al u1 ü")
