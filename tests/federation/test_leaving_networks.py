"""Servers that are put out of a room, or leave it, while others cannot reach them: all come to agree who is in it."""

import pytest

from federation.outbound.failures import FederationError
from federation.outbound.transport import Answer
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent
from tests.federation.test_receiving import BOB, shared_room


async def is_out(server: Hearth, room_id: str) -> bool:
    head = await server.reading.heads.get(room_id)
    return head is None or server.name not in head.hosts


async def test_a_server_that_lacks_what_came_before_its_kick_may_ask_for_it(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)
    network.partition("hs1", "hs2")
    # What is sent while nobody is joined any more is not sent to the server, but the kick builds on it.
    await hs1.set_state("alice", room_id, "m.room.name", {"name": "n"})
    await hs1.send("alice", room_id, "hello")
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, BOB)
    network.heal()
    await until(lambda: is_out(hs2, room_id))


async def test_a_server_that_was_never_in_the_room_may_not(hs1: Hearth, hs2: Hearth, hs3: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    event_id = await hs1.send("alice", room_id, "hello")
    for ask in (hs3.outside.client.state_ids, hs3.outside.client.event_auth):
        with pytest.raises(FederationError) as refused:
            await ask("hs1", room_id, event_id)
        assert refused.value.errcode == "M_FORBIDDEN"


async def test_a_former_member_is_told_nothing_of_what_came_after_it_left(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await shared_room(hs1, hs2)
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, BOB)
    event_id = await hs1.send("alice", room_id, "now we are among ourselves")
    client = hs2.outside.client
    for ask in (client.state_ids("hs1", room_id, event_id), client.event("hs1", event_id)):
        with pytest.raises(FederationError) as refused:
            await ask
        assert refused.value.errcode == "M_FORBIDDEN"


async def test_a_server_put_out_by_state_resolution_is_told(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)
    await shared_room(hs1, hs3)  # they know each other's keys
    # hs3 joins through hs2 while hs1 closes the room, and hs1 cannot know of the join.
    network.partition("hs1", "hs2")
    network.partition("hs1", "hs3")
    await hs1.set_state("alice", room_id, "m.room.join_rules", {"join_rule": "invite"})
    await hs3.join("carl", room_id, hs2)
    network.heal()
    await until(lambda: is_out(hs3, room_id))
    assert (await hs1.reading.heads.get(room_id)).hosts.keys() == {"hs1", "hs2"}  # type: ignore[union-attr]


async def test_a_server_that_did_not_need_to_know_of_a_ban_when_it_came_hears_of_it_again(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)
    await shared_room(hs1, hs3)  # they know each other's keys
    network.partition("hs1", "hs2")
    # hs3 is told, but not in the room; then it joins through hs2, which has not heard of the ban.
    await hs1.writing.membership.ban(hs1.as_user("alice"), room_id, hs3.user("carl"))
    await until(lambda: _has_sent_to(hs1, "hs3"))
    network.partition("hs1", "hs3")
    await hs3.join("carl", room_id, hs2)
    network.cut.discard(frozenset(("hs1", "hs2")))
    await until(lambda: is_out(hs3, room_id))


async def test_a_server_that_knows_a_ban_of_an_earlier_stay_hears_of_it_again(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)
    await hs3.join("carl", room_id, hs1)
    await until(lambda: _is_in(hs2, room_id, "hs3"))
    network.partition("hs1", "hs2")
    network.partition("hs2", "hs3")
    await hs1.writing.membership.ban(hs1.as_user("alice"), room_id, hs3.user("carl"))
    (ban,) = await hs1.extremities(room_id)
    await until(lambda: is_out(hs3, room_id))
    network.heal()
    network.partition("hs1", "hs2", "hs3")
    network.cut.discard(frozenset(("hs2", "hs3")))
    # What hs3 is told of the room now is without the ban, which it knows.
    await hs3.join("carl", room_id, hs2)
    assert not await is_out(hs3, room_id)
    network.cut.discard(frozenset(("hs1", "hs2")))
    await until(lambda: is_out(hs3, room_id))
    assert (await hs3.state(room_id))["m.room.member", hs3.user("carl")] == ban


async def test_a_ban_that_the_room_has_gone_on_from_counts_for_nothing_when_it_is_told_again(
    hs1: Hearth, hs3: Hearth, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs3.join("carl", room_id, hs1)
    await hs1.writing.membership.ban(hs1.as_user("alice"), room_id, hs3.user("carl"))
    (ban,) = await hs1.extremities(room_id)
    await until(lambda: is_out(hs3, room_id))
    await hs1.writing.membership.unban(hs1.as_user("alice"), room_id, hs3.user("carl"))
    await hs3.join("carl", room_id, hs1)
    stored = await hs1.event(ban)
    assert stored is not None
    extremities = await hs3.extremities(room_id)
    await hs1.say(hs3, [dict(stored.event.pdu)])
    assert await hs3.extremities(room_id) == extremities
    assert not await is_out(hs3, room_id)


async def test_a_server_that_has_left_still_tells_what_came_before(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)

    async def lose(sent: Sent) -> Answer | None:
        return Answer(200, {}, b'{"pdus":{}}') if sent.source == "hs2" and "/send/" in sent.target else None

    network.interferences.append(lose)
    lost = [await hs2.send("bob", room_id, str(number)) for number in range(3)]
    await until(lambda: _has_sent(hs2))
    network.interferences.remove(lose)
    await hs2.writing.membership.leave(hs2.as_user("bob"), room_id)
    await until(lambda: _is_gone(hs1, room_id))
    assert all([await hs1.has(event_id) for event_id in lost])


async def test_a_branch_that_is_shallower_than_the_rest_of_the_room_is_fetched_whole(
    hs1: Hearth, hs2: Hearth, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)
    await hs1.sender.stop()
    await hs2.sender.stop()
    for number in range(30):
        await hs1.send("alice", room_id, str(number))
    branch = [await hs2.send("bob", room_id, str(number)) for number in range(3)]
    last = await hs2.event(branch[-1])
    assert last is not None
    assert (await hs1.writing.receive.receive_event("hs2", last.event)).outcome == "accepted"
    assert all([await hs1.has(event_id) for event_id in branch])


async def _has_sent(server: Hearth) -> bool:
    return not server.sender.waiting()


async def _has_decided_all(server: Hearth) -> bool:
    return not len(server.undecided)


async def _has_sent_to(server: Hearth, destination: str) -> bool:
    return destination not in server.sender.waiting()


async def _is_in(server: Hearth, room_id: str, name: str) -> bool:
    head = await server.reading.heads.get(room_id)
    return head is not None and name in head.hosts


async def _is_gone(server: Hearth, room_id: str) -> bool:
    return await server.membership(room_id, BOB) == "leave"


async def test_an_event_that_could_not_be_judged_as_nobody_could_be_asked_is_tried_again(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs2)

    async def deaf(sent: Sent) -> Answer | None:
        if sent.source == "hs1" and sent.destination == "hs2":
            raise FederationError("unreachable", "hs2", "lost")
        return None

    network.interferences.append(deaf)
    await hs2.sender.stop()
    await hs2.send("bob", room_id, "lost")
    last = await hs2.event(await hs2.send("bob", room_id, "the last that is ever said"))
    assert last is not None
    assert (await hs1.writing.receive.receive_event("hs2", last.event)).outcome == "undecided"
    network.interferences.remove(deaf)
    hs1.outside.reachability.succeeded("hs2")
    await until(lambda: hs1.has(last.event_id))
    await until(lambda: _has_decided_all(hs1))
