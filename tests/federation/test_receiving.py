"""What honest and hostile servers send, and what becomes of it."""

from collections.abc import Sequence
from typing import Any

import pytest

from federation.outbound.client import V1
from federation.outbound.failures import FederationError
from federation.outbound.transport import Answer
from homeserver.core.event_builder import EventDraft, build_event
from homeserver.core.events import Event
from homeserver.core.hashes import content_hash
from homeserver.core.signatures import generate_signing_key, sign_event
from homeserver.runtime.clock import FrozenClock
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent

BOB = "@bob:hs2"


async def shared_room(hs1: Hearth, hs2: Hearth, **body: Any) -> str:
    room_id = await hs1.create_room("alice", **body)
    await hs2.join("bob", room_id, hs1)
    return room_id


async def make(
    server: Hearth,
    room_id: str,
    sender: str = BOB,
    event_type: str = "m.room.message",
    content: dict[str, Any] | None = None,
    *,
    state_key: str | None = None,
    prev: Sequence[str] | None = None,
    auth: Sequence[str] | None = None,
    **changes: Any,
) -> Event:
    """An event of `server`, signed by it, that it has not sent and does not know."""
    head = await server.reading.heads.get(room_id)
    assert head is not None
    draft = EventDraft(event_type, sender, content or {"body": "x", "msgtype": "m.text"}, room_id, state_key=state_key)
    usual = await server.writing.send_event.build(head, draft)
    return build_event(
        draft,
        head.room_version,
        prev_events=usual.prev_events if prev is None else prev,
        auth_events=usual.auth_events if auth is None else auth,
        depth=changes.get("depth", usual.depth),
        origin_server_ts=usual.origin_server_ts,
        server_name=server.name,
        signing_key=changes.get("key", server.base.signing_key),
    )


async def test_an_event_is_taken_in_and_the_transaction_answered_with_its_id(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id)
    assert await hs2.say(hs1, [event.pdu]) == {event.event_id: {}}
    assert await hs1.has(event.event_id)


async def test_the_same_transaction_again_changes_nothing_and_is_answered_the_same(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id)
    typing = {"edu_type": "m.typing", "content": {"room_id": room_id, "user_id": BOB, "typing": True}}
    first = await hs2.say(hs1, [event.pdu], [typing], txn="same")
    assert await hs2.say(hs1, [event.pdu], [typing], txn="same") == first
    assert len(hs1.received.typing) == 1


@pytest.mark.parametrize("forgery", ["no signature", "wrong key", "other server", "other event"])
async def test_events_without_the_senders_signature_are_dropped(hs1: Hearth, hs2: Hearth, forgery: str) -> None:
    room_id = await shared_room(hs1, hs2)
    wrong = generate_signing_key("1", b"?" * 32)
    event = await make(hs2, room_id, key=wrong if forgery == "wrong key" else hs2.base.signing_key)
    pdu = dict(event.pdu)
    if forgery == "no signature":
        pdu["signatures"] = {}
    elif forgery == "other server":
        pdu["signatures"] = {"hs3": pdu["signatures"]["hs2"]}
    elif forgery == "other event":
        pdu["depth"] += 1
    results = await hs2.say(hs1, [pdu])
    [(event_id, result)] = results.items()
    assert "step 2" in result["error"]
    assert await hs1.event(event_id) is None


async def test_a_server_cannot_speak_for_users_of_others(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id, "@alice:hs1")
    [result] = (await hs2.say(hs1, [event.pdu])).values()
    assert "step 2" in result["error"]


async def test_an_event_whose_hash_is_wrong_is_redacted_not_dropped(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id)
    changed = {**event.pdu, "content": {"body": "something else"}}
    assert await hs2.say(hs1, [changed]) == {event.event_id: {}}
    stored = await hs1.event(event.event_id)
    assert stored is not None
    assert stored.is_accepted
    assert stored.event.content == {}


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 2**63},
        {"depth": -1},
        {"depth": 1.5},
        {"content": {"n": 0.5}},
        {"content": {"n": 2**60}},
        {"content": {"body": "x" * 70_000}},
        {"type": "t" * 300},
        {"sender": "@" + "a" * 300 + ":hs2"},
        {"prev_events": [f"${n:043}" for n in range(21)]},
        {"auth_events": [f"${n:043}" for n in range(11)]},
        {"prev_events": "all"},
        {"prev_events": [["$a", {}]]},
        {"content": []},
        {"signatures": {"hs2": 1}},
        {"hashes": None},
        {"state_key": 5},
        {"origin_server_ts": "now"},
    ],
)
async def test_what_is_no_event_is_dropped_and_the_rest_goes_on(
    hs1: Hearth, hs2: Hearth, change: dict[str, Any]
) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id)
    results = await hs2.say(hs1, [{**event.pdu, **change}, event.pdu])
    assert results[event.event_id] == {}
    assert await hs1.has(event.event_id)
    assert await hs1.extremities(room_id) == {event.event_id}


