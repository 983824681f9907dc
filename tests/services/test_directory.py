"""Aliases and the directory of published rooms."""

import pytest

from homeserver.errors import BadAlias, Forbidden, InvalidParam, NotFound, RoomInUse
from homeserver.services.public_rooms import RoomFilter
from tests.services.spine import ALICE, BOB, CAROL, SERVER, Person, Spine

PUB = f"#pub:{SERVER}"


async def test_an_alias_leads_to_its_room(spine: Spine) -> None:
    room_id = await spine.new_room()
    await spine.directory.create(ALICE, PUB, room_id)
    assert await spine.directory.resolve(PUB) == (room_id, [SERVER])
    assert await spine.directory.aliases_of(ALICE, room_id) == [PUB]
    with pytest.raises(RoomInUse):
        await spine.directory.create(ALICE, PUB, room_id)


async def test_strangers_make_no_aliases_for_a_room(spine: Spine) -> None:
    with pytest.raises(Forbidden):
        await spine.directory.create(BOB, PUB, await spine.new_room())


@pytest.mark.parametrize("alias", ["pub", "#pub:elsewhere.example", f"#a b:{SERVER}"])
async def test_what_is_no_alias_of_this_server_is_refused(spine: Spine, alias: str) -> None:
    room_id = await spine.new_room()
    with pytest.raises(InvalidParam):
        await spine.directory.create(ALICE, alias, room_id)


async def test_an_alias_is_removed_by_its_maker_or_by_who_may_set_the_canonical_one(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB, CAROL])
    await spine.directory.create(BOB, PUB, room_id)
    with pytest.raises(Forbidden):
        await spine.directory.delete(CAROL, PUB)
    await spine.directory.delete(BOB, PUB)
    await spine.directory.create(BOB, PUB, room_id)
    await spine.directory.delete(ALICE, PUB)
    with pytest.raises(NotFound):
        await spine.directory.resolve(PUB)


async def test_a_removed_alias_is_no_longer_the_canonical_one(spine: Spine) -> None:
    room_id = await spine.new_room(room_alias_name="pub")
    await spine.directory.delete(ALICE, PUB)
    stored = await spine.state.event(room_id, "m.room.canonical_alias")
    assert stored is not None
    assert stored.event.content == {}


async def test_canonical_aliases_must_point_to_the_room(spine: Spine) -> None:
    room_id, other = await spine.new_room(room_alias_name="pub"), await spine.new_room(room_alias_name="other")
    await spine.directory.check_canonical_alias(room_id, {"alias": PUB, "alt_aliases": [PUB]})
    with pytest.raises(BadAlias):
        await spine.directory.check_canonical_alias(other, {"alias": f"#other:{SERVER}", "alt_aliases": [PUB]})
    with pytest.raises(BadAlias):
        await spine.directory.check_canonical_alias(room_id, {"alt_aliases": [f"#nothing:{SERVER}"]})
    with pytest.raises(InvalidParam):
        await spine.directory.check_canonical_alias(room_id, {"alias": "pub"})


async def test_only_who_may_name_a_room_publishes_it(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    with pytest.raises(Forbidden):
        await spine.directory.set_public(BOB, room_id, True)
    await spine.directory.set_public(ALICE, room_id, True)
    assert await spine.directory.is_public(room_id)
    with pytest.raises(NotFound):
        await spine.directory.is_public("!nothing:x")


async def test_published_rooms_are_listed_page_by_page_the_largest_first(spine: Spine) -> None:
    rooms = [
        await spine.new_room(visibility="public", name=f"Room {n}", joined=[Person(f"@{i}:{SERVER}") for i in range(n)])
        for n in (0, 2, 1, 2, 0)
    ]
    await spine.new_room(name="hidden")
    expected = [rooms[1], rooms[3], rooms[2], rooms[0], rooms[4]]
    first = await spine.public_rooms.page(2)
    second = await spine.public_rooms.page(2, first["next_batch"])
    third = await spine.public_rooms.page(2, second["next_batch"])
    assert [room["room_id"] for page in (first, second, third) for room in page["chunk"]] == expected
    assert first["total_room_count_estimate"] == 5
    assert "prev_batch" not in first
    assert "next_batch" not in third
    back = await spine.public_rooms.page(2, third["prev_batch"])
    assert back["chunk"] == second["chunk"]
    front = await spine.public_rooms.page(2, back["prev_batch"])
    assert front["chunk"] == first["chunk"]
    assert "prev_batch" not in front


async def test_a_directory_entry_says_what_the_room_is(spine: Spine) -> None:
    room_id = await spine.new_room(
        visibility="public",
        name="The pub",
        topic="Beer",
        room_alias_name="pub",
        creation_content={"type": "m.space"},
        initial_state=[
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.avatar", "content": {"url": "mxc://x/y"}},
        ],
    )
    assert (await spine.public_rooms.page(10))["chunk"] == [
        {
            "room_id": room_id,
            "num_joined_members": 1,
            "name": "The pub",
            "topic": "Beer",
            "canonical_alias": PUB,
            "avatar_url": "mxc://x/y",
            "join_rule": "public",
            "room_type": "m.space",
            "world_readable": True,
            "guest_can_join": False,
        }
    ]


async def test_the_directory_can_be_searched_and_filtered_by_type(spine: Spine) -> None:
    pub = await spine.new_room(visibility="public", name="The PUB")
    space = await spine.new_room(visibility="public", name="All", creation_content={"type": "m.space"})

    async def found(value: object) -> list[str]:
        page = await spine.public_rooms.page(10, None, RoomFilter.parse(value))
        return [room["room_id"] for room in page["chunk"]]

    assert await found({"generic_search_term": "pub"}) == [pub]
    assert await found({"room_types": ["m.space"]}) == [space]
    assert await found({"room_types": [None]}) == [pub]
    assert await found({"room_types": [None, "m.space"]}) == [pub, space]


async def test_a_token_that_is_none_is_refused(spine: Spine) -> None:
    with pytest.raises(InvalidParam):
        await spine.public_rooms.page(10, "x")
