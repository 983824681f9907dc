"""Application services are told of what concerns them: in order, once for each transaction id, until it arrives."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import orjson
import pytest

from homeserver.runtime.http_client import HttpAnswer, HttpFailure
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservice_sender import AppserviceSender
from homeserver.services.appservice_transactions import Transactions
from homeserver.services.appservices import Appservices, read_registration
from homeserver.services.one_time_key_counts import OneTimeKeyCounts
from storage import appservice_queues
from storage.database import Database, Read
from tests.services.spine import ALICE, SERVER, Person, Spine

REGISTRATION = f"""
id: irc
url: http://irc.test
as_token: a
hs_token: secret
sender_localpart: ircbot
namespaces:
  users: [{{exclusive: true, regex: "@irc_.*:{SERVER}"}}]
"""
GHOST = Person(f"@irc_a:{SERVER}")


@dataclass
class FakeHttp:
    """Answers with each of `faults` first: a status, or None where the connection fails."""

    faults: list[int | None] = field(default_factory=list)
    sent: list[tuple[str, str | None, bytes]] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(
        self,
        method: str,
        url: str,
        body: bytes,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        max_bytes: int = 65_536,
    ) -> HttpAnswer:
        assert method == "PUT"
        self.sent.append((url, token, body))
        self.news.set()
        fault = self.faults.pop(0) if self.faults else 200
        if fault is None:
            raise HttpFailure("refused")
        if fault == 200:
            self.arrived.append(body)
        return HttpAnswer(fault, b"{}")

    def told(self) -> list[str]:
        """The messages and memberships that arrived, in order."""
        contents = [event["content"] for body in self.arrived for event in orjson.loads(body)["events"]]
        return [content.get("body") or content.get("membership") for content in contents]

    async def wait_for(self, *, tried: int = 0, arrived: str | None = None) -> None:
        """Until so many transactions were tried, and this message or this membership has arrived."""
        async with asyncio.timeout(60):
            while len(self.sent) < tried or (arrived is not None and arrived not in self.told()):
                self.news.clear()
                await self.news.wait()


@dataclass
class World:
    spine: Spine
    http: FakeHttp
    tasks: Tasks

    def sender(self, registration: str = REGISTRATION) -> AppserviceSender:
        spine = self.spine
        bridges = Appservices([read_registration(registration, SERVER)])
        counts = OneTimeKeyCounts(spine.database)
        # Typing and presence are asked for where they are wanted: by the tests of the whole server.
        transactions = Transactions(spine.database, spine.events, spine.heads, None, None, counts)  # type: ignore[arg-type]
        parts = (spine.database, bridges, transactions, self.http, spine.clock, SeededRandomness())
        return AppserviceSender(*parts, self.tasks)  # type: ignore[arg-type]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    database = await Database.open(database_url)
    tasks = Tasks()
    yield World(Spine(database), FakeHttp(), tasks)
    await tasks.close()
    await database.close()


async def room_with_ghost(world: World) -> str:
    return await world.spine.new_room(ALICE, [GHOST])


async def test_events_of_rooms_with_ghosts_arrive_in_order(world: World) -> None:
    room_id = await room_with_ghost(world)
    other = await world.spine.new_room(ALICE)
    await world.sender().start()
    await world.spine.say(ALICE, room_id, "one")
    await world.spine.say(ALICE, other, "not for it")
    await world.spine.say(ALICE, room_id, "two")
    await world.http.wait_for(arrived="two")
    assert world.http.told() == ["one", "two"]
    url, token, body = world.http.sent[0]
    assert url == "http://irc.test/_matrix/app/v1/transactions/1"
    assert token == "secret"
    assert orjson.loads(body)["events"][0]["room_id"] == room_id


async def test_nothing_arrives_between_the_last_ghosts_leave_and_a_join(world: World) -> None:
    room_id = await room_with_ghost(world)
    await world.sender().start()
    await world.spine.say(ALICE, room_id, "one")
    await world.spine.membership.leave(GHOST, room_id)  # type: ignore[arg-type]
    await world.spine.say(ALICE, room_id, "two")
    await world.spine.membership.join(GHOST, room_id)  # type: ignore[arg-type]
    await world.http.wait_for(arrived="join")
    assert world.http.told() == ["one", "leave", "join"]


async def test_failed_transaction_is_tried_again_unchanged_before_the_next(world: World) -> None:
    room_id = await room_with_ghost(world)
    world.http.faults = [None, 500]
    await world.sender().start()
    await world.spine.say(ALICE, room_id, "one")
    await world.http.wait_for(tried=1)
    await world.spine.say(ALICE, room_id, "two")
    while len(world.http.sent) < 3:
        world.spine.clock.advance(3)
        await asyncio.sleep(0)
    await world.http.wait_for(arrived="two")
    assert len({(url, body) for url, _, body in world.http.sent[:3]}) == 1
    assert world.http.told() == ["one", "two"]
    assert world.http.sent[-1][0].endswith("/2")


async def test_unfinished_transaction_is_the_same_after_a_restart(world: World) -> None:
    room_id = await room_with_ghost(world)
    world.http.faults = [None]
    first = world.sender()
    await first.start()
    await world.spine.say(ALICE, room_id, "one")
    await world.http.wait_for(tried=1)
    await first.stop()
    await world.spine.say(ALICE, room_id, "two")
    await world.sender().start()
    await world.http.wait_for(arrived="two")
    assert world.http.sent[0] == world.http.sent[1]
    assert world.http.told() == ["one", "two"]


async def test_what_happened_while_it_was_stopped_is_told_later(world: World) -> None:
    room_id = await room_with_ghost(world)
    first = world.sender()
    await first.start()
    await world.spine.say(ALICE, room_id, "before")
    await world.http.wait_for(arrived="before")
    await first.stop()
    await world.spine.say(ALICE, room_id, "meanwhile")
    await world.sender().start()
    await world.http.wait_for(arrived="meanwhile")
    assert world.http.told()[-1] == "meanwhile"


async def test_who_joined_while_another_process_sent_is_known(world: World) -> None:
    room_id, other = await room_with_ghost(world), await world.spine.new_room(ALICE)
    first, second = world.sender(), world.sender()
    await first.start()
    await world.spine.say(ALICE, other, "not for it")
    await world.spine.say(ALICE, room_id, "one")
    await world.http.wait_for(arrived="one")
    await first.stop()
    await second.start()
    await world.spine.membership.join(GHOST, other)  # type: ignore[arg-type]
    await world.http.wait_for(arrived="join")
    await second.stop()
    await first.start()
    await world.spine.say(ALICE, other, "two")
    await world.spine.say(ALICE, room_id, "three")
    await world.http.wait_for(arrived="three")
    assert world.http.told() == ["one", "join", "two", "three"]


async def test_invite_of_a_ghost_is_told(world: World) -> None:
    room_id = await world.spine.new_room(ALICE, preset="private_chat")
    await world.sender().start()
    await world.spine.membership.invite(ALICE, room_id, GHOST.user_id)  # type: ignore[arg-type]
    await world.http.wait_for(arrived="invite")
    (event,) = orjson.loads(world.http.arrived[0])["events"]
    assert event["state_key"] == GHOST.user_id


async def test_what_was_said_before_a_ghost_left_arrives_though_it_is_told_after(world: World) -> None:
    room_id = await room_with_ghost(world)
    first = world.sender()
    await first.start()
    await first.stop()
    await world.spine.say(ALICE, room_id, "one")
    await world.spine.membership.leave(GHOST, room_id)  # type: ignore[arg-type]
    await world.spine.say(ALICE, room_id, "two")
    await world.sender().start()
    await world.http.wait_for(arrived="leave")
    assert world.http.told() == ["one", "leave"]


async def test_messages_of_rooms_that_do_not_concern_it_are_not_even_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id, other = await room_with_ghost(world), await world.spine.new_room(ALICE)
    reads: list[int] = []
    real = appservice_queues.events_after

    async def counted(tx: Read, after: int, upto: int, limit: int) -> list[tuple[int, int]]:
        reads.append(upto)
        return await real(tx, after, upto, limit)

    monkeypatch.setattr(appservice_queues, "events_after", counted)
    await world.sender().start()
    for room in (other, room_id):
        await world.spine.say(ALICE, room, "first")
    await world.http.wait_for(arrived="first")
    before = len(reads)
    for number in range(20):
        await world.spine.say(ALICE, other, f"message {number}")
    assert len(reads) <= before + 1
    # What concerns it afterwards comes all the same, and with it the ghost that joins there.
    await world.spine.membership.join(GHOST, other)  # type: ignore[arg-type]
    await world.spine.say(ALICE, other, "second")
    await world.http.wait_for(arrived="second")
    assert world.http.told() == ["first", "join", "second"]


async def test_room_concerns_it_from_its_alias_on(world: World) -> None:
    registration = REGISTRATION + """  aliases: [{exclusive: false, regex: "#irc_.*"}]\n"""
    room_id = await world.spine.new_room(ALICE)
    await world.sender(registration).start()
    await world.spine.say(ALICE, room_id, "before")
    alias = f"#irc_a:{SERVER}"
    await world.spine.directory.create(ALICE, alias, room_id)  # type: ignore[arg-type]
    await world.spine.say(ALICE, room_id, "one")
    await world.http.wait_for(arrived="one")
    await world.spine.directory.delete(ALICE, alias)  # type: ignore[arg-type]
    for text in ("two", "three"):
        await world.spine.say(ALICE, room_id, text)
    await world.spine.membership.invite(ALICE, room_id, GHOST.user_id)  # type: ignore[arg-type]
    await world.http.wait_for(arrived="invite")
    assert world.http.told()[-2:] == ["one", "invite"]


async def test_sign_of_life_ends_the_wait(world: World) -> None:
    room_id = await room_with_ghost(world)
    world.http.faults = [None]
    sender = world.sender()
    await sender.start()
    await world.spine.say(ALICE, room_id, "one")
    await world.http.wait_for(tried=1)
    (bridge,) = Appservices([read_registration(REGISTRATION, SERVER)]).all
    async with asyncio.timeout(60):
        while not world.http.arrived:
            sender.try_again(bridge)
            await asyncio.sleep(0)
    assert world.http.told() == ["one"]
