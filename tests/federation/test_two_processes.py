"""Two processes of one server over one PostgreSQL: one sends, whichever writes; when it dies the other goes on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.clock import FrozenClock
from storage.database import Database, Write
from storage.receipts import Receipt, put
from storage.streams import Stream
from tests.conftest import MakeDatabase
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network


def sent_to(network: Network, server_name: str) -> list[str]:
    sent = [request for request in network.requests("/v1/send/") if request.destination == server_name]
    return [pdu["content"].get("body") for one in sent for pdu in orjson.loads(one.body or b"")["pdus"]]


class PairedBus(Bus):
    """Hands hints to the other process without what only this one can use."""

    def __init__(self) -> None:
        super().__init__()
        self.other: PairedBus | None = None

    def publish(self, hints: list[Hint]) -> None:
        super().publish(hints)
        if self.other is not None:
            told = [h if isinstance(h.payload, dict) else replace(h, payload=None) for h in hints]
            self.other._deliver(told)


@pytest.fixture
async def pair(
    make_database: MakeDatabase, network: Network, tmp_path: Path, clock: FrozenClock
) -> AsyncIterator[tuple[Hearth, Hearth]]:
    url = make_database()
    first, second = PairedBus(), PairedBus()
    first.other, second.other = second, first
    processes = []
    for number, bus in enumerate((first, second)):
        database = await Database.open(url, readers=2, bus=bus, is_shared=True)
        processes.append(await Hearth.of(network, "hs1", clock, bus, database, process=str(number)))
    yield processes[0], processes[1]
    for process in processes:
        await process.base.close()


async def test_what_either_process_writes_is_sent_once_and_by_the_other_when_the_first_dies(
    pair: tuple[Hearth, Hearth], hs2: Hearth, until: Until, clock: FrozenClock, network: Network
) -> None:
    one, two = pair
    assert [one.sender.is_active, two.sender.is_active] == [True, False]
    room_id = await one.create_room("alice")
    await hs2.join("bob", room_id, one)
    ids = []
    for number in range(6):
        ids.append(await (one, two)[number % 2].send("alice", room_id, str(number)))
    await until(lambda: hs2.has(ids[-1]))
    assert all([await hs2.has(event_id) for event_id in ids])
    await read_by_alice(two, room_id, ids[-1])

    async def read() -> bool:
        return bool(hs2.received.receipts)

    await until(read)
    network.servers["hs1"] = two.serve
    one.base.bus.other = two.base.bus.other = None  # type: ignore[attr-defined]
    await one.base.close()
    last = await two.send("alice", room_id, "after the crash")

    async def arrived() -> bool:
        clock.advance(1)
        await asyncio.sleep(0.005)
        return await hs2.has(last)

    await until(arrived)
    assert two.sender.is_active


async def test_the_members_of_a_room_are_read_by_one_process_and_known_to_both(
    pair: tuple[Hearth, Hearth], hs2: Hearth, until: Until, network: Network
) -> None:
    one, two = pair
    room_id = await hs2.create_room("alice")
    await hs2.join("ann", room_id)
    assert await two.reading.heads.get(room_id) is None
    await one.join("bob", room_id, hs2, whole=False)
    assert "@bob:hs1" in (await two.reading.heads.get(room_id)).joined  # type: ignore[union-attr]

    async def are_whole() -> bool:
        return not any(process.reading.partial.is_partial(room_id) for process in (one, two))

    await until(are_whole)
    for process in (one, two):
        assert await process.state(room_id) == await hs2.state(room_id)
        head = await process.reading.heads.get(room_id)
        assert head is not None
        assert not head.is_partial
        assert head.hosts == {"hs1": 1, "hs2": 2}
        assert head.joined == {"@alice:hs2", "@ann:hs2", "@bob:hs1"}
    assert len(network.requests("state_ids")) == 1


async def read_by_alice(process: Hearth, room_id: str, event_id: str) -> None:
    head = await process.reading.heads.get(room_id)
    assert head is not None
    room_nid = head.room_nid
    receipt = Receipt("@alice:hs1", "m.read", "", event_id, None, b'{"ts": 1}', 0)

    async def write(tx: Write) -> None:
        put(tx, room_nid, receipt, tx.position(Stream.RECEIPTS, room_id, "@alice:hs1", payload=receipt))

    await process.base.database.write(write)


async def test_a_message_read_from_the_log_before_word_of_a_join_came_goes_to_the_server_that_joined(
    pair: tuple[Hearth, Hearth], hs2: Hearth, hs3: Hearth, until: Until, network: Network
) -> None:
    one, two = pair
    room_id = await one.create_room("alice", preset="public_chat")
    await hs2.join("bob", room_id, one)
    first = await one.send("alice", room_id, "who is in the room is known now")
    await until(lambda: hs2.has(first))
    link = two.base.bus
    assert isinstance(link, PairedBus)
    link.other = None
    network.servers["hs1"] = two.serve
    await hs3.join("carol", room_id, two)
    await two.send("alice", room_id, "welcome")
    last = await one.send("alice", room_id, "from the process that sends")
    await until(lambda: hs3.has(last))
    assert sent_to(network, "hs3") == ["welcome", "from the process that sends"]
