"""Rooms joined without their members: usable at once, and in the end the same as if they had been joined in full."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from federation.outbound.failures import FederationError
from federation.outbound.transport import Answer
from homeserver.app.media import build_media
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.errors import MatrixError, NotFound
from homeserver.services.long_texts import LongTextReader
from homeserver.services.search_index import SearchIndex
from storage import partial_rooms, user_directory
from storage.database import Write
from storage.partial_rooms import PartialRoom
from storage.tables import events, memberships, room_hosts
from storage.tables import rooms as rooms_table
from tests.federation.conftest import StartServer, Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent

MEMBER = "m.room.member"


class Gate:
    """Holds back what hs2 asks about the state of rooms."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.refuses: set[str] = set()
        self.asked: list[str] = []
        self._held: set[asyncio.Task[bool]] = set()

    async def __call__(self, sent: Sent) -> Answer | None:
        if sent.source == "hs2" and "/state_ids/" in sent.target:
            self.asked.append(sent.destination)
            await self._hold(sent.destination)
            if sent.destination in self.refuses:
                return Answer(403, {"content-type": "application/json"}, b'{"errcode":"M_FORBIDDEN","error":"no"}')
        return None

    async def _hold(self, destination: str) -> None:
        opened = asyncio.ensure_future(self.opened.wait())
        self._held.add(opened)
        try:
            await asyncio.wait([opened])
        finally:
            self._held.discard(opened)
            opened.cancel()
        if opened.cancelled():
            raise FederationError("unreachable", destination, "the connection is lost")

    def lose(self) -> None:
        """What is held back now is never answered."""
        for opened in self._held:
            opened.cancel()


@pytest.fixture
async def gate(network: Network) -> AsyncIterator[Gate]:
    gate = Gate()
    network.interferences.append(gate)
    yield gate
    gate.opened.set()


async def whole(server: Hearth, room_id: str, until: Until) -> None:
    async def is_whole() -> bool:
        return not server.reading.partial.is_partial(room_id)

    await until(is_whole)


async def facts(server: Hearth, room_id: str) -> dict[str, object]:
    """Everything that two servers in a room have to agree on."""
    head = await server.reading.heads.get(room_id)
    assert head is not None
    nid = head.room_nid
    async with server.base.database.read() as tx:
        members = await tx.fetch_all(select(memberships).where(memberships.c.room_nid == nid))
        hosts = await tx.fetch_all(select(room_hosts).where(room_hosts.c.room_nid == nid))
        row = await tx.fetch_one(select(rooms_table).where(rooms_table.c.room_nid == nid))
    assert row is not None
    return {
        "state": await server.state(room_id),
        "extremities": await server.extremities(room_id),
        "members": {(m.user_id, m.membership, m.sender, m.display_name) for m in members},
        "hosts": {(host.server_name, host.joined_count) for host in hosts},
        "counts": (row.joined_count, row.invited_count),
        "head": (head.joined, head.invited, head.hosts),
    }


async def judgements(server: Hearth, room_id: str) -> dict[str, str]:
    """Every event of the timeline, and what the server thinks of it."""
    head = await server.reading.heads.get(room_id)
    assert head is not None
    where = (events.c.room_nid == head.room_nid, events.c.outlier.is_(False))
    async with server.base.database.read() as tx:
        rows = await tx.fetch_all(select(events).where(*where))
    return {
        row.event_id: "rejected" if row.rejected else "soft-failed" if row.soft_failed else "accepted" for row in rows
    }


