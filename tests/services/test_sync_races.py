"""What comes while a /sync reads from the database is told by it or by the next one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.runtime.bus import Bus
from homeserver.services.import_room import ImportRoom
from homeserver.services.member_rows import MemberRows
from storage import timeline
from storage.database import Database, Write
from tests.services.foreign import ZOE, Foreign
from tests.services.keys_world import KeysWorld
from tests.services.sliding_world import ALL, SlidingWorld
from tests.services.sync_world import SERVER, World, user
from tests.services.test_notifier_processes import Pair, level, pair

__all__ = ["pair"]

ALICE, BOB = user("alice"), user("bob")
Happening = Callable[[], Awaitable[Any]]
During = Callable[[Happening], None]


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[KeysWorld]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = KeysWorld(db, bus)
    await world.add_device(BOB, "DEVICE")
    yield world
    await world.close()
    await db.close()


@pytest.fixture
async def sliding_world(sqlite_url: str) -> AsyncIterator[SlidingWorld]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = SlidingWorld(db, bus)
    yield world
    await world.close()
    await db.close()


@pytest.fixture
def while_changes_are_read(monkeypatch: pytest.MonkeyPatch) -> During:
    """Something happens after the changes of a user's memberships were read, and before that is known."""
    return lambda happening: _happen_after(monkeypatch, "member_events_of", happening)


@pytest.fixture
def while_news_are_read(monkeypatch: pytest.MonkeyPatch) -> During:
    """The same of the rooms that have news."""
    return lambda happening: _happen_after(monkeypatch, "rooms_with_news", happening)


def _happen_after(monkeypatch: pytest.MonkeyPatch, name: str, happening: Happening) -> None:
    original, pending = getattr(timeline, name), [happening]

    async def read(*args: Any) -> Any:
        found = await original(*args)
        if pending:
            await pending.pop()()
        return found

    monkeypatch.setattr(timeline, name, read)


async def old_token(world: World) -> str:
    """A token of Bob's that is older than what is in memory."""
    token: str = (await world.sync(BOB))["next_batch"]
    await world.join(BOB, await world.create_room(ALICE))
    world.notifier.reset()
    return token


async def invite_from_outside(world: World) -> str:
    """Invite Bob to a room that this server is not in."""
    version, content = ROOM_VERSIONS["11"], {"membership": "invite"}
    imports = ImportRoom(
        world.db, world.events, world.state, world.persist, MemberRows(world.events, server_name=SERVER)
    )
    invite = Foreign().event(version, "!far:remote.example", ZOE, "m.room.member", content, BOB)
    stripped = [{"type": "m.room.create", "state_key": "", "content": {}}]

    async def operation(tx: Write) -> None:
        await imports.membership(tx, world.heads.create(tx, invite.room_id, version), invite, stripped)

    await world.db.write(operation)
    return invite.room_id


async def two_answers(world: World, token: str) -> list[dict[str, Any]]:
    """What Bob is told, and what after that."""
    first = await world.sync(BOB, token)
    return [first, await world.sync(BOB, first["next_batch"])]


@pytest.mark.parametrize("moment", ["while_changes_are_read", "while_news_are_read"])
async def test_an_invite_that_comes_meanwhile_is_told(
    world: KeysWorld, moment: str, request: pytest.FixtureRequest
) -> None:
    during: During = request.getfixturevalue(moment)
    token = await old_token(world)
    invited: list[str] = []

    async def invite() -> None:
        invited.append(await invite_from_outside(world))

    during(invite)
    answers = await two_answers(world, token)
    assert [room_id for one in answers for room_id in one.get("rooms", {}).get("invite", ())] == invited != []


async def test_a_message_to_the_device_that_follows_an_invite_is_told(
    world: KeysWorld, while_news_are_read: During
) -> None:
    await world.join(BOB, await world.create_room(ALICE))
    token = (await world.sync(BOB))["next_batch"]
    world.logs.floor = 2**62  # memory does not reach back: the database is asked

    async def invite_and_write() -> None:
        await invite_from_outside(world)
        await world.to_device.send(ALICE, "DEVICE", "m.test", "1", {BOB: {"DEVICE": {}}})

    while_news_are_read(invite_and_write)
    assert len([one for one in await two_answers(world, token) if "to_device" in one]) == 1


async def test_account_data_that_another_process_sets_meanwhile_is_told(
    pair: Pair, while_changes_are_read: During
) -> None:
    here, there = pair
    token = await old_token(there)

    async def put() -> None:
        await here.account_data.put(BOB, "", "org.example", {"a": 1})
        await level(pair)

    while_changes_are_read(put)
    assert len([one for one in await two_answers(there, token) if "account_data" in one]) == 1


async def test_account_data_that_is_dropped_meanwhile_is_told_in_sliding_sync(
    sliding_world: SlidingWorld, while_changes_are_read: During
) -> None:
    world = sliding_world
    body = {"lists": ALL, "extensions": {"account_data": {"enabled": True}}}
    pos = (await world.slide(BOB, body))["pos"]
    await world.join(BOB, await world.create_room(ALICE))
    world.notifier.reset()

    async def put() -> None:
        world.account_data._users.drop(BOB)  # as where another process sets it
        await world.account_data.put(BOB, "", "org.example", {"a": 1})

    while_changes_are_read(put)
    first = await world.slide(BOB, body, pos=pos)
    second = await world.slide(BOB, body, pos=first["pos"])
    told = [one["extensions"]["account_data"].get("global") for one in (first, second)]
    assert len([events for events in told if events]) == 1


async def test_an_invite_is_in_a_list_though_two_devices_ask_for_it_at_once(
    sliding_world: SlidingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sliding_world
    body = {"lists": {"l": {"ranges": [[0, 9]], "timeline_limit": 1, "filters": {"not_room_types": ["m.space"]}}}}
    room_id = await invite_from_outside(world)
    shown: list[dict[str, Any]] = []

    async def ask_too() -> None:
        shown.append(await world.slide(BOB, body, device_id="PHONE"))

    _happen_after(monkeypatch, "stripped_states", ask_too)
    shown.append(await world.slide(BOB, body))
    assert [list(one["rooms"]) for one in shown] == [[room_id], [room_id]]


async def test_who_is_put_out_of_a_room_while_it_is_looked_up_whether_they_were_in_sees_it_listed(
    sliding_world: SlidingWorld, while_changes_are_read: During
) -> None:
    world = sliding_world
    room_id = await world.create_room(ALICE)
    await world.member(ALICE, room_id, BOB, "invite")
    await world.member(ALICE, room_id, BOB, "leave")

    async def be_in_and_out() -> None:
        await world.join(BOB, room_id)
        await world.member(ALICE, room_id, BOB, "leave")
        await world.slide(BOB, device_id="PHONE")

    while_changes_are_read(be_in_and_out)
    await world.slide(BOB)
    answer = await world.slide(BOB, {"lists": {"l": ALL["all"] | {"filters": {"is_invite": False}}}})
    assert list(answer["rooms"]) == [room_id]


async def test_who_is_put_out_of_memory_at_once_is_answered_nonetheless(sliding_world: SlidingWorld) -> None:
    world = sliding_world
    room_id = await world.create_room(BOB)
    world.users._size = 0
    async with asyncio.timeout(60):
        assert room_id in (await world.sync(BOB))["rooms"]["join"]
        assert room_id in (await world.slide(BOB))["rooms"]
