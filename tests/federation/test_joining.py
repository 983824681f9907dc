from typing import Any

import orjson
import pytest

from federation.outbound.request_signing import authorization
from federation.outbound.transport import Answer
from homeserver.errors import BadGateway, Forbidden, MatrixError, NotFound
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network


async def test_others_in_the_room_hear_of_a_join_through_the_resident_server(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    await hs3.join("carol", room_id, hs2)

    async def all_know() -> bool:
        return [await hs.membership(room_id, "@carol:hs3") for hs in (hs1, hs2, hs3)] == ["join"] * 3

    await until(all_know)
    message = await hs3.send("carol", room_id, "hello")
    await until(lambda: hs1.has(message))
    await until(lambda: hs2.has(message))


async def test_the_second_user_of_a_server_joins_without_the_network(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    await hs2.join("ben", room_id, hs1)
    assert len(hs1.network.requests("send_join")) == 1

    async def knows() -> bool:
        return await hs1.membership(room_id, "@ben:hs2") == "join"

    await until(knows)


async def test_candidates_are_tried_in_order_until_one_answers(hs1: Hearth, hs2: Hearth, network: Network) -> None:
    room_id = await hs1.create_room("alice", room_version="12")
    membership = hs2.writing.membership
    await membership.join(hs2.as_user("bob"), room_id, via=["gone", "hs1"])
    assert await hs2.membership(room_id, "@bob:hs2") == "join"
    assert [sent.destination for sent in network.requests("make_join")] == ["gone", "hs1"]


async def test_a_join_that_the_rules_forbid_is_refused_with_the_resident_servers_reason(
    hs1: Hearth, hs2: Hearth
) -> None:
    room_id = await hs1.create_room("alice", preset="private_chat")
    with pytest.raises(Forbidden):
        await hs2.join("bob", room_id, hs1)


async def test_nobody_to_ask_is_not_found_and_nobody_reached_is_bad_gateway(hs2: Hearth) -> None:
    with pytest.raises(NotFound):
        await hs2.join("bob", "!" + "a" * 43)
    with pytest.raises(BadGateway):
        await hs2.writing.membership.join(hs2.as_user("bob"), "!" + "a" * 43, via=["gone"])


async def test_a_server_shut_out_by_acl_cannot_join(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice")
    await hs1.set_state("alice", room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["hs2"]})
    with pytest.raises(Forbidden):
        await hs2.join("bob", room_id, hs1)


async def test_a_room_that_was_left_can_be_joined_again_with_its_state_of_then(
    hs1: Hearth, hs2: Hearth, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    await hs2.writing.membership.leave(hs2.as_user("bob"), room_id)

    async def left() -> bool:
        return await hs1.membership(room_id, "@bob:hs2") == "leave"

    await until(left)
    await hs1.set_state("alice", room_id, "m.room.topic", {"topic": "while bob was away"})
    await hs2.join("bob", room_id, hs1)
    assert await hs2.state(room_id) == await hs1.state(room_id)
    message = await hs1.send("alice", room_id, "welcome back")
    await until(lambda: hs2.has(message))


async def test_restricted_rooms_let_members_of_the_other_room_in_with_two_signatures(
    hs1: Hearth, hs2: Hearth, until: Until
) -> None:
    club = await hs1.create_room("alice")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    join_rules = {"type": "m.room.join_rules", "state_key": "", "content": rule}
    room_id = await hs1.create_room("alice", initial_state=[join_rules], room_version="10")
    with pytest.raises(Forbidden):
        await hs2.join("bob", room_id, hs1)
    await hs2.join("bob", club, hs1)
    await hs2.join("bob", room_id, hs1)
    event_id = (await hs2.state(room_id))["m.room.member", "@bob:hs2"]
    stored = await hs2.event(event_id)
    assert stored is not None
    assert set(stored.event.pdu["signatures"]) == {"hs1", "hs2"}
    message = await hs2.send("bob", room_id, "in")
    await until(lambda: hs1.has(message))


@pytest.mark.parametrize("version", ["11", "12"])  # whose room ids name a server, and name none
async def test_a_knock_is_taken_back_where_it_was_made(hs1: Hearth, hs2: Hearth, version: str) -> None:
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await hs1.create_room("alice", initial_state=[rule], room_version=version)
    await hs2.writing.membership.knock(hs2.as_user("bob"), room_id, via=["hs1"])
    await hs2.writing.membership.leave(hs2.as_user("bob"), room_id)
    assert await hs2.membership(room_id, "@bob:hs2") == "leave"
    assert await hs1.membership(room_id, "@bob:hs2") == "leave"


async def test_knocking_and_being_let_in(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await hs1.create_room("alice", initial_state=[rule], name="the room")
    await hs2.writing.membership.knock(hs2.as_user("bob"), room_id, via=["hs1"])
    assert await hs1.membership(room_id, "@bob:hs2") == "knock"
    assert await hs2.membership(room_id, "@bob:hs2") == "knock"
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@bob:hs2")
    assert await hs2.membership(room_id, "@bob:hs2") == "invite"
    await hs2.join("bob", room_id)
    assert await hs1.membership(room_id, "@bob:hs2") == "join"


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
async def test_invites_are_signed_by_the_invited_server_and_can_be_accepted(
    hs1: Hearth, hs2: Hearth, version: str
) -> None:
    room_id = await hs1.create_room("alice", preset="private_chat", room_version=version, name="the room")
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@bob:hs2")
    event_id = (await hs1.state(room_id))["m.room.member", "@bob:hs2"]
    stored = await hs1.event(event_id)
    assert stored is not None
    assert set(stored.event.pdu["signatures"]) == {"hs1", "hs2"}
    assert await hs2.membership(room_id, "@bob:hs2") == "invite"
    await hs2.join("bob", room_id)
    assert await hs1.membership(room_id, "@bob:hs2") == "join"
    assert await hs1.state(room_id) == await hs2.state(room_id)


async def test_rejected_invites_end_on_both_sides(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice", preset="private_chat")
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@bob:hs2")
    await hs2.writing.membership.leave(hs2.as_user("bob"), room_id)
    assert await hs1.membership(room_id, "@bob:hs2") == "leave"
    assert await hs2.membership(room_id, "@bob:hs2") == "leave"


async def test_invites_that_are_taken_back_end_on_both_sides(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await hs1.create_room("alice", preset="private_chat")
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@bob:hs2")
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, "@bob:hs2")

    async def over() -> bool:
        return await hs2.membership(room_id, "@bob:hs2") == "leave"

    await until(over)


async def test_users_who_do_not_exist_cannot_be_invited(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice")
    with pytest.raises(Forbidden):
        await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@nobody:hs2")


async def test_aliases_of_other_servers_are_resolved(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice", room_alias_name="lounge")
    assert await hs2.writing.directory.resolve("#lounge:hs1") == (room_id, ["hs1"])
    with pytest.raises(NotFound):
        await hs2.writing.directory.resolve("#cellar:hs1")


@pytest.mark.parametrize("change", ["no create", "unsigned state", "banned in the state", "no lists"])
async def test_a_resident_server_that_lies_about_the_state_is_not_believed(
    hs1: Hearth, hs2: Hearth, network: Network, change: str
) -> None:
    room_id = await hs1.create_room("alice")
    real = network.servers["hs1"]

    async def forged(method: str, target: str, headers: dict[str, str], body: bytes | None) -> Answer:
        answer = await real(method, target, headers, body)
        if "send_join" not in target:
            return answer
        content = orjson.loads(answer.body)
        if change == "no create":
            content["state"] = [e for e in content["state"] if e["type"] != "m.room.create"]
        elif change == "unsigned state":
            content["state"] = [{**e, "signatures": {}} for e in content["state"]]
        elif change == "banned in the state":
            content["state"] = [e for e in content["state"] if e["type"] != "m.room.join_rules"]
        else:
            content["state"] = {"a": 1}
        return Answer(200, {}, orjson.dumps(content))

    network.servers["hs1"] = forged
    with pytest.raises(MatrixError):
        await hs2.join("bob", room_id, hs1)
    assert await hs2.membership(room_id, "@bob:hs2") is None


async def test_a_room_id_is_no_hint_where_the_client_gives_one(hs1: Hearth, hs2: Hearth, network: Network) -> None:
    room_id = await hs1.create_room("alice", room_version="11")
    with pytest.raises(BadGateway):
        await hs2.writing.membership.join(hs2.as_user("bob"), room_id, via=["gone"])
    await hs2.join("bob", room_id)
    assert [sent.destination for sent in network.requests("make_join")] == ["gone", "hs1"]


async def test_clients_cannot_name_who_let_them_in(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await hs1.create_room("alice", room_version="11")
    await hs2.join("bob", room_id, hs1)
    content = {"membership": "join", "displayname": "Bob", "join_authorised_via_users_server": "nobody"}
    event_id = await hs2.writing.membership.set_by_state(hs2.as_user("bob"), room_id, "@bob:hs2", content)
    await until(lambda: hs1.has(event_id))


async def test_only_who_invited_takes_an_invite_back_from_a_room_outside(
    hs1: Hearth, hs2: Hearth, until: Until
) -> None:
    room_id = await hs1.create_room("alice", power_level_content_override={"invite": 0})
    await hs1.join("anna", room_id)
    await hs1.writing.membership.invite(hs1.as_user("anna"), room_id, "@bob:hs2")
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, "@bob:hs2")
    await until(lambda: _nothing_waits(hs1))
    assert await hs2.membership(room_id, "@bob:hs2") == "invite"


async def _nothing_waits(server: Hearth) -> bool:
    return bool(server.network.requests("/send/")) and not server.sender._outboxes


async def test_named_servers_that_cannot_tell_are_all_that_is_asked(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, until: Until
) -> None:
    club = await hs1.create_room("alice")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    join_rules = {"type": "m.room.join_rules", "state_key": "", "content": rule}
    room_id = await hs1.create_room("alice", initial_state=[join_rules], room_version="10")
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@bob:hs2")
    await hs2.join("bob", room_id, hs1)
    await hs3.join("carol", club, hs1)
    for _ in range(2):  # the second time hs3 knows who else is in the room
        with pytest.raises(Forbidden):
            await hs3.join("carol", room_id, hs2)
        await hs3.join("carol", room_id, hs2, hs1)
        await hs3.writing.membership.leave(hs3.as_user("carol"), room_id)

        async def is_gone() -> bool:
            heads = [await server.reading.heads.get(room_id) for server in (hs1, hs2)]
            return all(head is not None and "@carol:hs3" not in head.joined for head in heads)

        await until(is_gone)  # whoever is in the room may join it


async def test_a_restricted_room_without_conditions_is_closed(hs1: Hearth, hs2: Hearth) -> None:
    join_rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock_restricted"}}
    room_id = await hs1.create_room("alice", initial_state=[join_rules], room_version="10")
    with pytest.raises(Forbidden):
        await hs2.join("bob", room_id, hs1)
    with pytest.raises(Forbidden):
        await hs1.join("anna", room_id)


async def test_an_older_leave_that_comes_late_does_not_end_an_invite(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await hs1.create_room("alice")
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@bob:hs2")
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, "@bob:hs2")
    kick = await hs1.event((await hs1.state(room_id))["m.room.member", "@bob:hs2"])
    assert kick is not None

    async def over() -> bool:
        return await hs2.membership(room_id, "@bob:hs2") == "leave"

    await until(over)
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, "@bob:hs2")
    await hs1.say(hs2, [kick.event.pdu], txn="late")
    assert await hs2.membership(room_id, "@bob:hs2") == "invite"


@pytest.mark.parametrize("name", ["with a name", None])
async def test_a_server_that_wants_no_members_gets_the_servers_and_whom_the_room_is_named_after(
    hs1: Hearth, hs2: Hearth, network: Network, name: str | None
) -> None:
    room_id = await hs1.create_room("alice", **({"name": name} if name else {}))
    for number in range(8):
        await hs1.join(f"member{number}", room_id)
    answers: list[Any] = []
    real, key = network.servers["hs1"], hs2.base.signing_key

    async def ask_for_less(method: str, target: str, headers: dict[str, str], body: bytes | None) -> Answer:
        if "send_join" in target:
            path = target.replace("omit_members=false", "omit_members=true")
            headers = {**headers, "Authorization": authorization(method, path, "hs2", "hs1", body, key)}
            answers.append(orjson.loads((await real(method, path, headers, body)).body))
            return Answer(404, {}, b"{}")
        return await real(method, target, headers, body)

    network.servers["hs1"] = ask_for_less
    with pytest.raises(MatrixError):
        await hs2.join("bob", room_id, hs1)
    [answer] = answers
    assert answer["members_omitted"] is True
    assert answer["servers_in_room"] == ["hs1"]
    members = [event for event in answer["state"] if event["type"] == "m.room.member"]
    assert len(members) == (0 if name else 5)
    assert "m.room.power_levels" in {event["type"] for event in answer["state"]}
    assert "m.room.member" in {event["type"] for event in [*answer["auth_chain"], *answer["state"]]}


async def test_a_server_that_failed_lately_is_tried_all_the_same_but_last(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network
) -> None:
    first, second, third = [await hs1.create_room("alice") for _ in range(3)]
    await hs3.join("carol", second, hs1)
    await hs2.join("bob", third, hs1)  # it has the keys of hs1
    network.partition("hs1", "hs2")
    with pytest.raises(BadGateway):
        await hs2.join("bob", first, hs1)
    network.heal()
    await hs2.join("bob", second, hs1, hs3)
    asked = [sent.destination for sent in network.requests("make_join") if sent.source == "hs2"]
    assert asked == ["hs1", "hs1", "hs3"]
    await hs2.join("bob", first, hs1)


@pytest.mark.parametrize("faster", [True, False])
async def test_a_room_is_joined_through_another_server_while_its_own_is_down(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until, faster: bool
) -> None:
    room_id = await hs1.create_room("alice", name="hers")
    await hs2.join("bob", room_id, hs1)
    said = await hs1.send("alice", room_id, "hello")
    await until(lambda: hs2.has(said))
    network.partition("hs1", "hs2")
    network.partition("hs1", "hs3")
    hs3.writing.remote._faster_joins = faster
    await hs3.join("carol", room_id, hs2)
    assert await hs3.state(room_id) == await hs2.state(room_id)
    head = await hs3.reading.heads.get(room_id)
    assert head is not None
    # What came before the join, from the server that is down, is believed too.
    await hs3.backfill().take_from("hs2", head, said)
    assert (stored := await hs3.event(said)) is not None
    assert stored.is_accepted
    # But no request of it would be.
    assert hs3.outside.keyring.cached("hs1", "ed25519:1", 0) is None
