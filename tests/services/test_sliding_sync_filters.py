"""Sliding sync: which rooms are in a list, and in what order."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.sliding_world import SlidingWorld
from tests.services.sync_world import user

ALICE, BOB = user("alice"), user("bob")


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[SlidingWorld]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = SlidingWorld(db, bus)
    yield world
    await world.close()
    await db.close()


class Client:
    """Asks for one filtered list again and again; has the same whether it goes on or begins anew."""

    def __init__(self, world: SlidingWorld, **filters: Any) -> None:
        self.world = world
        self.body = {"lists": {"l": {"ranges": [[0, 99]], "timeline_limit": 1, "filters": filters}}}
        self.conn_id = str(id(self))
        self.pos: str | None = None
        self.seen: set[str] = set()

    async def look(self) -> set[str]:
        """The rooms of the list, for a client that sees it for the first time."""
        answer = await self.world.slide(ALICE, {**self.body, "conn_id": self.conn_id}, pos=self.pos)
        self.pos = answer["pos"]
        self.seen |= answer["rooms"].keys()
        fresh = await self.world.slide(ALICE, {**self.body, "conn_id": "fresh"})
        assert answer["lists"] == fresh["lists"] == {"l": {"count": len(fresh["rooms"])}}
        assert fresh["rooms"].keys() <= self.seen
        return set(fresh["rooms"])


async def test_direct_chats(world: SlidingWorld) -> None:
    direct, other = await world.create_room(ALICE), await world.create_room(ALICE)
    await world.account_data.put(ALICE, "", "m.direct", {BOB: [direct]})
    chats, rest = Client(world, is_dm=True), Client(world, is_dm=False)
    assert (await chats.look(), await rest.look()) == ({direct}, {other})
    assert (await world.slide(ALICE))["rooms"][direct]["is_dm"] is True
    first = await world.slide(ALICE)
    await world.account_data.put(ALICE, "", "m.direct", {BOB: [other]})
    assert (await chats.look(), await rest.look()) == ({other}, {direct})
    answer = await world.slide(ALICE)
    assert "is_dm" not in answer["rooms"][direct]
    first = await world.slide(ALICE)
    await world.account_data.put(ALICE, "", "m.direct", {})
    answer = await world.slide(ALICE, pos=first["pos"])
    assert {room_id: room["is_dm"] for room_id, room in answer["rooms"].items()} == {other: False}


async def test_encrypted_rooms(world: SlidingWorld) -> None:
    one, two = await world.create_room(ALICE), await world.create_room(ALICE)
    encrypted, plain = Client(world, is_encrypted=True), Client(world, is_encrypted=False)
    assert (await encrypted.look(), await plain.look()) == (set(), {one, two})
    await world.send(ALICE, one, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, state_key="")
    assert (await encrypted.look(), await plain.look()) == ({one}, {two})


async def test_invites(world: SlidingWorld) -> None:
    room_id, own = await world.create_room(BOB), await world.create_room(ALICE)
    await world.member(BOB, room_id, ALICE, "invite")
    invites, rest = Client(world, is_invite=True), Client(world, is_invite=False)
    assert (await invites.look(), await rest.look()) == ({room_id}, {own})
    await world.join(ALICE, room_id)
    assert (await invites.look(), await rest.look()) == (set(), {room_id, own})


async def test_invites_of_ignored_users_are_not_shown(world: SlidingWorld) -> None:
    room_id = await world.create_room(BOB)
    await world.member(BOB, room_id, ALICE, "invite")
    await world.account_data.put(ALICE, "", "m.ignored_user_list", {"ignored_users": {BOB: {}}})
    assert await Client(world).look() == set()


async def test_tags(world: SlidingWorld) -> None:
    one, two, three = [await world.create_room(ALICE) for _ in range(3)]
    await world.account_data.put_tag(ALICE, one, "m.favourite", {})
    await world.account_data.put_tag(ALICE, two, "m.lowpriority", {})
    favourites = Client(world, tags=["m.favourite", "u.x"])
    rest = Client(world, not_tags=["m.lowpriority"])
    assert (await favourites.look(), await rest.look()) == ({one}, {one, three})
    await world.account_data.put_tag(ALICE, three, "u.x", {})
    await world.account_data.delete_tag(ALICE, two, "m.lowpriority")
    assert (await favourites.look(), await rest.look()) == ({one, three}, {one, two, three})
    assert await Client(world, tags=["u.x"], not_tags=["u.x"]).look() == set()


async def test_rooms_of_spaces(world: SlidingWorld) -> None:
    space, child, other = [await world.create_room(ALICE) for _ in range(3)]
    foreign = await world.create_room(BOB)
    await world.send(ALICE, space, "m.space.child", {"via": ["here.example"]}, state_key=child)
    await world.send(BOB, foreign, "m.space.child", {"via": ["here.example"]}, state_key=other)
    rooms = Client(world, spaces=[space, foreign, "!nowhere"])
    assert await rooms.look() == {child}
    await world.send(ALICE, space, "m.space.child", {"via": ["here.example"]}, state_key=other)
    await world.send(ALICE, space, "m.space.child", {}, state_key=child)
    assert await rooms.look() == {other}


async def test_room_types(world: SlidingWorld) -> None:
    room_id = await world.create_room(ALICE)
    space = await world.create_space(ALICE)
    assert await Client(world, room_types=["m.space"]).look() == {space}
    assert await Client(world, room_types=[None]).look() == {room_id}
    assert await Client(world, not_room_types=["m.space"]).look() == {room_id}
    assert await Client(world, not_room_types=[None]).look() == {space}
    assert await Client(world, room_types=["m.space"], not_room_types=["m.space"]).look() == set()
    assert await Client(world, room_types=[]).look() == set()


async def test_names(world: SlidingWorld) -> None:
    one, two = await world.create_room(ALICE), await world.create_room(ALICE)
    await world.send(ALICE, one, "m.room.name", {"name": "The FOO room"}, state_key="")
    rooms = Client(world, room_name_like="foo")
    assert await rooms.look() == {one}
    await world.send(ALICE, two, "m.room.name", {"name": "food"}, state_key="")
    await world.send(ALICE, one, "m.room.name", {"name": "bar"}, state_key="")
    assert await rooms.look() == {two}


async def test_lists_overlap_and_add_up(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(3)]
    for room_id in rooms:
        for _ in range(3):
            await world.send(ALICE, room_id)
    body: dict[str, Any] = {
        "lists": {
            "top": {"ranges": [[0, 0]], "timeline_limit": 3, "required_state": [["m.room.create", ""]]},
            "all": {"ranges": [[0, 99]], "timeline_limit": 1, "required_state": [["m.room.join_rules", ""]]},
        }
    }
    answer = await world.slide(ALICE, body)
    top = answer["rooms"][rooms[2]]
    assert top["lists"] == ["top", "all"]
    assert len(top["timeline"]) == 3
    assert {event["type"] for event in top["required_state"]} == {"m.room.create", "m.room.join_rules"}
    assert len(answer["rooms"][rooms[0]]["timeline"]) == 1
    await world.send(ALICE, rooms[0])
    answer = await world.slide(ALICE, body, pos=answer["pos"])
    risen = answer["rooms"][rooms[0]]
    assert risen["unstable_expanded_timeline"] is True
    assert (len(risen["timeline"]), risen["num_live"]) == (3, 1)
    assert {event["type"] for event in risen["required_state"]} == {"m.room.create"}


async def test_windows_in_the_middle_get_what_is_pushed_into_them(world: SlidingWorld) -> None:
    rooms = [await world.create_room(ALICE) for _ in range(4)]
    body = {"lists": {"l": {"ranges": [[2, 2]], "timeline_limit": 1}}}
    answer = await world.slide(ALICE, body)
    assert set(answer["rooms"]) == {rooms[1]}
    await world.send(ALICE, rooms[0])
    answer = await world.slide(ALICE, body, pos=answer["pos"])
    assert set(answer["rooms"]) == {rooms[2]}
