"""Servers that mean harm, beyond what `test_receiving` has: the honest rooms go on, and the log says why."""

import asyncio
import logging
from typing import Any

import pytest

from federation.outbound.transport import Answer
from homeserver.core.events import Event
from homeserver.core.hashes import content_hash, encode_event_json
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signatures import sign_event
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent
from tests.federation.test_receiving import BOB, make, shared_room


@pytest.mark.parametrize("edges", ["prev_events", "auth_events"])
async def test_events_in_a_circle_are_not_taken_in(hs1: Hearth, hs2: Hearth, edges: str) -> None:
    room_id = await shared_room(hs1, hs2, room_version="1")
    ids = ["$one:hs2", "$two:hs2"]
    circle: list[dict[str, Any]] = []
    for own, other in (ids, reversed(ids)):
        pdu = dict((await make_v1(hs2, room_id)).pdu)
        rest = pdu[edges] if edges == "auth_events" else []
        circle.append(signed(hs2, {**pdu, "event_id": own, edges: [[other, {"sha256": "A" * 43}], *rest]}))
    results = await asyncio.wait_for(hs2.say(hs1, circle), 60)
    assert set(results) <= set(ids)
    for event_id in ids:
        assert not await hs1.has(event_id)
    assert await hs1.send("alice", room_id, "still here")


