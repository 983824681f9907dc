"""Servers that send more than there is any need for."""

from collections.abc import Mapping

import orjson
import pytest
from sqlalchemy import func, select

from federation.outbound.transport import Answer
from storage.tables import events
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent
from tests.federation.test_receiving import make, shared_room

MANY = 1_000


async def count(server: Hearth) -> int:
    async with server.base.database.read() as tx:
        return int(await tx.fetch_value(select(func.count()).select_from(events)))


@pytest.mark.parametrize(("version", "depth"), [("5", 2**63 - 1), ("6", 2**53 - 1), ("12", 2**53 - 1)])
async def test_an_event_as_deep_as_can_be_does_not_end_the_room(
    hs1: Hearth, hs2: Hearth, version: str, depth: int
) -> None:
    room_id = await shared_room(hs1, hs2, room_version=version)
    event = await make(hs2, room_id, depth=depth)
    await hs2.say(hs1, [event.pdu])
    assert await hs1.has(event.event_id)
    following = [await hs1.send("alice", room_id, text) for text in ("still", "here")]
    for event_id in following:
        stored = await hs1.event(event_id)
        assert stored is not None
        assert stored.event.depth == 2**53 - 1
    assert await hs1.extremities(room_id) == {following[-1]}


async def test_an_auth_chain_full_of_what_nobody_asked_for_is_not_kept(
    hs1: Hearth, hs2: Hearth, network: Network
) -> None:
    room_id = await shared_room(hs1, hs2)
    junk = [(await make(hs2, room_id, event_type="m.junk", state_key=str(n))).pdu for n in range(MANY)]
    before = await hs2.state(room_id)
    power = await make(hs2, room_id, event_type="m.room.member", state_key="@bob:hs2", content={"membership": "join"})
    auth = [event_id for key, event_id in before.items() if key[0] != "m.room.member"]
    event = await make(hs2, room_id, auth=[*auth, power.event_id])

    async def flood(sent: Sent) -> Answer | None:
        if "/event_auth/" not in sent.target:
            return None
        return Answer(200, {}, orjson.dumps({"auth_chain": [power.pdu, *junk]}))

    network.interferences.append(flood)
    known = await count(hs1)
    await hs2.say(hs1, [event.pdu])
    assert network.requests("/event_auth/")
    assert await count(hs1) - known <= 2
    assert await hs1.send("alice", room_id, "still here")


async def test_a_join_answered_with_a_flood_of_forged_events_keeps_none_of_them(
    hs1: Hearth, hs2: Hearth, network: Network
) -> None:
    room_id = await hs1.create_room("alice")
    model = (await make(hs1, room_id, "@alice:hs1", "m.junk", state_key="")).pdu
    junk = [
        {**model, "sender": "@mallory:evil", "state_key": str(number), "signatures": {"evil": {"ed25519:1": "A" * 86}}}
        for number in range(MANY)
    ]
    real = network.servers["hs1"]

    async def flood(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = await real(method, target, headers, body)
        if "send_join" not in target:
            return answer
        content = orjson.loads(answer.body)
        return Answer(200, {}, orjson.dumps({**content, "state": [*content["state"], *junk]}))

    network.servers["hs1"] = flood
    await hs2.join("bob", room_id, hs1)
    assert await count(hs2) < 20
    # One question for all of them, whatever it was that was answered; and one of the notary, which is asked too.
    assert [sent.source for sent in network.log if sent.destination == "evil"] in ([], ["hs2"], ["hs2", "hs1"])
    assert len(await hs2.state(room_id)) == len(await hs1.state(room_id))
