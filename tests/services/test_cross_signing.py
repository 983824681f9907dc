"""Cross-signing keys, and the signatures that users make with them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.core.signatures import generate_signing_key, sign_json
from homeserver.errors import Forbidden, InvalidParam, InvalidSignature, MissingParam
from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.keys_world import THERE, Identity, KeysWorld, device_keys
from tests.services.sync_world import user

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")
ZOE = f"@zoe:{THERE}"
A, B = Identity(ALICE, 10), Identity(BOB, 20)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[KeysWorld]:
    bus = Bus()
    db = await Database.open(database_url, bus=bus)
    world = KeysWorld(db, bus)
    for person in (ALICE, BOB, CAROL):
        await world.add_device(person)
        await world.upload(person)
    yield world
    await world.close()
    await db.close()


async def publish(world: KeysWorld, identity: Identity, *, is_proven: bool = False, **body: Any) -> None:
    await world.cross_signing.upload(identity.user_id, body or identity.body, is_proven=is_proven)


def signatures_of(key: dict[str, Any]) -> dict[str, list[str]]:
    return {signer: sorted(keys) for signer, keys in key.get("signatures", {}).items()}


# --- keys


async def test_everybody_sees_the_keys_but_the_user_signing_key_is_the_owners(world: KeysWorld) -> None:
    await publish(world, A)
    own = await world.queries.query(ALICE, {ALICE: []}, 1000)
    others = await world.queries.query(BOB, {ALICE: []}, 1000)
    assert others["master_keys"] == {ALICE: A.key("master")}
    assert others["self_signing_keys"] == {ALICE: A.key("self_signing")}
    assert "user_signing_keys" not in others
    assert own["user_signing_keys"] == {ALICE: A.key("user_signing")}
    assert own["master_keys"] == others["master_keys"]


async def test_the_first_keys_and_the_same_again_need_no_proof(world: KeysWorld) -> None:
    assert not await world.cross_signing.needs_proof(ALICE, A.body)
    await publish(world, A)
    assert not await world.cross_signing.needs_proof(ALICE, A.body)
    assert not await world.cross_signing.needs_proof(ALICE, {"master_key": A.key("master")})
    before = world.db.position
    await publish(world, A)
    assert await world.lists.between(before, world.db.position) == []


async def test_other_keys_need_proof(world: KeysWorld) -> None:
    await publish(world, A)
    other = Identity(ALICE, 50)
    assert await world.cross_signing.needs_proof(ALICE, other.body)
    with pytest.raises(Forbidden):
        await publish(world, other)
    await publish(world, other, is_proven=True)
    answer = await world.queries.query(ALICE, {ALICE: []}, 1000)
    assert answer["master_keys"][ALICE] == other.key("master")


async def test_a_new_self_signing_key_beside_the_old_master_key_needs_proof(world: KeysWorld) -> None:
    await publish(world, A, master_key=A.key("master"))
    assert await world.cross_signing.needs_proof(ALICE, {"self_signing_key": A.key("self_signing")})


async def test_what_the_old_master_key_signed_goes_with_it(world: KeysWorld) -> None:
    await publish(world, A)
    await publish(world, A, is_proven=True, master_key=Identity(ALICE, 50).key("master"))
    answer = await world.queries.query(ALICE, {ALICE: []}, 1000)
    assert "self_signing_keys" not in answer
    assert "user_signing_keys" not in answer


async def test_keys_that_the_master_key_has_not_signed_are_refused(world: KeysWorld) -> None:
    with pytest.raises(InvalidSignature):
        await publish(world, A, master_key=A.key("master"), self_signing_key=Identity(ALICE, 50).key("self_signing"))
    with pytest.raises(MissingParam):
        await publish(world, A, self_signing_key=A.key("self_signing"))
    await publish(world, A, master_key=A.key("master"))
    await publish(world, A, is_proven=True, self_signing_key=A.key("self_signing"))


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": BOB},
        {"usage": ["self_signing"]},
        {"usage": []},
        {"keys": {}},
        {"keys": {"ed25519:a": "a"}},
        {"keys": {**A.key("master")["keys"], **B.key("master")["keys"]}},
        {"keys": {"ed25519:other": A.name("master")}},
    ],
)
async def test_malformed_keys_are_refused(world: KeysWorld, change: dict[str, Any]) -> None:
    body = {"master_key": A.key("master") | change}
    with pytest.raises(InvalidParam):
        await world.cross_signing.needs_proof(ALICE, body)
    with pytest.raises(InvalidParam):
        await publish(world, A, **body)


async def test_a_key_cannot_be_named_as_a_device(world: KeysWorld) -> None:
    await world.add_device(ALICE, A.name("master"))
    with pytest.raises(Forbidden):
        await publish(world, A)


async def test_those_who_share_a_room_hear_of_new_keys(world: KeysWorld) -> None:
    room_id = await world.create_room(ALICE)
    for person in (BOB, ZOE):
        await world.join(person, room_id)
    token = (await world.sync(BOB))["next_batch"]
    await publish(world, A)
    assert (await world.sync(BOB, token))["device_lists"] == {"changed": [ALICE]}
    assert await world.edus("m.signing_key_update") == [
        (THERE, {"user_id": ALICE, "master_key": A.key("master"), "self_signing_key": A.key("self_signing")})
    ]


# --- signatures


def signed_device(user_id: str, identity: Identity) -> dict[str, Any]:
    return identity.sign("self_signing", device_keys(user_id, "DEVICE"))


async def test_everybody_sees_that_a_user_signed_their_device(world: KeysWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(ZOE, room_id)
    await publish(world, A)
    body = {ALICE: {"DEVICE": signed_device(ALICE, A)}}
    assert await world.signatures.upload(ALICE, body) == {}
    expected = {ALICE: sorted(["ed25519:DEVICE", A.key_id("self_signing")])}
    seen = (await world.queries.query(BOB, {ALICE: []}, 1000))["device_keys"][ALICE]["DEVICE"]
    assert signatures_of(seen) == expected
    served = await world.local_keys.query({ALICE: []})
    assert signatures_of(served["device_keys"][ALICE]["DEVICE"]) == expected
    assert signatures_of((await world.edus("m.device_list_update"))[-1][1]["keys"]) == expected


async def test_signing_twice_changes_nothing(world: KeysWorld) -> None:
    await publish(world, A)
    body = {ALICE: {"DEVICE": signed_device(ALICE, A)}}
    await world.signatures.upload(ALICE, body)
    before = world.db.position
    assert await world.signatures.upload(ALICE, body) == {}
    assert await world.lists.between(before, world.db.position) == []


async def test_a_device_signs_the_master_key_of_its_user(world: KeysWorld) -> None:
    await publish(world, A)
    key = sign_json(A.key("master"), ALICE, generate_signing_key("DEVICE", bytes([1]) * 32))
    assert await world.signatures.upload(ALICE, {ALICE: {A.name("master"): key}}) == {}
    seen = (await world.queries.query(BOB, {ALICE: []}, 1000))["master_keys"][ALICE]
    assert signatures_of(seen) == {ALICE: ["ed25519:DEVICE"]}


async def test_only_the_signer_sees_that_they_signed_another_user(world: KeysWorld) -> None:
    room_id = await world.create_room(ALICE)
    await world.join(BOB, room_id)
    await publish(world, A)
    await publish(world, B)
    token = (await world.sync(ALICE))["next_batch"]
    body = {BOB: {B.name("master"): A.sign("user_signing", B.key("master"))}}
    assert await world.signatures.upload(ALICE, body) == {}
    own = await world.queries.query(ALICE, {BOB: []}, 1000)
    assert signatures_of(own["master_keys"][BOB]) == {ALICE: [A.key_id("user_signing")]}
    for person in (BOB, CAROL):
        others = await world.queries.query(person, {BOB: []}, 1000)
        assert signatures_of(others["master_keys"][BOB]) == {}
    assert signatures_of((await world.local_keys.query({BOB: []}))["master_keys"][BOB]) == {}
    assert BOB in (await world.sync(ALICE, token))["device_lists"]["changed"], "the signer's other devices must look"


async def test_signatures_hidden_in_an_upload_are_not_shown_to_others(world: KeysWorld) -> None:
    keys = device_keys(ALICE, "DEVICE")
    keys["signatures"][BOB] = {"ed25519:x": "y"}
    await world.upload(ALICE, device_keys=keys)
    for person, signers in ((CAROL, [ALICE]), (BOB, [ALICE, BOB])):
        seen = (await world.queries.query(person, {ALICE: []}, 1000))["device_keys"][ALICE]["DEVICE"]
        assert list(seen["signatures"]) == signers


async def test_bad_signatures_fail_one_by_one(world: KeysWorld) -> None:
    await publish(world, A)
    await publish(world, B)
    good = signed_device(ALICE, A)
    forged = A.sign("user_signing", B.key("master"))
    forged["signatures"][ALICE][A.key_id("user_signing")] = "A" * 86
    body = {
        ALICE: {
            "DEVICE": good,
            "NONE": good,
            A.name("master"): A.sign("self_signing", A.key("master")),
        },
        BOB: {
            B.name("master"): forged,
            "DEVICE": signed_device(BOB, B),
            B.name("self_signing"): A.sign("user_signing", B.key("self_signing")),
        },
        CAROL: {"x": 5},
    }
    failures = await world.signatures.upload(ALICE, body)
    assert {target: {name: e["errcode"] for name, e in by_name.items()} for target, by_name in failures.items()} == {
        ALICE: {"NONE": "M_NOT_FOUND", A.name("master"): "M_INVALID_SIGNATURE"},
        BOB: {
            B.name("master"): "M_INVALID_SIGNATURE",
            "DEVICE": "M_NOT_FOUND",
            B.name("self_signing"): "M_NOT_FOUND",
        },
        CAROL: {"x": "M_INVALID_PARAM"},
    }


async def test_a_signature_over_another_object_fails(world: KeysWorld) -> None:
    await publish(world, A)
    other = A.sign("self_signing", device_keys(ALICE, "DEVICE", seed=2))
    failures = await world.signatures.upload(ALICE, {ALICE: {"DEVICE": other}})
    assert failures[ALICE]["DEVICE"]["errcode"] == "M_INVALID_SIGNATURE"


async def test_signatures_go_when_the_keys_of_the_device_change(world: KeysWorld) -> None:
    await publish(world, A)
    await world.signatures.upload(ALICE, {ALICE: {"DEVICE": signed_device(ALICE, A)}})
    await world.upload(ALICE, device_keys=device_keys(ALICE, "DEVICE", seed=2))
    seen = (await world.queries.query(BOB, {ALICE: []}, 1000))["device_keys"][ALICE]["DEVICE"]
    assert signatures_of(seen) == {ALICE: ["ed25519:DEVICE"]}