@pytest.mark.parametrize("pdu", [None, 5, "x", [], {}, {"room_id": 5}, {"room_id": "!unknown:hs2"}])
async def test_nonsense_beside_events_is_passed_over(hs1: Hearth, hs2: Hearth, pdu: Any) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id)
    assert await hs2.say(hs1, [pdu, event.pdu]) == {event.event_id: {}}


async def test_a_transaction_over_the_limits_is_refused_whole(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id)
    with pytest.raises(FederationError):
        await hs2.say(hs1, [event.pdu] * 51)
    with pytest.raises(FederationError):
        await hs2.say(hs1, [], [{}] * 101)
    assert await hs1.event(event.event_id) is None


async def test_an_event_that_its_auth_events_do_not_allow_is_rejected(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id, event_type="m.room.topic", content={"topic": "mine"}, state_key="")
    before = await hs1.state(room_id)
    assert await hs2.say(hs1, [event.pdu]) == {event.event_id: {}}
    stored = await hs1.event(event.event_id)
    assert stored is not None
    assert stored.rejected is not None
    assert stored.rejected.startswith("step 4, rule")
    assert await hs1.state(room_id) == before
    assert event.event_id not in await hs1.extremities(room_id)


async def test_auth_events_that_are_irrelevant_or_twice_there_are_rejected(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2, room_version="11", topic="t")
    state = await hs2.state(room_id)
    usual = await make(hs2, room_id)
    irrelevant = await make(hs2, room_id, auth=[*usual.auth_events, state["m.room.topic", ""]])
    twice = await make(hs2, room_id, auth=[*usual.auth_events, usual.auth_events[0]], depth=usual.depth + 1)
    await hs2.say(hs1, [irrelevant.pdu, twice.pdu])
    for event in (irrelevant, twice):
        stored = await hs1.event(event.event_id)
        assert stored is not None
        assert stored.rejected is not None
        assert "rule 2" in stored.rejected


async def test_auth_events_of_another_room_authorise_nothing(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2, room_version="11")
    other = await shared_room(hs1, hs2, room_version="11")
    usual = await make(hs2, other)
    event = await make(hs2, room_id, auth=usual.auth_events)
    await hs2.say(hs1, [event.pdu])
    stored = await hs1.event(event.event_id)
    assert stored is None or stored.rejected is not None


