"""Keys: uploaded, asked for, claimed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.errors import BadJson, Forbidden, InvalidParam
from homeserver.runtime.bus import Bus
from storage.database import Database, Write
from tests.conftest import MakeDatabase
from tests.services.keys_world import THERE, Identity, KeysWorld, device_keys, one_time_key
from tests.services.sync_world import user

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")
ZOE = f"@zoe:{THERE}"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[KeysWorld]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = KeysWorld(db, bus)
    await world.add_device(ALICE)
    await world.add_device(BOB)
    yield world
    await world.close()
    await db.close()


# --- uploading


async def test_uploaded_keys_come_back_as_they_were_with_the_name_of_the_device(world: KeysWorld) -> None:
    await world.add_device(ALICE, "PHONE", "Alice's phone")
    await world.upload(ALICE, "PHONE")
    answer = await world.queries.query(BOB, {ALICE: []}, 1000)
    assert answer["failures"] == {}
    keys = answer["device_keys"][ALICE]["PHONE"]
    assert keys == device_keys(ALICE, "PHONE") | {"unsigned": {"device_display_name": "Alice's phone"}}


async def test_who_has_no_keys_is_in_the_answer_with_none(world: KeysWorld) -> None:
    assert (await world.queries.query(ALICE, {BOB: ()}, 1000))["device_keys"] == {BOB: {}}


async def test_only_the_devices_that_were_asked_for_are_in_the_answer(world: KeysWorld) -> None:
    await world.add_device(ALICE, "PHONE")
    await world.upload(ALICE)
    await world.upload(ALICE, "PHONE")
    answer = await world.queries.query(BOB, {ALICE: ["PHONE", "NONE"], CAROL: []}, 1000)
    assert list(answer["device_keys"][ALICE]) == ["PHONE"]
    assert answer["device_keys"][CAROL] == {}


async def test_the_counts_say_how_many_one_time_keys_are_left(world: KeysWorld) -> None:
    assert await world.upload(ALICE, "DEVICE", "A", "B") == {"signed_curve25519": 2}
    assert await world.device_keys.upload(ALICE, "DEVICE", {}) == {"signed_curve25519": 2}
    assert await world.upload(BOB) == {"signed_curve25519": 0}


@pytest.mark.parametrize(("name", "value"), [("user_id", BOB), ("device_id", "OTHER")])
async def test_keys_of_somebody_else_are_refused(world: KeysWorld, name: str, value: str) -> None:
    keys = device_keys(ALICE, "DEVICE") | {name: value}
    with pytest.raises(InvalidParam):
        await world.upload(ALICE, device_keys=keys)


async def test_keys_without_a_device_are_refused(world: KeysWorld) -> None:
    with pytest.raises(InvalidParam):
        await world.device_keys.upload(ALICE, None, {"one_time_keys": {}})


async def test_fractions_in_keys_are_refused(world: KeysWorld) -> None:
    with pytest.raises(BadJson):
        await world.upload(ALICE, device_keys=device_keys(ALICE, "DEVICE") | {"extra": 0.5})


async def test_the_same_upload_twice_is_one(world: KeysWorld) -> None:
    await world.upload(ALICE, "DEVICE", "A", "B")
    before = world.db.position
    assert await world.upload(ALICE, "DEVICE", "A", "B") == {"signed_curve25519": 2}
    assert await world.lists.between(before, world.db.position) == []


async def test_another_key_under_the_same_id_is_refused_and_nothing_of_the_upload_kept(world: KeysWorld) -> None:
    await world.upload(ALICE, "DEVICE", "A")
    keys = {"signed_curve25519:B": one_time_key("B"), "signed_curve25519:A": one_time_key("not A")}
    with pytest.raises(InvalidParam):
        await world.upload(ALICE, one_time_keys=keys)
    assert await world.upload(ALICE) == {"signed_curve25519": 1}


async def test_the_same_key_signed_anew_is_the_same_key(world: KeysWorld) -> None:
    await world.upload(ALICE, "DEVICE", "A")
    key = {"key": "A", "signatures": {ALICE: {"ed25519:DEVICE": "other"}}}
    assert await world.upload(ALICE, one_time_keys={"signed_curve25519:A": key}) == {"signed_curve25519": 1}


@pytest.mark.parametrize("name", ["A", ":A", "signed_curve25519:", "x" * 300 + ":A"])
async def test_keys_have_to_be_named_after_their_algorithm(world: KeysWorld, name: str) -> None:
    with pytest.raises(InvalidParam):
        await world.upload(ALICE, one_time_keys={name: one_time_key("A")})


async def test_a_device_cannot_be_named_as_a_cross_signing_key(world: KeysWorld) -> None:
    identity = Identity(ALICE)
    await world.cross_signing.upload(ALICE, identity.body, is_proven=False)
    name = identity.name("master")
    await world.add_device(ALICE, name)
    with pytest.raises(Forbidden):
        await world.upload(ALICE, name)


# --- claiming


async def test_the_oldest_key_is_claimed_first_and_each_only_once(world: KeysWorld) -> None:
    await world.upload(ALICE, "DEVICE", "Z")
    await world.upload(ALICE, "DEVICE", "A")
    wanted = {ALICE: {"DEVICE": "signed_curve25519"}}
    found = [await world.claims.claim_local(wanted) for _ in range(3)]
    names = [list(claimed[ALICE]["DEVICE"]) for claimed in found[:2]]
    assert names == [["signed_curve25519:Z"], ["signed_curve25519:A"]]
    assert found[0][ALICE]["DEVICE"]["signed_curve25519:Z"] == one_time_key("Z")
    assert found[2] == {}


async def test_claims_at_the_same_time_get_different_keys(world: KeysWorld) -> None:
    ids = [f"K{number}" for number in range(20)]
    await world.upload(ALICE, "DEVICE", *ids)
    wanted = {ALICE: {"DEVICE": "signed_curve25519"}}
    claims = await asyncio.gather(*(world.claims.claim(wanted, 1000) for _ in range(25)))
    names = [name for claimed, _ in claims for name in claimed.get(ALICE, {}).get("DEVICE", {})]
    assert sorted(names) == sorted(f"signed_curve25519:{key_id}" for key_id in ids)


async def test_two_processes_never_hand_out_the_same_key(make_database: MakeDatabase) -> None:
    url = make_database()
    databases = [await Database.open(url, bus=Bus(), is_shared=True) for _ in range(2)]
    worlds = [KeysWorld(db, db.bus) for db in databases]
    await worlds[0].add_device(ALICE)
    await worlds[0].upload(ALICE, "DEVICE", *(f"K{number}" for number in range(30)))
    wanted = {ALICE: {"DEVICE": "signed_curve25519"}}
    claims = await asyncio.gather(*(worlds[n % 2].claims.claim_local(wanted) for n in range(30)))
    names = [name for claimed in claims for name in claimed.get(ALICE, {}).get("DEVICE", {})]
    assert len(names) == len(set(names)) == 30
    for world in worlds:
        await world.close()
        await world.db.close()


async def test_the_fallback_key_is_given_when_no_other_is_left_and_counts_as_used(world: KeysWorld) -> None:
    fallback = {"signed_curve25519:F": one_time_key("F") | {"fallback": True}}
    await world.upload(ALICE, "DEVICE", "A", fallback_keys=fallback)
    assert await world.counts.unused_fallback(ALICE, "DEVICE") == ["signed_curve25519"]
    wanted = {ALICE: {"DEVICE": "signed_curve25519"}}
    found = [await world.claims.claim_local(wanted) for _ in range(3)]
    assert [next(iter(claimed[ALICE]["DEVICE"]))[-1] for claimed in found] == ["A", "F", "F"]
    assert await world.counts.unused_fallback(ALICE, "DEVICE") == []
    await world.upload(ALICE, fallback_keys=fallback)
    assert await world.counts.unused_fallback(ALICE, "DEVICE") == [], "the same key again is as used as before"
    await world.upload(ALICE, fallback_keys={"signed_curve25519:G": one_time_key("G")})
    assert await world.counts.unused_fallback(ALICE, "DEVICE") == ["signed_curve25519"]


async def test_two_fallback_keys_of_an_algorithm_are_refused(world: KeysWorld) -> None:
    with pytest.raises(InvalidParam):
        await world.upload(ALICE, fallback_keys={"a:F": one_time_key("F"), "a:G": one_time_key("G")})


async def test_counts_are_right_after_every_claim(world: KeysWorld) -> None:
    await world.upload(ALICE, "DEVICE", "A", "B")
    assert await world.counts.counts(ALICE, "DEVICE") == {"signed_curve25519": 2}
    await world.claims.claim_local({ALICE: {"DEVICE": "signed_curve25519"}})
    assert await world.counts.counts(ALICE, "DEVICE") == {"signed_curve25519": 1}
    assert (await world.sync(ALICE))["device_one_time_keys_count"] == {"signed_curve25519": 1}


async def test_whoever_is_no_user_is_refused(world: KeysWorld) -> None:
    with pytest.raises(InvalidParam):
        await world.claims.claim({"alice": {"DEVICE": "signed_curve25519"}}, 1000)
    with pytest.raises(InvalidParam):
        await world.queries.query(ALICE, {"alice": []}, 1000)


# --- changes


async def test_those_who_share_a_room_hear_of_new_keys(world: KeysWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await world.add_device(CAROL)
    tokens = {user_id: (await world.sync(user_id))["next_batch"] for user_id in (ALICE, BOB, CAROL)}
    await world.upload(ALICE)
    assert (await world.sync(BOB, tokens[BOB]))["device_lists"] == {"changed": [ALICE]}
    assert (await world.sync(ALICE, tokens[ALICE]))["device_lists"] == {"changed": [ALICE]}
    assert "device_lists" not in await world.sync(CAROL, tokens[CAROL])


async def test_a_waiting_sync_is_woken_by_new_keys(world: KeysWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    token = (await world.sync(BOB))["next_batch"]
    waiting = asyncio.ensure_future(world.sync(BOB, token, timeout_ms=60_000))
    while not world.notifier.is_waiting(BOB):
        await asyncio.sleep(0)
    await world.upload(ALICE)
    assert (await waiting)["device_lists"] == {"changed": [ALICE]}


async def test_changes_between_tokens_name_who_changed_came_and_left(world: KeysWorld) -> None:
    room_id = await world.create_room(ALICE)
    other_id = await world.create_room(ALICE)
    for person in (BOB, CAROL):
        await world.join(person, room_id)
    await world.join(user("dora"), other_id)
    before = world.db.position
    await world.upload(BOB)
    await world.member(CAROL, room_id, CAROL, "leave")
    await world.join(user("erik"), room_id)
    changed, left = await world.lists.changed_for(ALICE, before, world.db.position)
    assert (changed, left) == ([BOB, user("erik")], [CAROL])
    changed, left = await world.lists.changed_for(CAROL, before, world.db.position)
    assert (changed, left) == ([], [ALICE, BOB, user("erik")])
    assert await world.lists.changed_for(ALICE, world.db.position, world.db.position) == ([], [])


async def test_a_device_that_is_forgotten_leaves_nothing_behind(world: KeysWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(ZOE, room_id)
    fallback = {"signed_curve25519:F": one_time_key("F")}
    await world.upload(ALICE, "DEVICE", "A", fallback_keys=fallback)
    await world.counts.counts(ALICE, "DEVICE")
    await world.to_device.send(BOB, "DEVICE", "m.test", "1", {ALICE: {"*": {}}})
    before = world.db.position

    async def forget(tx: Write) -> None:
        await world.device_keys.forget_device(tx, ALICE, "DEVICE")

    await world.db.write(forget)
    assert (await world.queries.query(BOB, {ALICE: []}, 1000))["device_keys"].get(ALICE, {}) == {}
    assert await world.claims.claim_local({ALICE: {"DEVICE": "signed_curve25519"}}) == {}
    assert await world.counts.counts(ALICE, "DEVICE") == {"signed_curve25519": 0}
    assert await world.lists.between(before, world.db.position) == [ALICE]
    assert await world.to_device.pending(ALICE, "DEVICE", 0, world.db.position, 10) == ([], None)
    assert (await world.edus("m.device_list_update"))[-1][1]["deleted"] is True