async def test_names_that_hold_nul_are_nobodys_and_numbers_have_53_bits(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    nul, device = "a\0b", {"D": {"any": "text\0"}}
    edus = [
        ("m.typing", {"room_id": nul, "user_id": BOB, "typing": True}),
        ("m.receipt", {nul: {"m.read": {BOB: {"data": {"ts": 1}, "event_ids": ["$a"]}}}}),
        ("m.receipt", {room_id: {"m.read": {BOB: {"data": {"ts": 1, "thread_id": nul}, "event_ids": ["$a"]}}}}),
        ("m.device_list_update", {"user_id": BOB, "device_id": nul, "stream_id": 1, "prev_id": []}),
        ("m.direct_to_device", {"sender": BOB, "type": "t", "message_id": nul, "messages": {"@alice:hs1": device}}),
        ("m.direct_to_device", {"sender": BOB, "type": "t", "message_id": "m", "messages": {"@alice:hs1": {nul: {}}}}),
        ("m.receipt", {room_id: {"m.read": {BOB: {"data": {"ts": 2**60}, "event_ids": ["$a"]}}}}),
        ("m.device_list_update", {"user_id": BOB, "device_id": "D", "stream_id": 2**63, "prev_id": []}),
        ("m.direct_to_device", {"sender": BOB, "type": "t", "message_id": "m", "messages": {"@alice:hs1": device}}),
    ]
    pdu = (await make(hs2, room_id)).pdu
    told = [{"edu_type": kind, "content": content} for kind, content in edus]
    results = await hs2.say(hs1, [{**pdu, "room_id": nul}, pdu], told)
    assert list(results.values()) == [{}]
    received = hs1.received
    assert (received.typing, received.receipts, received.device_lists) == ([], [], [])
    assert [content["messages"] for _, content in received.to_device] == [{"@alice:hs1": device}]


async def test_a_fork_a_thousand_wide_does_not_stop_the_room(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    head = sorted(await hs2.extremities(room_id))
    fork = [await make(hs2, room_id, prev=head, content={"body": str(n), "msgtype": "m.text"}) for n in range(1000)]
    for number in range(20):
        await hs2.say(hs1, [event.pdu for event in fork[number * 50 : number * 50 + 50]], txn=str(number))
    before = len(await hs1.extremities(room_id))
    for body in "abcdef":
        await hs1.send("alice", room_id, body)
    assert len(await hs1.extremities(room_id)) < before - 100


async def test_who_lost_their_power_does_not_get_it_back_by_building_on_the_past(
    hs1: Hearth, hs2: Hearth, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    room_id = await shared_room(hs1, hs2, room_version="11")
    powerful = {"users": {"@alice:hs1": 100, BOB: 50}, "events": {"m.room.power_levels": 50}}
    event_id = await hs1.set_state("alice", room_id, "m.room.power_levels", powerful)
    await until(lambda: hs2.has(event_id))
    past = sorted(await hs2.extremities(room_id))
    coup = await make(
        hs2,
        room_id,
        event_type="m.room.power_levels",
        content={"users": {"@alice:hs1": 100, BOB: 50, "@eve:hs2": 50}, "events": {"m.room.power_levels": 0}},
        state_key="",
        prev=past,
    )
    rules = {"join_rule": "public"}
    reset = await make(hs2, room_id, event_type="m.room.join_rules", content=rules, state_key="", prev=past)
    lost = await hs1.set_state("alice", room_id, "m.room.power_levels", {"users": {"@alice:hs1": 100}})
    state = await hs1.state(room_id)
    await hs2.say(hs1, [coup.pdu, reset.pdu])
    assert await hs1.state(room_id) == state
    assert state["m.room.power_levels", ""] == lost
    assert "step 6, rule" in caplog.text
    # Later events of honest servers do not bring it in either.
    await hs1.send("alice", room_id, "hello")
    assert await hs1.state(room_id) == state


async def test_a_ban_is_not_evaded_through_backfill(hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network) -> None:
    room_id = await shared_room(hs1, hs2)
    evasion = await make(hs2, room_id)
    await hs1.send("alice", room_id, "before")
    await hs1.writing.membership.ban(hs1.as_user("alice"), room_id, BOB)
    await hs3.join("carl", room_id, hs1)

    async def slip_in(sent: Sent) -> Answer | None:
        if "/backfill/" not in sent.target or sent.source != "hs3":
            return None
        serve = network.servers["hs1"]
        answer = await serve(sent.method, sent.target, sent.headers, sent.body)
        hidden = encode(evasion)
        return Answer(200, {}, answer.body.replace(b'"pdus":[', b'"pdus":[' + hidden + b","))

    network.interferences.append(slip_in)
    head = await hs3.reading.heads.get(room_id)
    assert head is not None
    await hs3.backfill().backfill(room_id, head.missing)
    assert network.requests("/backfill/")
    assert not await hs3.has(evasion.event_id)


async def test_a_server_that_never_answers_holds_up_nobody_else(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network
) -> None:
    room_id = await shared_room(hs1, hs2)
    await hs3.join("carl", room_id, hs1)
    other = await shared_room(hs1, hs2)
    never = asyncio.Event()

    async def hang(sent: Sent) -> Answer | None:
        if sent.source == "hs1" and sent.destination == "hs2":
            await never.wait()
        return None

    waiting = await make(hs2, room_id, prev=["$" + "b" * 43])
    fine = await make(hs2, other)
    of_carl = await make(hs3, room_id, "@carl:hs3")
    network.interferences.append(hang)
    stuck = asyncio.create_task(hs2.say(hs1, [waiting.pdu], txn="stuck"))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(hs2.say(hs1, [fine.pdu], txn="fine"), 60) == {fine.event_id: {}}
    assert await asyncio.wait_for(hs3.say(hs1, [of_carl.pdu]), 60) == {of_carl.event_id: {}}
    assert await hs1.send("alice", room_id, "hello")
    network.interferences.remove(hang)
    never.set()
    await stuck


async def make_v1(server: Hearth, room_id: str) -> Event:
    stored = await server.event(await server.send("bob", room_id, "a model"))
    assert stored is not None
    return stored.event


def signed(server: Hearth, pdu: dict[str, Any]) -> dict[str, Any]:
    version = ROOM_VERSIONS["1"]
    pdu = {**pdu, "signatures": {}}
    pdu["hashes"] = {"sha256": content_hash(pdu, version)}
    return sign_event(pdu, version, server.name, server.base.signing_key)


def encode(event: Event) -> bytes:
    return encode_event_json(event.pdu, event.room_version)