async def test_events_built_on_rejected_ones_are_judged_for_themselves(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    bad = await make(hs2, room_id, event_type="m.room.topic", content={"topic": "mine"}, state_key="")
    good = await make(hs2, room_id, prev=[bad.event_id], depth=bad.depth + 1)
    await hs2.say(hs1, [bad.pdu, good.pdu])
    assert await hs1.has(good.event_id)
    assert ("m.room.topic", "") not in await hs1.state(room_id)


async def test_a_ban_is_not_evaded_by_citing_old_events(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await shared_room(hs1, hs2)
    evasion = await make(hs2, room_id)
    await hs1.writing.membership.ban(hs1.as_user("alice"), room_id, BOB)
    await hs1.join("anna", room_id)
    # hs2 has nobody left in the room now; a server with somebody in it hands the event on.
    event = await hs1.writing.receive.receive_event("hs2", evasion)
    assert event.outcome == "soft_failed"
    assert event.reason.startswith("step 6, rule")
    assert not await hs1.has(evasion.event_id)
    assert evasion.event_id not in await hs1.extremities(room_id)


async def test_events_and_edus_of_a_server_shut_out_by_acl_are_refused(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event = await make(hs2, room_id)
    await hs1.set_state("alice", room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["hs2"]})
    edus = [
        {"edu_type": "m.typing", "content": {"room_id": room_id, "user_id": BOB, "typing": True}},
        {"edu_type": "m.receipt", "content": {room_id: {"m.read": {BOB: {"event_ids": ["$x"], "data": {}}}}}},
    ]
    [result] = (await hs2.say(hs1, [event.pdu], edus)).values()
    assert "ACL" in result["error"]
    assert await hs1.event(event.event_id) is None
    assert not hs1.received.typing
    assert not hs1.received.receipts


async def test_a_server_acl_that_is_redacted_allows_nobody(hs1: Hearth) -> None:
    room_id = await hs1.create_room("alice")
    acl = await hs1.set_state("alice", room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["hs2"]})
    head = await hs1.reading.heads.get(room_id)
    assert head is not None
    assert [await hs1.reading.access.is_allowed(head, name) for name in ("hs2", "hs3")] == [False, True]
    await hs1.writing.send_event.redact(hs1.as_user("alice"), room_id, acl, {}, None)
    assert not await hs1.reading.access.is_allowed(head, "hs3")


async def test_missing_events_are_fetched_before_the_one_that_cites_them(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)
    await hs2.sender.stop()
    lost = [await hs2.send("bob", room_id, str(number)) for number in range(5)]
    last = await hs2.event(await hs2.send("bob", room_id, "last"))
    assert last is not None
    verdict = await hs1.writing.receive.receive_event("hs2", last.event)
    assert verdict.outcome == "accepted"
    assert all([await hs1.has(event_id) for event_id in lost])
    assert len(network.requests("get_missing_events")) == 1
    assert await hs1.extremities(room_id) == {last.event_id}


async def test_a_gap_too_wide_is_bridged_by_the_state_that_the_other_server_has(
    hs1: Hearth, hs2: Hearth, network: Network, clock: FrozenClock
) -> None:
    room_id = await shared_room(hs1, hs2)
    clock.advance(1)
    asked = len(network.requests("state_ids"))
    await hs2.sender.stop()
    await hs2.set_state("bob", room_id, "m.room.member", {"membership": "join", "displayname": "Bob"}, BOB)
    lost = [await hs2.send("bob", room_id, str(number)) for number in range(40)]
    last = await hs2.event(await hs2.send("bob", room_id, "last"))
    assert last is not None
    verdict = await hs1.writing.receive.receive_event("hs2", last.event)
    assert verdict.outcome == "accepted"
    assert not await hs1.has(lost[0])
    assert await hs1.has(lost[-1])
    assert len(network.requests("state_ids")) == asked + 1
    assert await hs1.state(room_id) == await hs2.state(room_id)


async def test_an_event_whose_prev_events_its_server_does_not_give_is_not_taken_in(
    hs1: Hearth, hs2: Hearth, network: Network
) -> None:
    room_id = await shared_room(hs1, hs2)
    asked = len(network.requests("state_ids"))
    event = await make(hs2, room_id, prev=["$" + "a" * 43])
    assert await hs2.say(hs1, [event.pdu]) == {event.event_id: {}}
    assert await hs1.event(event.event_id) is None
    assert len(network.requests("state_ids")) == asked
    after = await make(hs2, room_id)
    assert (await hs2.say(hs1, [after.pdu], txn="2"))[after.event_id] == {}


async def test_state_keys_of_many_bytes_are_rejected_in_older_rooms_without_breaking_them(
    hs1: Hearth, hs2: Hearth
) -> None:
    room_id = await shared_room(hs1, hs2, room_version="10")
    signed = await make(hs2, room_id)
    long = {**signed.pdu, "type": "org.example", "state_key": "\N{COLLISION SYMBOL}" * 70}
    long["hashes"] = {"sha256": content_hash(long, signed.room_version)}
    long = sign_event({**long, "signatures": {}}, signed.room_version, "hs2", hs2.base.signing_key)
    event = Event.from_pdu(long, signed.room_version)
    after = await make(hs2, room_id, prev=[event.event_id])
    await hs2.say(hs1, [long, after.pdu])
    stored = await hs1.event(event.event_id)
    assert stored is not None
    assert stored.rejected is not None
    assert await hs1.has(after.event_id)


async def test_what_the_room_is_built_upon_is_no_news_when_it_is_sent_late(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice", room_version="11")
    [newest] = await hs1.extremities(room_id)
    await hs2.join("bob", room_id, hs1)
    await hs2.join("ben", room_id, hs1)
    state, extremities = await hs2.state(room_id), await hs2.extremities(room_id)
    history: list[Event] = []
    pending = [newest]
    while pending:
        stored = await hs1.event(pending.pop())
        assert stored is not None
        history.append(stored.event)
        pending += stored.event.prev_events
    for number, event in enumerate(reversed(history)):
        assert await hs1.say(hs2, [event.pdu], txn=str(number)) == {event.event_id: {}}
    assert await hs2.extremities(room_id) == extremities
    assert await hs2.state(room_id) == state


async def test_what_fills_a_gap_late_is_no_news_either(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)
    taken: list[Sent] = []

    async def take(sent: Sent) -> Answer | None:
        if "/send/" not in sent.target:
            return None
        taken.append(sent)
        return Answer(200, {}, b'{"pdus":{}}')

    async def give_no_missing_events(sent: Sent) -> Answer | None:
        if "/get_missing_events/" not in sent.target:
            return None
        return Answer(404, {"content-type": "application/json"}, b'{"errcode":"M_UNRECOGNIZED","error":"no"}')

    network.interferences += [take, give_no_missing_events]
    first = await hs1.event(await hs1.set_state("alice", room_id, "m.room.topic", {"topic": "first"}))
    second = await hs1.event(await hs1.set_state("alice", room_id, "m.room.topic", {"topic": "second"}))
    assert first is not None
    assert second is not None

    async def all_taken() -> bool:
        return any(second.event.content["topic"].encode() in (sent.body or b"") for sent in taken)

    await until(all_taken)
    network.interferences.remove(take)
    for number, stored in enumerate((second, first)):
        assert await hs1.say(hs2, [stored.event.pdu], txn=str(number)) == {stored.event_id: {}}
        assert await hs2.has(stored.event_id)
    assert await hs2.extremities(room_id) == {second.event_id}
    assert (await hs2.state(room_id))["m.room.topic", ""] == second.event_id


async def test_prev_events_of_another_room_are_no_prev_events(hs1: Hearth, hs2: Hearth) -> None:
    room_id, other = await shared_room(hs1, hs2), await shared_room(hs1, hs2)
    elsewhere = await hs1.extremities(other)
    event = await make(hs2, room_id, prev=sorted(elsewhere))
    await hs2.say(hs1, [event.pdu])
    assert not await hs1.has(event.event_id)


async def test_forks_are_resolved_alike_on_both_sides(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await hs1.create_room(
        "alice", power_level_content_override={"state_default": 0, "events": {"m.room.topic": 0}}
    )
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    await hs1.set_state("alice", room_id, "m.room.topic", {"topic": "one"})
    await hs2.set_state("bob", room_id, "m.room.topic", {"topic": "two"})
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, BOB)
    await hs2.set_state("bob", room_id, "m.room.name", {"name": "bob's"})
    network.heal()

    async def equal() -> bool:
        return await hs1.state(room_id) == await hs2.state(room_id)

    await until(equal)


async def test_a_fork_a_hundred_wide_does_not_stop_the_room(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    head = sorted(await hs2.extremities(room_id))
    fork = [await make(hs2, room_id, prev=head, content={"body": str(n), "msgtype": "m.text"}) for n in range(100)]
    await hs2.say(hs1, [event.pdu for event in fork[:50]], txn="1")
    await hs2.say(hs1, [event.pdu for event in fork[50:]], txn="2")
    assert len(await hs1.extremities(room_id)) == 100
    for body in "abcdef":
        await hs1.send("alice", room_id, body)
    assert len(await hs1.extremities(room_id)) == 1


async def test_edus_are_believed_only_about_users_of_their_server_who_are_in_the_room(
    hs1: Hearth, hs2: Hearth
) -> None:
    room_id = await shared_room(hs1, hs2)
    typing = [
        {"room_id": room_id, "user_id": "@alice:hs1", "typing": True},
        {"room_id": room_id, "user_id": "@stranger:hs2", "typing": True},
        {"room_id": "!other:hs2", "user_id": BOB, "typing": True},
        {"room_id": room_id, "user_id": BOB, "typing": "yes"},
        {"room_id": room_id, "user_id": BOB, "typing": False},
    ]
    edus: list[Any] = [{"edu_type": "m.typing", "content": content} for content in typing]
    edus += [
        {"edu_type": "m.presence", "content": {"push": [{"user_id": "@alice:hs1", "presence": "online"}, 5]}},
        {"edu_type": "m.direct_to_device", "content": {"sender": "@alice:hs1"}},
        {"edu_type": "m.device_list_update", "content": {"user_id": "@alice:hs1", "device_id": "D"}},
        {"edu_type": "m.unknown", "content": {}},
        {"edu_type": 5},
        None,
    ]
    await hs2.say(hs1, [], edus)
    assert hs1.received.typing == [(room_id, BOB, False)]
    assert not hs1.received.presence
    assert not hs1.received.to_device
    assert not hs1.received.device_lists


@pytest.mark.parametrize("target", ["state", "state_ids", "backfill", "event_auth", "make_leave"])
async def test_history_is_not_for_servers_outside_of_the_room(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, target: str
) -> None:
    room_id = await shared_room(hs1, hs2)
    message = await hs1.send("alice", room_id, "secret")
    client = hs3.outside.client
    ask = {
        "state": lambda: client.state("hs1", room_id, message),
        "state_ids": lambda: client.state_ids("hs1", room_id, message),
        "backfill": lambda: client.backfill("hs1", room_id, [message], 10),
        "event_auth": lambda: client.event_auth("hs1", room_id, message),
        "make_leave": lambda: client.make_leave("hs1", room_id, BOB),
    }
    with pytest.raises(FederationError) as refused:
        await ask[target]()
    assert refused.value.errcode == "M_FORBIDDEN"


async def test_history_from_before_a_server_came_is_served_as_visibility_says(
    hs1: Hearth, hs2: Hearth, until: Until
) -> None:
    visibility = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room_id = await hs1.create_room("alice", initial_state=[visibility])
    before = await hs1.send("alice", room_id, "before")
    await hs2.join("bob", room_id, hs1)
    after = await hs1.send("alice", room_id, "after")
    await until(lambda: hs2.has(after))
    pdus = await hs2.outside.client.backfill("hs1", room_id, [after], 50)
    contents = {Event.from_pdu(pdu, (await head(hs1, room_id)).room_version).event_id: pdu["content"] for pdu in pdus}
    assert contents[after]["body"] == "after"
    assert contents[before] == {}
    with pytest.raises(FederationError):
        await hs2.outside.client.event("hs1", before)


async def test_scrolling_back_fetches_what_was_before_the_join(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice")
    ids = [await hs1.send("alice", room_id, str(number)) for number in range(10)]
    await hs2.join("bob", room_id, hs1)
    missing = dict((await head(hs2, room_id)).missing)
    assert list(missing) == [ids[-1]]
    await hs2.backfill().backfill(room_id, missing)
    assert all([await hs2.has(event_id) for event_id in ids])
    assert not (await head(hs2, room_id)).missing
    assert await hs2.state(room_id) == await hs1.state(room_id)


async def test_history_that_cannot_be_judged_yet_is_left_for_another_time(
    hs1: Hearth, hs2: Hearth, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await hs1.create_room("alice")
    said = await hs1.send("alice", room_id, "hello")
    await hs2.join("bob", room_id, hs1)
    backfill = hs2.backfill()

    async def lose(server: str, event: Event) -> None:
        raise FederationError("unreachable", server, "the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(backfill._fetch, "auth_events", lose)
        await backfill.backfill(room_id, dict((await head(hs2, room_id)).missing))
    assert not await hs2.has(said)
    await backfill.backfill(room_id, dict((await head(hs2, room_id)).missing))
    assert await hs2.has(said)


async def head(server: Hearth, room_id: str) -> Any:
    found = await server.reading.heads.get(room_id)
    assert found is not None
    return found


async def test_redacted_events_are_served_redacted(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await shared_room(hs1, hs2)
    message = await hs1.send("alice", room_id, "oops")
    await until(lambda: hs2.has(message))
    await hs1.writing.send_event.redact(hs1.as_user("alice"), room_id, message, {}, None)
    pdu = await hs2.outside.client.event("hs1", message)
    assert pdu["content"] == {}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer token"},
        {"Authorization": 'X-Matrix origin="hs2",destination="hs1",key="ed25519:1",sig="' + "A" * 86 + '"'},
        {"Authorization": 'X-Matrix origin="hs2",destination="hs3",key="ed25519:1",sig="' + "A" * 86 + '"'},
        {"Authorization": 'X-Matrix origin="hs1",destination="hs1",key="ed25519:1",sig="' + "A" * 86 + '"'},
        {"Authorization": 'X-Matrix origin="gone",destination="hs1",key="ed25519:1",sig="' + "A" * 86 + '"'},
    ],
)
async def test_requests_without_a_valid_signature_are_refused(
    hs1: Hearth, hs2: Hearth, headers: dict[str, str]
) -> None:
    answer = await hs1.serve("GET", f"{V1}/event/$x", headers, None)
    assert answer.status == 401
    assert b"M_UNAUTHORIZED" in answer.body
