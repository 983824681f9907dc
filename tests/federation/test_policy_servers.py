"""Rooms with a policy server: its signature is asked for before sending, and wanted of what others send."""

import pytest

from federation.outbound.failures import FederationError
from federation.outbound.transport import Answer
from homeserver.core.hashes import unpadded_base64
from homeserver.core.policy import KEY_ID
from homeserver.core.signatures import generate_signing_key
from homeserver.errors import NotRecommended
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent
from tests.federation.test_receiving import make

KEY = generate_signing_key("policy_server", b"p" * 32)


async def room_with_policy(hs1: Hearth, policy: Hearth, *others: Hearth) -> str:
    """A room of hs1 whose policy server is `policy`, which signs with KEY."""
    signer = policy.writing.policy_signer
    signer._key = KEY
    room_id = await hs1.create_room("alice")
    for server in (policy, *others):
        await server.join("bob", room_id, hs1)
    content = {"via": policy.name, "public_keys": {"ed25519": unpadded_base64(bytes(KEY.verify_key))}}
    await hs1.set_state("alice", room_id, "m.room.policy", content)
    return room_id


async def test_what_a_local_user_sends_bears_the_policy_servers_signature(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await room_with_policy(hs1, hs2)
    await until(lambda: _has_policy(hs2, room_id))
    sent = await hs1.send("alice", room_id, "hello")
    stored = await hs1.event(sent)
    assert stored is not None
    assert KEY_ID in stored.event.pdu["signatures"]["hs2"]
    await until(lambda: hs2.has(sent))
    topic = await hs1.set_state("alice", room_id, "m.room.topic", {"topic": "t"})
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, "@bob:hs2")
    assert len(network.requests("/_matrix/policy/v1/sign")) == 3
    assert await hs1.has(topic)


async def test_what_the_policy_server_refuses_is_not_sent_and_the_sender_hears_what_it_said(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await room_with_policy(hs1, hs2)
    before = await hs1.extremities(room_id)

    async def refuse(sent: Sent) -> Answer | None:
        if "/policy/" in sent.target:
            return Answer(400, {}, b'{"errcode":"M_FORBIDDEN","error":"spam","org.example":1}')
        return None

    network.interferences.append(refuse)
    with pytest.raises(NotRecommended) as refused:
        await hs1.send("alice", room_id, "buy this")
    assert refused.value.body() == {"errcode": "M_FORBIDDEN", "error": "spam", "org.example": 1}
    assert await hs1.extremities(room_id) == before
    # Nobody can be kept from another policy server, or none.
    await hs1.set_state("alice", room_id, "m.room.policy", {})
    await hs1.send("alice", room_id, "hello")


async def test_events_of_others_without_the_signature_are_asked_about_and_kept_with_it(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until
) -> None:
    room_id = await room_with_policy(hs1, hs2, hs3)
    await until(lambda: _has_policy(hs2, room_id))
    await until(lambda: _has_policy(hs3, room_id))
    event = await make(hs3, room_id, "@bob:hs3")
    await hs3.say(hs1, [event.pdu])
    stored = await hs1.event(event.event_id)
    assert stored is not None
    assert stored.is_accepted
    assert KEY_ID in stored.event.pdu["signatures"]["hs2"]


@pytest.mark.parametrize("trouble", ["refused", "not reached", "signed with another key"])
async def test_events_that_the_policy_server_does_not_sign_are_soft_failed(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until, trouble: str
) -> None:
    room_id = await room_with_policy(hs1, hs2, hs3)
    await until(lambda: _has_policy(hs2, room_id))
    await until(lambda: _has_policy(hs3, room_id))
    event = await make(hs3, room_id, "@bob:hs3")
    if trouble == "signed with another key":
        hs2.writing.policy_signer._key = generate_signing_key("policy_server", b"q" * 32)

    async def refuse(sent: Sent) -> Answer | None:
        if "/policy/" in sent.target and trouble == "refused":
            return Answer(400, {}, b'{"errcode":"M_FORBIDDEN","error":"spam"}')
        if "/policy/" in sent.target and trouble == "not reached":
            raise FederationError("unreachable", "hs2", "cut")
        return None

    network.interferences.append(refuse)
    verdict = await hs1.writing.receive.receive_event("hs3", event)
    assert verdict.outcome == "soft_failed"
    assert verdict.reason.startswith("step 7")


async def test_a_policy_server_that_is_not_in_the_room_is_none(hs1: Hearth, hs2: Hearth, network: Network) -> None:
    room_id = await room_with_policy(hs1, hs2)
    await hs1.set_state("alice", room_id, "m.room.policy", {"via": "hs3", "public_keys": {"ed25519": "A" * 43}})
    await hs1.send("alice", room_id, "hello")
    await hs1.set_state("alice", room_id, "m.room.policy", {"via": "hs2"})
    await hs1.send("alice", room_id, "hello again")
    assert not network.requests("/_matrix/policy/v1/sign")


async def test_only_a_policy_server_signs_and_only_for_rooms_that_name_it(hs1: Hearth, hs2: Hearth) -> None:
    client = hs1.outside.client
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    event = await make(hs1, room_id, "@alice:hs1")
    with pytest.raises(FederationError) as refused:
        await client.ask_policy_server("hs2", event.pdu)
    assert refused.value.errcode == "M_UNRECOGNIZED"
    hs2.writing.policy_signer._key = KEY
    with pytest.raises(FederationError) as refused:
        await client.ask_policy_server("hs2", event.pdu)
    assert refused.value.errcode == "M_NOT_FOUND"


async def test_the_policy_server_signs_its_own_users_events_too(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await room_with_policy(hs1, hs2)
    await until(lambda: _has_policy(hs2, room_id))
    sent = await hs2.send("bob", room_id, "hello")
    await until(lambda: hs1.has(sent))
    stored = await hs1.event(sent)
    assert stored is not None
    assert set(stored.event.pdu["signatures"]["hs2"]) == {"ed25519:1", KEY_ID}


async def _has_policy(server: Hearth, room_id: str) -> bool:
    return ("m.room.policy", "") in await server.state(room_id)
