"""Hints between processes that never arrive, or late: what they were about is found, and nothing wrong is done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import orjson
import pytest

from homeserver.runtime.bus import Hint
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservice_sender import AppserviceSender
from homeserver.services.appservice_transactions import Transactions
from homeserver.services.appservices import Appservices, read_registration
from homeserver.services.notifier import Notifier
from homeserver.services.one_time_key_counts import OneTimeKeyCounts
from storage.database import Database
from storage.streams import Stream
from tests.services.linked import LinkedBus, linked_databases
from tests.services.spine import ALICE, SERVER, Person, Spine
from tests.services.test_appservice_sender import FakeHttp

REGISTRATION = f"""
id: irc
url: websocket
as_token: a
hs_token: secret
sender_localpart: ircbot
namespaces:
  users: [{{exclusive: true, regex: "@irc_.*:{SERVER}"}}]
"""
GHOST = Person(f"@irc_a:{SERVER}")


@dataclass
class BridgeSocket:
    """The bridge's end of a WebSocket."""

    told: list[str] = field(default_factory=list)
    is_replaced: bool = False

    async def deliver(self, txn_id: str, inside: bytes) -> None:
        events = orjson.loads(b"{%b}" % inside)["events"]
        self.told += [event["content"]["body"] for event in events if "body" in event["content"]]

    async def replaced(self) -> None:
        self.is_replaced = True


class Process:
    """What one process has of it."""

    def __init__(self, database: Database, name: str, seed: int) -> None:
        self.database, self.tasks = database, Tasks(name)
        self.spine = Spine(database, seed=seed)
        self.clock = self.spine.clock
        self.notifier = Notifier(database, self.tasks, self.clock)
        bridges = Appservices([read_registration(REGISTRATION, SERVER)])
        (self.bridge,) = bridges.all
        counts = OneTimeKeyCounts(database)
        # Typing and presence are asked for where they are wanted, which is not here.
        transactions = Transactions(database, self.spine.events, self.spine.heads, None, None, counts)  # type: ignore[arg-type]
        parts = (database, bridges, transactions, FakeHttp(), self.clock, SeededRandomness(), self.tasks)
        self.sender = AppserviceSender(*parts, process_name=name)  # type: ignore[arg-type]

    def cut(self, is_cut: bool = True) -> None:
        """The other process hears nothing of this one."""
        assert isinstance(self.database.bus, LinkedBus)
        self.database.bus.is_cut = is_cut


Pair = tuple[Process, Process]


@pytest.fixture
async def pair(make_database: Callable[[], str]) -> AsyncIterator[Pair]:
    async with linked_databases(make_database()) as (first, second):
        both = Process(first, "first", 1), Process(second, "second", 2)
        for process in both:
            await process.sender.start()
        yield both
        for process in both:
            await process.tasks.close()


async def until(pair: Pair, holds: Callable[[], bool]) -> None:
    """Time goes on for both."""
    async with asyncio.timeout(60):
        while not holds():
            for process in pair:
                process.clock.advance(0.05)  # a lease outlasts many turns
            await asyncio.sleep(0.001)


async def test_a_bridge_is_told_though_no_hint_came_and_nothing_follows(pair: Pair) -> None:
    here, there = pair
    room_id = await here.spine.new_room(ALICE, [GHOST])
    socket = BridgeSocket()
    await there.sender.connected(there.bridge, socket)
    await here.spine.say(ALICE, room_id, "told")
    await until(pair, lambda: "told" in socket.told)
    here.cut()
    await here.spine.say(ALICE, room_id, "lost")
    await until(pair, lambda: "lost" in socket.told)


async def test_a_process_that_has_not_heard_of_what_another_told_goes_on_from_there(pair: Pair) -> None:
    here, there = pair
    room_id = await here.spine.new_room(ALICE)
    await until(pair, lambda: there.notifier.position == here.notifier.position)
    assert await there.spine.heads.get(room_id) is not None
    here.cut()
    await here.spine.membership.join(GHOST, room_id)  # type: ignore[arg-type]
    socket = BridgeSocket()
    await here.sender.connected(here.bridge, socket)
    await here.spine.say(ALICE, room_id, "one")
    await until((here, here), lambda: "one" in socket.told)
    await here.sender.disconnected(here.bridge, socket)
    await there.sender.connected(there.bridge, socket)
    here.cut(False)
    for body in ("two", "three"):
        await here.spine.say(ALICE, room_id, body)
        await until(pair, lambda body=body: body in socket.told)
    assert socket.told == ["one", "two", "three"]


async def test_whoever_listens_looks_at_the_database_where_the_log_is_further_than_the_hints(pair: Pair) -> None:
    here, there = pair
    gaps: list[int] = []
    there.database.bus.subscribe(lambda _: None, lambda: gaps.append(there.database.position))
    room_id = await here.spine.new_room(ALICE)
    await until(pair, lambda: there.notifier.position == here.notifier.position)
    for _ in range(200):
        there.clock.advance(1)
        await asyncio.sleep(0.001)
    assert gaps == []
    here.cut()
    await here.spine.say(ALICE, room_id, "lost")
    await until(pair, lambda: bool(gaps))


async def test_word_to_leave_a_bridge_to_another_process_that_comes_late_does_not_close_a_newer_connection(
    pair: Pair,
) -> None:
    here, there = pair
    room_id = await here.spine.new_room(ALICE, [GHOST])
    sockets = [BridgeSocket() for _ in range(3)]
    words: list[Hint] = []
    here.database.bus.subscribe(lambda hints: words.extend(h for h in hints if h.stream == Stream.APPSERVICE_SOCKETS))
    for number, (process, socket) in enumerate(zip((here, there, here), sockets, strict=True)):
        await process.sender.connected(process.bridge, socket)
        await here.spine.say(ALICE, room_id, f"to {number}")
        await until(pair, lambda number=number, socket=socket: f"to {number}" in socket.told)
        if process is there:
            late = list(words)
    assert [socket.is_replaced for socket in sockets] == [True, True, False]
    assert late
    here.database.bus._deliver(late)
    await here.spine.say(ALICE, room_id, "goes on")
    await until(pair, lambda: "goes on" in sockets[2].told)
    assert not sockets[2].is_replaced
