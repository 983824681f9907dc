import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from federation.outbound.transport import Answer
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import FrozenClock
from storage import destinations as storage
from storage.database import Write
from storage.destinations import add_edu
from storage.receipts import Receipt
from storage.streams import Stream
from tests.federation.conftest import StartServer, Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent

JOINED_ONLY = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}


async def settle() -> None:
    for _ in range(60):
        await asyncio.sleep(0.001)


async def came_true(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait without the clock going on."""
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.001)


def sent_events(network: Network, destination: str) -> list[str]:
    """Bodies of messages, in the order in which they went to a server."""
    return [
        pdu["content"]["body"]
        for sent in network.requests("/v1/send/")
        if sent.destination == destination
        for pdu in orjson.loads(sent.body or b"")["pdus"]
        if pdu["type"] == "m.room.message"
    ]


async def test_what_was_missed_in_an_outage_arrives_in_order_afterwards(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    ids = [await hs1.send("alice", room_id, str(number)) for number in range(120)]
    await settle()
    assert not await hs2.has(ids[0])
    network.log.clear()
    network.heal()
    await until(lambda: hs2.has(ids[-1]))
    assert all([await hs2.has(event_id) for event_id in ids])
    bodies = sent_events(network, "hs2")
    assert sorted(set(bodies), key=int) == [str(number) for number in range(120)]
    assert list(dict.fromkeys(bodies)) == [str(number) for number in range(120)]


async def test_more_than_memory_holds_is_read_from_the_database(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation.outbound.outbox.MAX_WAITING", 10)
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    ids = [await hs1.send("alice", room_id, str(number)) for number in range(70)]
    await settle()
    network.heal()
    await until(lambda: hs2.has(ids[-1]))
    assert all([await hs2.has(event_id) for event_id in ids])
    later = await hs1.send("alice", room_id, "later")
    await until(lambda: hs2.has(later))


@pytest.mark.parametrize("kill", [False, True])
async def test_a_restart_forgets_nothing_that_was_not_sent(
    hs1: Hearth,
    hs2: Hearth,
    network: Network,
    until: Until,
    start: StartServer,
    tmp_path: Path,
    clock: FrozenClock,
    kill: bool,
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    ids = [await hs1.send("alice", room_id, str(number)) for number in range(5)]
    await settle()
    await hs1.stop(kill=kill)
    network.heal()
    again = await start("hs1")
    await until(lambda: hs2.has(ids[-1]))
    assert all([await hs2.has(event_id) for event_id in ids])
    later = await again.send("alice", room_id, "later")
    await until(lambda: hs2.has(later))


async def test_after_a_restart_nothing_is_sent_twice_that_was_noted_as_sent(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until, start: StartServer
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    message = await hs1.send("alice", room_id, "once")
    await until(lambda: hs2.has(message))

    async def is_answered() -> bool:
        return hs1.sender.waiting() == {}

    await until(is_answered)
    await hs1.stop()
    network.log.clear()
    await start("hs1")
    await settle()
    assert sent_events(network, "hs2") == []


async def test_a_server_that_is_behind_is_not_sent_what_was_said_in_a_room_before_it_came(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until, start: StartServer
) -> None:
    shared = await hs1.create_room("alice")
    await hs2.join("bob", shared, hs1)
    secret = await hs1.create_room("alice", preset="public_chat", initial_state=[JOINED_ONLY])

    async def takes_nothing(sent: Sent) -> Answer | None:
        return Answer(500, {}, b"{}") if "/v1/send/" in sent.target and sent.destination == "hs2" else None

    network.interferences.append(takes_nothing)
    for number in range(3):
        await hs1.send("alice", shared, str(number))
    await hs1.send("alice", secret, "before you came")
    await settle()
    await hs2.join("bob", secret, hs1)
    await hs1.send("alice", secret, "welcome")
    await hs1.stop()
    network.interferences.remove(takes_nothing)
    network.log.clear()
    again = await start("hs1")
    last = await again.send("alice", shared, "last")
    await until(lambda: hs2.has(last))
    await settle()
    assert sent_events(network, "hs2") == ["0", "1", "2", "welcome", "last"]


async def test_one_transaction_at_a_time_and_never_more_than_50_events(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    under_way = most = 0
    release = asyncio.Event()

    async def slow(sent: Sent) -> Answer | None:
        nonlocal under_way, most
        if "/v1/send/" not in sent.target or sent.destination != "hs2":
            return None
        assert len(orjson.loads(sent.body or b"")["pdus"]) <= 50
        under_way += 1
        most = max(most, under_way)
        await release.wait()
        under_way -= 1
        return None

    network.interferences.append(slow)
    ids = [await hs1.send("alice", room_id, str(number)) for number in range(130)]
    await settle()
    release.set()
    await until(lambda: hs2.has(ids[-1]))
    assert most == 1


async def test_a_server_that_is_heard_from_is_sent_what_waits_at_once(
    hs1: Hearth, hs2: Hearth, network: Network, clock: FrozenClock
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    waiting = await hs1.send("alice", room_id, "waiting")

    async def is_given_up() -> bool:
        return not hs1.outside.reachability.may_try("hs2")

    await came_true(is_given_up)
    network.heal()
    await hs2.send("bob", room_id, "here I am")
    await came_true(lambda: hs2.has(waiting))


async def test_the_pauses_of_a_dead_server_grow(
    hs1: Hearth, hs2: Hearth, network: Network, clock: FrozenClock
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    network.log.clear()
    await hs1.send("alice", room_id, "hello?")
    for _ in range(600):
        clock.advance(1)
        await asyncio.sleep(0.001)
    assert 4 <= len(network.requests("/v1/send/")) <= 12


async def test_a_server_whose_last_user_is_kicked_hears_of_it(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    await hs1.writing.membership.kick(hs1.as_user("alice"), room_id, "@bob:hs2")

    async def gone() -> bool:
        return await hs2.membership(room_id, "@bob:hs2") == "leave"

    await until(gone)
    after = await hs1.send("alice", room_id, "without bob")
    await settle()
    assert await hs2.event(after) is None


async def test_a_kick_survives_an_outage_and_a_restart(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until, start: StartServer
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    await hs1.writing.membership.ban(hs1.as_user("alice"), room_id, "@bob:hs2")
    await settle()
    await hs1.stop()
    await start("hs1")
    network.heal()

    async def banned() -> bool:
        return await hs2.membership(room_id, "@bob:hs2") == "ban"

    await until(banned)


async def test_durable_edus_arrive_once_even_over_an_outage_and_a_restart(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until, start: StartServer
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    network.partition("hs1", "hs2")
    content = {"sender": "@alice:hs1", "type": "m.test", "message_id": "1", "messages": {}}

    async def write(tx: Write) -> None:
        position = tx.position(Stream.FEDERATION_EDUS, "hs2")
        add_edu(tx, position, ["hs2"], "m.direct_to_device", orjson.dumps(content, option=orjson.OPT_SORT_KEYS))

    await hs1.base.database.write(write)
    await settle()
    await hs1.stop(kill=True)
    network.heal()
    await start("hs1")

    async def arrived() -> bool:
        return bool(hs2.received.to_device)

    await until(arrived)
    await settle()
    assert hs2.received.to_device == [("hs1", content)]


async def test_typing_receipts_and_presence_of_local_users_reach_the_servers_of_the_room(
    hs1: Hearth, hs2: Hearth, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    typing = {"user_id": "@alice:hs1", "typing": True, "timeout_ms": 1, "is_local": True}
    presence = {
        "state": "online", "status_msg": None, "last_active_at": 0, "currently_active": True, "is_local": True
    }  # fmt: skip
    receipt = Receipt("@alice:hs1", "m.read", "", "$event", None, b'{"ts": 1}', 0)
    private = Receipt("@alice:hs1", "m.read.private", "", "$event", None, b'{"ts": 1}', 0)
    hs1.base.bus.publish(
        [
            Hint(Stream.TYPING, 0, (room_id,), typing),
            Hint(Stream.TYPING, 0, (room_id,), typing | {"user_id": "@bob:hs2", "is_local": False}),
            Hint(Stream.PRESENCE, 0, ("@alice:hs1",), presence),
            Hint(Stream.RECEIPTS, 0, (room_id, "@alice:hs1"), receipt),
            Hint(Stream.RECEIPTS, 0, (room_id, "@alice:hs1"), private),
        ]
    )

    async def arrived() -> bool:
        return bool(hs2.received.receipts and hs2.received.presence and hs2.received.typing)

    await until(arrived)
    assert hs2.received.typing == [(room_id, "@alice:hs1", True)]
    assert hs2.received.presence == [("@alice:hs1", "online")]
    [(received_room, content)] = hs2.received.receipts
    assert received_room == room_id
    assert content == {"m.read": {"@alice:hs1": {"event_ids": ["$event"], "data": {"ts": 1}}}}


async def test_what_has_arrived_is_told_to_the_servers_of_the_room(hs1: Hearth, hs2: Hearth, until: Until) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    receipt = Receipt("@alice:hs1", "io.hearth.delivered", "", "$event", None, b'{"ts": 1}', 0)
    hs1.base.bus.publish([Hint(Stream.RECEIPTS, 0, (room_id,), receipt)])

    async def arrived() -> bool:
        return bool(hs2.received.receipts)

    await until(arrived)
    told = {"io.hearth.delivered": {"@alice:hs1": {"event_ids": ["$event"], "data": {"ts": 1}}}}
    assert hs2.received.receipts == [(room_id, told)]


async def test_an_edu_of_which_no_word_came_is_sent_when_that_is_noticed(
    hs1: Hearth, hs2: Hearth, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"sender": "@alice:hs1", "type": "m.test", "message_id": "1", "messages": {}}

    async def write(tx: Write) -> None:
        position = tx.position(Stream.FEDERATION_EDUS, "hs2")
        add_edu(tx, position, ["hs2"], "m.direct_to_device", orjson.dumps(content, option=orjson.OPT_SORT_KEYS))

    with monkeypatch.context() as silence:
        silence.setattr(hs1.base.bus, "publish", lambda hints: None)
        await hs1.base.database.write(write)
    hs1.base.bus.gap()

    async def arrived() -> bool:
        return bool(hs2.received.to_device)

    await until(arrived)


async def test_a_gap_in_the_news_while_the_log_is_read_has_it_read_again(
    hs1: Hearth, hs2: Hearth, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    await settle()
    original, said = storage.events_after, list[str]()

    async def events_after(*of: Any) -> Any:
        found = await original(*of)
        if not said:
            with monkeypatch.context() as silence:
                silence.setattr(hs1.base.bus, "publish", lambda hints: None)
                said.append(await hs1.send("alice", room_id, "unheard"))
            hs1.base.bus.gap()
        return found

    monkeypatch.setattr(storage, "events_after", events_after)
    hs1.base.bus.gap()
    await until(lambda: _has_all(hs2, said))


async def _has_all(server: Hearth, event_ids: list[str]) -> bool:
    return bool(event_ids) and all([await server.has(event_id) for event_id in event_ids])


async def test_no_task_stays_for_servers_that_have_been_sent_everything(
    hs1: Hearth, hs2: Hearth, until: Until
) -> None:
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    before = len(hs1.base.tasks)
    message = await hs1.send("alice", room_id, "hello")
    await until(lambda: hs2.has(message))

    async def is_done() -> bool:
        return len(hs1.base.tasks) <= before and hs1.sender.waiting() == {}

    await until(is_done)


async def test_a_server_that_starts_again_within_the_same_millisecond_repeats_no_transaction_id(
    start: StartServer, hs2: Hearth, network: Network
) -> None:
    hs1 = await start("hs1")
    room_id = await hs1.create_room("alice")
    await hs2.join("bob", room_id, hs1)
    for number in range(3):
        said = await hs1.send("alice", room_id, str(number))
        # The other server took it for what it had seen, if the id were the same.
        await came_true(lambda said=said: hs2.has(said))
        await hs1.stop(kill=True)
        hs1 = await start("hs1")
    targets = [(sent.target, sent.body) for sent in network.requests("/v1/send/") if sent.source == "hs1"]
    assert len(set(targets)) == len({target for target, _ in targets}) >= 3