async def states_before(server: Hearth, event_ids: set[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for event_id in event_ids:
        stored = await server.event(event_id)
        assert stored is not None
        found[event_id] = await server.reading.state.before(stored)
    return found


async def test_a_room_can_be_read_and_written_to_before_its_members_are_known(
    hs1: Hearth, hs2: Hearth, gate: Gate, until: Until
) -> None:
    room_id = await hs1.create_room("alice", name="the room")
    await hs1.join("ann", room_id)
    await hs2.join("bob", room_id, hs1, whole=False)
    known = await hs2.state(room_id)
    assert (MEMBER, "@bob:hs2") in known
    assert (MEMBER, "@ann:hs1") not in known
    said = await hs2.send("bob", room_id, "hello")
    await until(lambda: hs1.has(said))
    answer = await hs1.send("ann", room_id, "welcome")
    await until(lambda: hs2.has(answer))
    assert (MEMBER, "@ann:hs1") in await hs2.state(room_id)  # as her message says
    gate.opened.set()
    await whole(hs2, room_id, until)
    assert await facts(hs2, room_id) == await facts(hs1, room_id)


async def test_what_was_said_before_the_members_were_known_still_reaches_a_server_that_was_down(
    start: StartServer, hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, gate: Gate, until: Until
) -> None:
    room_id = await hs1.create_room("alice", preset="public_chat", name="the room")
    await hs3.join("carol", room_id, hs1)
    await hs1.join("ann", room_id)

    async def takes_nothing(sent: Sent) -> Answer | None:
        return Answer(500, {}, b"{}") if "/v1/send/" in sent.target and sent.destination == "hs3" else None

    network.interferences.append(takes_nothing)
    await hs2.join("bob", room_id, hs1, whole=False)
    said = await hs2.send("bob", room_id, "hello")
    gate.opened.set()
    await whole(hs2, room_id, until)
    await hs2.stop()
    network.interferences.remove(takes_nothing)
    await start("hs2")
    await until(lambda: hs3.has(said))


async def test_others_are_not_let_in_nor_told_the_state_before_it_is_known(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, gate: Gate
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1, whole=False)
    with pytest.raises(NotFound):
        await hs3.join("carol", room_id, hs2)
    join = (await hs2.state(room_id))[MEMBER, "@bob:hs2"]
    with pytest.raises(FederationError) as caught:
        await hs1.outside.client.state_ids("hs2", room_id, join)
    assert caught.value.errcode == "M_FORBIDDEN"


async def test_reading_the_state_goes_on_after_a_restart(
    start: StartServer, hs1: Hearth, hs2: Hearth, gate: Gate, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1, whole=False)
    await hs2.stop(kill=True)
    gate.opened.set()
    hs2 = await start("hs2")
    await whole(hs2, room_id, until)
    assert await facts(hs2, room_id) == await facts(hs1, room_id)


async def test_other_servers_are_asked_where_the_one_joined_through_is_gone(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, gate: Gate, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs3.join("carol", room_id, hs1)
    gate.refuses.add("hs1")
    await hs2.join("bob", room_id, hs1, whole=False)

    async def knows() -> bool:
        return await hs3.membership(room_id, "@bob:hs2") == "join"

    await until(knows)
    gate.opened.set()
    await whole(hs2, room_id, until)
    assert list(dict.fromkeys(gate.asked)) == ["hs1", "hs3"]
    assert await facts(hs2, room_id) == await facts(hs3, room_id)


async def test_a_state_is_whole_only_with_the_events_that_did_not_arrive_at_first(
    hs1: Hearth, hs2: Hearth, network: Network, gate: Gate, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    for number in range(8):
        await hs1.join(f"user{number}", room_id)
    [newest] = await hs1.extremities(room_id)
    lost: list[str] = []

    async def lose(sent: Sent) -> Answer | None:
        if "/event/" in sent.target and quote(newest, safe="") not in sent.target and not lost:
            lost.append(sent.target)
            while len(network.requests("/event/")) < 4:  # the others arrive
                await asyncio.sleep(0)
            raise FederationError("unreachable", sent.destination, "the answer was lost")
        return None

    network.interferences.append(lose)
    await hs2.join("bob", room_id, hs1, whole=False)
    gate.opened.set()
    await whole(hs2, room_id, until)
    assert lost
    assert await facts(hs2, room_id) == await facts(hs1, room_id)


async def test_whoever_is_kicked_is_looked_for_among_all_members(hs1: Hearth, hs2: Hearth, gate: Gate) -> None:
    users = {"@alice:hs1": 100, "@bob:hs2": 50}
    room_id = await hs1.create_room("alice", room_version="11", power_level_content_override={"users": users})
    await hs1.join("ann", room_id)
    await hs2.join("bob", room_id, hs1, whole=False)
    kick = asyncio.create_task(hs2.writing.membership.kick(hs2.as_user("bob"), room_id, "@ann:hs1"))
    gate.opened.set()
    await kick
    assert await hs2.membership(room_id, "@ann:hs1") == "leave"


async def test_who_leaves_meanwhile_can_come_back(hs1: Hearth, hs2: Hearth, gate: Gate, until: Until) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1, whole=False)
    await hs2.writing.membership.leave(hs2.as_user("bob"), room_id)

    async def is_gone() -> bool:
        return await hs1.membership(room_id, "@bob:hs2") == "leave"

    await until(is_gone)
    await hs1.send("alice", room_id, "while bob was away")
    await hs2.join("bob", room_id, hs1, whole=False)
    gate.opened.set()
    await whole(hs2, room_id, until)
    assert await facts(hs2, room_id) == await facts(hs1, room_id)


async def test_what_is_written_at_the_same_time_is_not_lost(
    hs1: Hearth, hs2: Hearth, gate: Gate, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    gate.opened.set()
    gate.refuses.add("hs1")
    await hs2.join("bob", room_id, hs1, whole=False)
    await until(lambda: _is(bool(gate.asked)))
    gate.refuses.clear()
    async with hs2.base.database.read() as tx:
        (room,) = await partial_rooms.partial_ones(tx)
    join = await hs2.event(room.join_event_id)
    assert join is not None
    states = await hs2.writing.resync.states("hs1", join.event)
    # All of it waits for the writer, which takes it in one batch.
    is_held, may_go = asyncio.Event(), asyncio.Event()

    async def hold(tx: Write) -> None:
        is_held.set()
        await may_go.wait()

    writes: list[asyncio.Task[Any]] = [asyncio.create_task(hs2.base.database.write(hold))]
    await is_held.wait()
    for one in (
        hs2.send("bob", room_id, "at the same time"),
        hs2.writing.resync.take_over(room, states),
        hs2.writing.membership.leave(hs2.as_user("bob"), room_id),
    ):
        before = len(hs2.base.database._waiting)
        writes.append(asyncio.create_task(one))
        while len(hs2.base.database._waiting) == before:
            await asyncio.sleep(0.001)
    may_go.set()
    _, said, _, _ = await asyncio.gather(*writes)
    assert not hs2.reading.partial.is_partial(room_id)
    assert (await judgements(hs2, room_id))[said] == "accepted"
    await until(lambda: hs1.has(said))
    assert await hs2.membership(room_id, "@bob:hs2") == "leave"

    async def agree() -> bool:
        return await hs1.state(room_id) == await hs2.state(room_id)

    await until(agree)


async def _is(value: bool) -> bool:
    return value


async def test_members_are_found_by_name_though_the_process_died_that_learned_of_them(
    hs1: Hearth, hs2: Hearth, gate: Gate, until: Until
) -> None:
    def index() -> SearchIndex:
        """As of a process that has just started."""
        base = hs2.base
        texts = LongTextReader(build_media(base, hs2.outside).reader)
        return SearchIndex(base.database, hs2.reading.events, texts, base.clock, base.tasks, server_name="hs2")

    room_id = await hs1.create_room("alice")
    await hs1.join("ann", room_id)
    await hs2.join("bob", room_id, hs1, whole=False)
    await index().catch_up()
    gate.opened.set()
    await whole(hs2, room_id, until)
    await index().catch_up()
    async with hs2.base.database.read() as tx:
        assert (await user_directory.entry_ids(tx, ["@ann:hs1"])).keys() == {"@ann:hs1"}


async def test_every_server_of_the_room_is_asked_in_turn_until_one_tells_its_state(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, gate: Gate, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many refuse, and whatever they answer: the room is whole soon after any of them tells."""
    monkeypatch.setattr("homeserver.services.state_resync.SERVERS", 4)
    room_id = await hs1.create_room("alice")
    for number in range(5):
        # Those that are in the room but refuse, and are not taken for servers that cannot be reached.
        name = f"no{number}"
        hs2.network.servers[name] = _refuse
    await hs3.join("carol", room_id, hs1)
    gate.refuses.add("hs1")
    await hs2.join("bob", room_id, hs1, whole=False)
    async with hs2.base.database.read() as tx:
        (room,) = await partial_rooms.partial_ones(tx)
    servers = ("hs1", *(f"no{number}" for number in range(5)), "hs3")

    async def more_servers(tx: Write) -> None:
        partial_rooms.put(tx, PartialRoom(room.room_nid, room.room_id, room.join_event_id, servers))

    await hs2.base.database.write(more_servers)
    gate.opened.set()  # what was asked for before counts no more
    await whole(hs2, room_id, until)
    assert {"hs1", "no4", "hs3"} <= set(gate.asked)


async def _refuse(*_: object) -> Answer:
    return Answer(403, {"content-type": "application/json"}, b'{"errcode":"M_FORBIDDEN","error":"no"}')


async def test_servers_that_leave_no_members_out_are_joined_through_as_ever(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice")
    hs2.writing.remote._faster_joins = False  # type: ignore[attr-defined]
    await hs2.join("bob", room_id, hs1, whole=False)
    assert not hs2.reading.partial.is_partial(room_id)
    assert await facts(hs2, room_id) == await facts(hs1, room_id)


SEEDS = range(1, 13)


@pytest.mark.parametrize("seed", SEEDS)
async def test_it_ends_as_if_the_room_had_been_joined_in_full(
    start: StartServer,
    hs1: Hearth,
    hs2: Hearth,
    hs3: Hearth,
    gate: Gate,
    until: Until,
    seed: int,
) -> None:
    """hs3 joins in full just before hs2 joins without members; random things happen; hs2 is restarted."""
    random = Random(seed)
    room_id, people = await _room(random, hs1, hs3)
    await hs2.join("bob", room_id, random.choice((hs1, hs3)), whole=False)
    joined = (await hs2.state(room_id))[MEMBER, "@bob:hs2"]
    for _ in range(10):
        await _something(random, room_id, people, hs2)
        await asyncio.sleep(0)
    hs2.network.servers.pop("hs2")
    while hs2.answering:
        gate.lose()  # an event that came before what it follows on waits there, too
        await asyncio.sleep(0.001)
    await hs2.stop(kill=random.random() < 0.5)
    for _ in range(3):
        await _something(random, room_id, people, None)
    hs2 = await start("hs2")
    for _ in range(10):
        await _something(random, room_id, people, hs2)
    gate.opened.set()
    await whole(hs2, room_id, until)
    last = await hs1.send("alice", room_id, "the end")
    await until(lambda: hs2.has(last))
    # What one of them alone took for soft-failed is an extremity of the other until that says something.
    last = await hs2.send("bob", room_id, "the end")
    await until(lambda: hs1.has(last))

    async def agree() -> bool:
        return await facts(hs2, room_id) == await facts(hs1, room_id)

    await until(agree)
    ours, theirs = await judgements(hs2, room_id), await judgements(hs1, room_id)
    assert joined in ours
    assert all((theirs[event_id] == "rejected") == (what == "rejected") for event_id, what in ours.items())
    assert await states_before(hs2, ours.keys()) == await states_before(hs1, ours.keys())


async def _room(random: Random, hs1: Hearth, hs3: Hearth) -> tuple[str, list[tuple[Hearth, str]]]:
    room_id = await hs1.create_room(
        "alice",
        room_version=random.choice(tuple(ROOM_VERSIONS)),
        power_level_content_override={"users_default": 0, "events": {"m.room.topic": 0}},
    )
    people = [(hs1, name) for name in ("ann", "arthur", "agnes")] + [(hs3, name) for name in ("carol", "clare")]
    for server, name in people:
        await server.join(name, room_id, hs1)
    levels = await hs1.reading.state.event(room_id, "m.room.power_levels")
    assert levels is not None
    some = {"@ann:hs1": 50, "@carol:hs3": 50}
    users = {**levels.event.content.get("users", {}), **some}
    await hs1.set_state("alice", room_id, "m.room.power_levels", {**levels.event.content, "users": users})
    return room_id, [(hs1, "alice"), *people]


async def _something(random: Random, room_id: str, people: list[tuple[Hearth, str]], hs2: Hearth | None) -> None:
    everybody = [*people, *([(hs2, "bob")] if hs2 is not None else [])]
    server, name = random.choice(everybody)
    target, victim = random.choice(people[1:])
    membership, who = server.writing.membership, server.as_user(name)
    try:
        match random.choice(("say", "say", "topic", "ban", "unban", "kick", "leave", "join", "join", "name")):
            case "say":
                await server.send(name, room_id, str(random.random()))
            case "topic":
                await server.set_state(name, room_id, "m.room.topic", {"topic": str(random.random())})
            case "ban":
                await membership.ban(who, room_id, target.user(victim))
            case "unban" | "kick" if server is hs2:
                pass  # it would wait until all members are known
            case "unban":
                await membership.unban(who, room_id, target.user(victim))
            case "kick":
                await membership.kick(who, room_id, target.user(victim))
            case "leave" if (server, name) in people[1:3]:
                await membership.leave(who, room_id)
            case "join":
                await target.join(victim, room_id, people[0][0], whole=False)
            case _:
                content = {"membership": "join", "displayname": "x"}
                await server.set_state(name, room_id, MEMBER, content, server.user(name))
    except MatrixError:
        pass  # not everybody may do everything
