"""Devices of other servers' users, and what other servers are told of those here."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.core.tokens import parse_sync_token
from homeserver.errors import InvalidParam, NotFound
from homeserver.runtime.bus import Bus, Hint
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.users import SyncUsers
from storage.database import Database, Write
from storage.streams import Stream
from tests.services.keys_world import THERE, Identity, KeysWorld, device_keys, one_time_key
from tests.services.sync_world import user

ALICE, BOB = user("alice"), user("bob")
ZOE, YAN = f"@zoe:{THERE}", f"@yan:{THERE}"
Z = Identity(ZOE, 30)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[KeysWorld]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = KeysWorld(db, bus)
    await world.add_device(ALICE)
    world.others.devices[ZOE] = zoes_list(5, "ONE")
    yield world
    await world.close()
    await db.close()


def zoes_list(stream_id: int, *device_ids: str, **more: Any) -> dict[str, Any]:
    listed = [
        {"device_id": name, "keys": device_keys(ZOE, name), "device_display_name": f"Zoe's {name}"}
        for name in device_ids
    ]
    return {"user_id": ZOE, "stream_id": stream_id, "devices": listed, **more}


def update(stream_id: int, *previous: int, device_id: str = "TWO", **more: Any) -> dict[str, Any]:
    content = {"user_id": ZOE, "device_id": device_id, "stream_id": stream_id, "prev_id": list(previous)}
    return content | {"keys": device_keys(ZOE, device_id)} | more


async def share_a_room(world: KeysWorld) -> str:
    room_id = await world.create_room(ALICE)
    await world.join(ZOE, room_id)
    await announced(world)
    return room_id


async def announced(world: KeysWorld) -> None:
    """Servers that came to share a room have been told of the devices of its users."""
    await asyncio.gather(*(task for task in world.tasks._tasks if "announce devices" in task.get_name()))


async def devices_seen(world: KeysWorld) -> list[str]:
    answer = await world.queries.query(ALICE, {ZOE: []}, 1000)
    assert answer["failures"] == {}
    return sorted(answer["device_keys"].get(ZOE, {}))


async def test_a_list_is_read_once_while_a_room_is_shared(world: KeysWorld) -> None:
    await share_a_room(world)
    for _ in range(3):
        assert await devices_seen(world) == ["ONE"]
    assert world.others.asked == [("devices", ZOE)]
    answer = await world.queries.query(ALICE, {ZOE: []}, 1000)
    assert answer["device_keys"][ZOE]["ONE"]["unsigned"] == {"device_display_name": "Zoe's ONE"}


async def test_without_a_room_every_query_is_passed_on(world: KeysWorld) -> None:
    world.others.keys[THERE] = {
        "device_keys": {ZOE: {"ONE": device_keys(ZOE, "ONE"), "BAD": device_keys(YAN, "BAD")}, ALICE: {"X": {}}},
        "master_keys": {ZOE: Z.key("master"), YAN: Z.key("master")},
        "user_signing_keys": {ZOE: Z.key("user_signing")},
    }
    for _ in range(2):
        answer = await world.queries.query(ALICE, {ZOE: [], YAN: []}, 1000)
        assert answer["device_keys"] == {ZOE: {"ONE": device_keys(ZOE, "ONE")}}, "only what was asked for, well-formed"
        assert answer["master_keys"] == {ZOE: Z.key("master")}
        assert "user_signing_keys" not in answer
    assert world.others.asked == [("query", [YAN, ZOE])] * 2


async def test_a_server_that_is_down_is_a_failure_and_hides_nothing_else(world: KeysWorld) -> None:
    await world.upload(ALICE)
    answer = await world.queries.query(ALICE, {YAN: [], ALICE: []}, 1000)
    assert list(answer["failures"]) == [THERE]
    assert list(answer["device_keys"]) == [ALICE]


async def test_updates_are_applied_one_after_the_other(world: KeysWorld) -> None:
    await share_a_room(world)
    await devices_seen(world)
    await world.remote_lists.receive(THERE, update(6, 5))
    assert await devices_seen(world) == ["ONE", "TWO"]
    await world.remote_lists.receive(THERE, update(7, 6, device_id="ONE", deleted=True))
    assert await devices_seen(world) == ["TWO"]
    assert world.others.asked == [("devices", ZOE)]


@pytest.mark.parametrize("content", [update(9, 8), update(9), update(3, 2)])
async def test_an_update_after_one_that_was_missed_has_the_list_read_anew(
    world: KeysWorld, content: dict[str, Any]
) -> None:
    await share_a_room(world)
    await devices_seen(world)
    world.others.devices[ZOE] = zoes_list(9, "ONE", "TWO", "THREE")
    await world.remote_lists.receive(THERE, content)
    assert await devices_seen(world) == ["ONE", "THREE", "TWO"]
    await world.remote_lists.receive(THERE, update(10, 9, device_id="FOUR"))
    assert await devices_seen(world) == ["FOUR", "ONE", "THREE", "TWO"]


async def test_an_update_that_came_already_changes_nothing(world: KeysWorld) -> None:
    await share_a_room(world)
    await devices_seen(world)
    await world.remote_lists.receive(THERE, update(6, 5))
    before = world.db.position
    await world.remote_lists.receive(THERE, update(6, 5))
    assert await world.lists.between(before, world.db.position) == []


async def test_an_update_that_arrives_while_the_list_is_read_is_not_lost(world: KeysWorld) -> None:
    await share_a_room(world)

    async def meanwhile() -> None:
        await world.remote_lists.receive(THERE, update(6, 5))

    world.others.before = meanwhile
    await devices_seen(world)
    world.others.devices[ZOE] = zoes_list(6, "ONE", "TWO")
    assert await devices_seen(world) == ["ONE", "TWO"]


async def test_a_list_is_not_trusted_after_its_user_was_away(world: KeysWorld) -> None:
    room_id = await share_a_room(world)
    await devices_seen(world)
    await world.member(ZOE, room_id, ZOE, "leave")
    await world.remote_lists.receive(THERE, update(6, 5))
    await world.join(ZOE, room_id)
    world.others.devices[ZOE] = zoes_list(7, "SEVEN")
    assert await devices_seen(world) == ["SEVEN"]


async def test_lists_are_not_trusted_after_this_server_was_away(world: KeysWorld) -> None:
    room_id = await share_a_room(world)
    assert await devices_seen(world) == ["ONE"]
    await world.member(ALICE, room_id, ALICE, "leave")
    world.others.keys[THERE] = {"device_keys": {ZOE: {"TWO": device_keys(ZOE, "TWO")}}}
    assert await devices_seen(world) == ["TWO"], "nobody tells of changes any more, so every query is passed on"
    await world.join(ALICE, room_id)
    world.others.devices[ZOE] = zoes_list(6, "ONE", "TWO")
    assert await devices_seen(world) == ["ONE", "TWO"]


async def test_those_who_share_a_room_hear_of_updates_and_others_do_not(world: KeysWorld) -> None:
    await world.add_device(BOB)
    await share_a_room(world)
    tokens = {person: (await world.sync(person))["next_batch"] for person in (ALICE, BOB)}
    await world.remote_lists.receive(THERE, update(6, 5))
    assert (await world.sync(ALICE, tokens[ALICE]))["device_lists"] == {"changed": [ZOE]}
    assert "device_lists" not in await world.sync(BOB, tokens[BOB])


async def test_updates_of_strangers_are_not_kept(world: KeysWorld) -> None:
    before = world.db.position
    await world.remote_lists.receive(THERE, update(6, 5))
    await world.remote_lists.receive_signing_keys(THERE, {"user_id": ZOE, "master_key": Z.key("master")})
    assert await world.lists.between(before, world.db.position) == []


async def test_new_signing_keys_are_taken_over(world: KeysWorld) -> None:
    await share_a_room(world)
    world.others.devices[ZOE] = zoes_list(5, "ONE", master_key=Z.key("master"))
    answer = await world.queries.query(ALICE, {ZOE: []}, 1000)
    assert answer["master_keys"] == {ZOE: Z.key("master")}
    new = Identity(ZOE, 40)
    content = {"user_id": ZOE, "master_key": new.key("master"), "self_signing_key": {"user_id": ALICE}}
    await world.remote_lists.receive_signing_keys(THERE, content)
    answer = await world.queries.query(ALICE, {ZOE: []}, 1000)
    assert answer["master_keys"] == {ZOE: new.key("master")}
    assert "self_signing_keys" not in answer


async def test_a_user_of_another_server_can_be_signed(world: KeysWorld) -> None:
    alice = Identity(ALICE)
    await share_a_room(world)
    world.others.devices[ZOE] = zoes_list(5, "ONE", master_key=Z.key("master"))
    await world.cross_signing.upload(ALICE, alice.body, is_proven=False)
    body = {ZOE: {Z.name("master"): alice.sign("user_signing", Z.key("master"))}}
    assert await world.signatures.upload(ALICE, body) == {}
    seen = (await world.queries.query(ALICE, {ZOE: []}, 1000))["master_keys"][ZOE]
    assert list(seen["signatures"]) == [ALICE]


async def test_malformed_lists_are_failures_or_left_out(world: KeysWorld) -> None:
    await share_a_room(world)
    for answer in ({}, {"stream_id": "5", "devices": []}, {"stream_id": 5, "devices": {}}):
        world.others.devices[ZOE] = answer
        assert list((await world.queries.query(ALICE, {ZOE: []}, 1000))["failures"]) == [THERE]
    bad = [5, {"device_id": 1}, {"device_id": "A", "keys": device_keys(ZOE, "B")}, {"device_id": "C", "keys": 1}]
    world.others.devices[ZOE] = {"stream_id": 5, "devices": bad, "master_key": {"user_id": ALICE}}
    assert await devices_seen(world) == []


@pytest.mark.parametrize(
    "change", [{"stream_id": "6"}, {"prev_id": 5}, {"prev_id": ["5"]}, {"stream_id": None}, {"stream_id": True}]
)
async def test_malformed_updates_are_dropped(world: KeysWorld, change: dict[str, Any]) -> None:
    await share_a_room(world)
    before = world.db.position
    await world.remote_lists.receive(THERE, update(6, 5) | change)
    assert world.db.position == before


async def test_many_users_of_a_server_are_asked_for_at_once_and_read_later(world: KeysWorld) -> None:
    room_id = await share_a_room(world)
    crowd = [f"@user{number}:{THERE}" for number in range(15)]
    for person in crowd:
        await world.join(person, room_id)
        keys = device_keys(person, "D")
        world.others.devices[person] = {"stream_id": 1, "devices": [{"device_id": "D", "keys": keys}]}
    world.others.keys[THERE] = {"device_keys": {person: {"D": device_keys(person, "D")} for person in crowd}}
    answer = await world.queries.query(ALICE, {person: [] for person in crowd}, 1000)
    assert sorted(answer["device_keys"]) == sorted(crowd)
    while world.remote_lists._is_reading:
        await world.db.write(_nothing)
    assert await world.remote_lists.current(crowd) == set(crowd)


async def _nothing(tx: Write) -> None:
    return None


async def test_keys_are_claimed_of_other_servers(world: KeysWorld) -> None:
    await world.upload(ALICE, "DEVICE", "A")
    name = "signed_curve25519:Z"
    world.others.claims[THERE] = {
        "one_time_keys": {ZOE: {"ONE": {name: one_time_key("Z")}, "UNASKED": {}}, ALICE: {"DEVICE": {"x:y": "z"}}}
    }
    wanted = {ZOE: {"ONE": "signed_curve25519"}, ALICE: {"DEVICE": "signed_curve25519"}, "@x:down.example": {"D": "a"}}
    world.others.claims["down.example"] = None  # type: ignore[assignment]
    claimed, failures = await world.claims.claim(wanted, 1000)
    assert claimed[ZOE] == {"ONE": {name: one_time_key("Z")}}
    assert list(claimed[ALICE]["DEVICE"]) == ["signed_curve25519:A"]
    assert list(failures) == ["down.example"]


# --- what other servers are told


async def test_updates_for_other_servers_form_a_chain(world: KeysWorld) -> None:
    await world.upload(ALICE)
    await share_a_room(world)
    served = await world.local_keys.devices(ALICE)
    await world.add_device(ALICE, "PHONE", "Alice's phone")
    await world.upload(ALICE, "PHONE")
    await world.upload(ALICE, device_keys=device_keys(ALICE, "DEVICE", seed=2))
    ((first_to, first), (_, second)) = await world.edus("m.device_list_update")
    assert first_to == THERE
    assert first["prev_id"] == [served["stream_id"]]
    assert second["prev_id"] == [first["stream_id"]]
    assert first["keys"] == device_keys(ALICE, "PHONE")
    assert first["device_display_name"] == "Alice's phone"
    assert (await world.local_keys.devices(ALICE))["stream_id"] == second["stream_id"]


async def test_updates_of_one_batch_form_a_chain_and_undone_ones_leave_no_gap(world: KeysWorld) -> None:
    await share_a_room(world)
    await world.upload(ALICE)

    async def change(tx: Write) -> None:
        await world.lists.changed(tx, ALICE, ["DEVICE"])

    async def fail(tx: Write) -> None:
        await world.lists.changed(tx, ALICE, ["DEVICE"])
        raise ZeroDivisionError

    await asyncio.gather(*(world.db.write(op) for op in (change, fail, change, change)), return_exceptions=True)
    found = [content for _, content in await world.edus("m.device_list_update")]
    assert [content["prev_id"] for content in found] == [[]] + [[c["stream_id"]] for c in found[:-1]]
    assert len(found) == 4


async def test_other_servers_see_no_names_and_only_users_of_this_server(world: KeysWorld) -> None:
    await world.add_device(ALICE, "PHONE", "Alice's phone")
    await world.upload(ALICE, "PHONE", "A")
    served = await world.local_keys.devices(ALICE)
    assert served["devices"] == [{"device_id": "PHONE", "keys": device_keys(ALICE, "PHONE")}]
    answer = await world.local_keys.query({ALICE: ["PHONE"], ZOE: [], "nobody": []})
    assert answer == {"device_keys": {ALICE: {"PHONE": device_keys(ALICE, "PHONE") | {"unsigned": {}}}}}
    wanted = {ALICE: {"PHONE": "signed_curve25519"}, ZOE: {"ONE": "signed_curve25519"}}
    claimed = await world.local_keys.claim(wanted)
    assert claimed == {"one_time_keys": {ALICE: {"PHONE": {"signed_curve25519:A": one_time_key("A")}}}}
    with pytest.raises(NotFound):
        await world.local_keys.devices(user("nobody"))
    with pytest.raises(InvalidParam):
        await world.local_keys.devices(ZOE)


async def test_servers_that_see_a_user_for_the_first_time_are_told_once(world: KeysWorld) -> None:
    await world.add_device(BOB)
    await world.upload(BOB)
    rooms = [await share_a_room(world) for _ in range(2)]
    for room_id in rooms:
        await world.join(BOB, room_id)
        await announced(world)
    ((destination, content),) = await world.edus("m.device_list_update")
    assert (destination, content["user_id"], content["prev_id"]) == (THERE, BOB, [])
    assert content["stream_id"] == (await world.local_keys.devices(BOB))["stream_id"]


async def test_a_join_through_another_server_is_announced_and_so_are_devices_without_keys(world: KeysWorld) -> None:
    await world.add_device(BOB)
    room_id = await share_a_room(world)
    joined = await world.events.get(await world.member(BOB, room_id, BOB, "join"))
    assert joined is not None
    await announced(world)
    joined.is_local = False
    world.announce._on_hints([Hint(Stream.EVENTS, joined.position or 0, (room_id,), joined)])
    await announced(world)
    first, second = await world.edus("m.device_list_update")
    assert first == second
    assert first == (THERE, {"user_id": BOB, "device_id": "DEVICE", "stream_id": 0, "prev_id": []})


async def test_old_changes_are_forgotten_but_the_newest_of_each_user(world: KeysWorld) -> None:
    await world.upload(ALICE)
    before = world.db.position
    await world.upload(ALICE, device_keys=device_keys(ALICE, "DEVICE", seed=2))
    await world.lists.forget_old()
    assert await world.lists.between(0, before) == []
    assert await world.lists.between(before, world.db.position) == [ALICE]


async def test_a_device_without_keys_is_no_news_of_who_nobody_asked_for(world: KeysWorld) -> None:
    await share_a_room(world)
    token = (await world.sync(ALICE))["next_batch"]
    content = {"user_id": ZOE, "device_id": "TWO", "stream_id": 6, "prev_id": []}
    await world.remote_lists.receive(THERE, content)
    assert "device_lists" not in await world.sync(ALICE, token)
    await world.remote_lists.receive(THERE, update(7))
    assert (await world.sync(ALICE, token))["device_lists"] == {"changed": [ZOE]}


async def test_a_process_that_has_just_started_tells_of_devices_that_changed_since(world: KeysWorld) -> None:
    await share_a_room(world)
    token = (await world.sync(ALICE))["next_batch"]
    await world.remote_lists.receive(THERE, update(6))
    heads = RoomHeads(world.db)
    users = SyncUsers(world.db, world.notifier, world.events, world.tasks)
    lists = DeviceLists(world.notifier, users, heads, world.lists)
    since = parse_sync_token(token).position
    alice = await users.get(ALICE, since)
    assert await lists.changed(alice, since, world.db.position, [], []) == {"changed": [ZOE]}
