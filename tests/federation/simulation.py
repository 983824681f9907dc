"""Random histories of rooms on five servers, over a network that loses, delays, repeats and reorders.

A world is one network; several rooms live in it side by side, each with a history of its own (a "run"). All choices
come from one seed, and so does the interleaving of the servers' work: a seed that failed fails again, where Python's
own hashes are the same (PYTHONHASHSEED).
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import select

from federation.outbound.failures import FederationError
from federation.outbound.transport import Answer
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.errors import MatrixError
from homeserver.runtime.clock import FrozenClock
from storage.database import Database
from storage.tables import events
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent
from tests.federation.one_thread import one_thread

SERVERS = ("hs1", "hs2", "hs3", "hs4", "hs5")
ANCHORS, OTHERS = "anna", "bert"
TURNS = 20_000
"""Turns of the loop in which a healed network must come to rest."""

PATIENCE = 2_000
"""Turns after which people give up what they wait for, as a server is to be stopped."""


@dataclass
class Weather:
    """What happens to requests between servers; an `Interference`."""

    random: Random
    network: Network
    severity: float = 1.0
    is_bad: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    late: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __call__(self, sent: Sent) -> Answer | None:
        if not self.is_bad:
            return None
        chance = self.random.random() / self.severity
        if chance < 0.08:
            raise FederationError("unreachable", sent.destination, "lost")
        if chance < 0.14:
            await self._deliver(sent)
            raise FederationError("unreachable", sent.destination, "the answer was lost")
        if chance < 0.22:
            task = asyncio.create_task(self._deliver_late(sent))
            self.late.add(task)
            task.add_done_callback(self.late.discard)
        elif chance < 0.4:
            await self._wait()
        return None

    def turn(self) -> None:
        """Another step of the world: some of what is late arrives."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def clear_up(self) -> None:
        """Everything arrives from now on, and what was under way has arrived."""
        self.is_bad = False
        while self.late:
            self.turn()
            await asyncio.sleep(0)
        self.turn()

    async def _wait(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            if self.is_bad:
                await self.changed.wait()

    async def _deliver_late(self, sent: Sent) -> None:
        await self._wait()
        await self._deliver(sent)

    async def _deliver(self, sent: Sent) -> None:
        serve = self.network.servers.get(sent.destination)
        if serve is not None and frozenset((sent.source, sent.destination)) not in self.network.cut:
            await serve(sent.method, sent.target, sent.headers, sent.body)


class World:
    """Five servers, and the rooms on them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.folder = folder
        self.clock = FrozenClock()
        self.network = Network()
        self.weather = Weather(self.random, self.network, self.random.choice((0.5, 1, 1, 2)))
        # How long servers are apart: the share of steps that bring them together again.
        self.healing = self.random.choice((0.05, 0.15, 0.3))
        self.network.interferences.append(self.weather)
        self.servers: dict[str, Hearth] = {}
        self.acting: set[asyncio.Task[None]] = set()

    async def run(self, rooms: int, steps: int) -> list[str]:
        """As many histories at once; what is wrong with them in the end."""
        empty = await _empty_database(self.folder)
        with one_thread(lambda: self.random.random() < 0.3):
            return await self._run(empty, rooms, steps)

    async def _run(self, empty: bytes, rooms: int, steps: int) -> list[str]:
        try:
            for name in SERVERS:
                (self.folder / f"{name}.db").write_bytes(empty)
                self.servers[name] = await Hearth.start(self.network, name, self.folder, self.clock)
            histories = [await History.begin(self) for _ in range(rooms)]
            await self._come_to_rest(histories)
            for history in histories:
                history.before = frozenset(await history.timeline(self.servers["hs1"]))
            for _ in range(steps):
                await self._step(histories)
            await self._heal()
            return await self._settle(histories)
        finally:
            await self.weather.clear_up()
            for task in self.acting:
                task.cancel()
            for server in list(self.servers.values()):
                if server.name in self.network.servers:
                    await server.stop()

    async def _step(self, histories: list["History"]) -> None:
        chance = self.random.random()
        if chance < 0.25:
            side = self.random.sample(SERVERS, self.random.randint(1, 2))
            self.network.cut |= {frozenset((one, other)) for one in side for other in SERVERS if other not in side}
        elif chance < 0.25 + self.healing:
            self.network.heal()
        elif chance > 0.95:
            await self._restart(self.random.choice(SERVERS))
        self.weather.is_bad = self.random.random() < 0.8
        self.weather.turn()
        self.clock.advance(self.random.choice((0, 0.001, 1, 30)))
        for history in histories:
            task = asyncio.create_task(history.step())
            self.acting.add(task)
            task.add_done_callback(self.acting.discard)
        # Who waits for the network goes on in a later step.
        for _ in range(self.random.randint(20, 200)):
            await asyncio.sleep(0)
        for history in histories:
            await history.observe()

    async def _restart(self, name: str) -> None:
        server = self.servers[name]
        self.network.servers.pop(name)
        turn = 0
        while self.acting or server.answering:
            turn += 1
            if turn % PATIENCE == 0:
                # Who bans waits for the members of the room, and nobody may be there to tell them.
                for task in self.acting:
                    task.cancel()
            self.weather.turn()
            await asyncio.sleep(0)
        await server.stop(kill=self.random.random() < 0.5)
        self.servers[name] = await Hearth.start(self.network, name, self.folder, self.clock)

    async def _heal(self) -> None:
        self.network.heal()
        await self.weather.clear_up()
        while self.acting:
            # Some wait for what is tried again after a pause.
            self.clock.advance(1)
            await asyncio.sleep(0)
        self.clock.advance(7200)

    async def _settle(self, histories: list["History"]) -> list[str]:
        """Lets every server say something in turn until all agree."""
        await self._come_to_rest(histories)
        for name in SERVERS * 2:
            open_ones = [history for history in histories if await history.differences()]
            if not open_ones:
                return []
            for history in open_ones:
                await history.observe()
            await asyncio.gather(*(history.say_something(name) for history in open_ones))
            await self._come_to_rest(open_ones)
        return [text for history in histories for text in await history.differences()]

    async def _come_to_rest(self, histories: list["History"]) -> None:
        idle = 0
        for turn in range(TURNS):
            if any(server.sender.waiting() or server.undecided for server in self.servers.values()):
                idle = 0
            else:
                idle += 1
            if idle % 10 == 9 and not any([await history.differences() for history in histories]):
                return
            if idle > 60:
                return
            if turn % 20 == 19:
                self.clock.advance(5)
            await asyncio.sleep(0)
        raise AssertionError(f"the network does not come to rest: {self.waiting()}")

    def waiting(self) -> dict[str, Any]:
        """What servers have not sent."""
        return {name: waiting for name, server in self.servers.items() if (waiting := server.sender.waiting())}


class History:
    """One room. `hs1` made it, and its creator stays; all others may be thrown out or leave."""

    def __init__(self, world: World, version: str, room_id: str) -> None:
        self.world = world
        self.version = version
        self.room_id = room_id
        self.was_out: set[str] = set()
        self.before: frozenset[str] | None = None
        self.done: list[str] = []

    @classmethod
    async def begin(cls, world: World) -> "History":
        """A room in which somebody of every server is."""
        version = world.random.choice(tuple(ROOM_VERSIONS))
        first = world.servers["hs1"]
        room_id = await first.create_room(
            ANCHORS,
            room_version=version,
            power_level_content_override={"users_default": 0, "events": {"m.room.topic": 0}},
        )
        for name in SERVERS[1:]:
            await world.servers[name].join(ANCHORS, room_id, first)
        history = cls(world, version, room_id)
        levels = {f"@{ANCHORS}:hs2": 100, f"@{ANCHORS}:hs3": 50, f"@{ANCHORS}:hs4": 50}
        await history._set_levels(first, ANCHORS, levels)
        return history

    async def step(self) -> None:
        """Somebody does something, if they may."""
        random = self.world.random
        server = self.world.servers[random.choice(SERVERS)]
        localpart = random.choice((ANCHORS, ANCHORS, OTHERS))
        action = random.choices(tuple(_ACTIONS), tuple(_ACTIONS.values()))[0]
        try:
            await getattr(self, action)(server, localpart)
        except MatrixError as error:
            self.done.append(f"{server.name} {localpart} {action}: {error.errcode}")
        else:
            self.done.append(f"{server.name} {localpart} {action}")

    async def say_something(self, name: str) -> None:
        """A message of anybody of the server who is in the room.

        A server that believes in a kick which did not stand elsewhere hears no more of the room: its users join again.
        """
        server, first = self.world.servers[name], self.world.servers["hs1"]
        head = await server.reading.heads.get(self.room_id)
        if head is None or name not in head.hosts:
            await self._come_back(server, first)
            return
        for user_id in sorted(head.joined):
            if user_id.endswith(":" + name):
                await server.send(user_id[1:].partition(":")[0], self.room_id, "anybody there?")
                return

    async def _come_back(self, server: Hearth, first: Hearth) -> None:
        head = await first.reading.heads.get(self.room_id)
        for user_id in sorted(() if head is None else head.joined):
            if user_id.endswith(":" + server.name):
                await server.join(user_id[1:].partition(":")[0], self.room_id, first, whole=False)
                return

    async def observe(self) -> None:
        """Notes which servers miss a part of the history, as somebody thinks they are not in the room."""
        for server in self.world.servers.values():
            head = await server.reading.heads.get(self.room_id)
            self.was_out.update(SERVERS if head is None else set(SERVERS) - head.hosts.keys())

    async def differences(self) -> list[str]:
        """What the servers do not agree on."""
        first = self.world.servers["hs1"]
        head = await first.reading.heads.get(self.room_id)
        assert head is not None
        state, extremities = await first.state(self.room_id), await first.extremities(self.room_id)
        found: list[str] = []
        for name in SERVERS[1:]:
            server = self.world.servers[name]
            other = await server.reading.heads.get(self.room_id)
            if name not in head.hosts:
                if other is not None and name in other.hosts:
                    found.append(f"{name} thinks it is in the room, hs1 does not")
                continue
            theirs = await server.state(self.room_id)
            if theirs != state:
                keys = [key for key in theirs.keys() | state.keys() if theirs.get(key) != state.get(key)]
                found.append(f"{name} has another state than hs1 at {sorted(keys)}")
            if await server.extremities(self.room_id) != extremities:
                found.append(f"{name} has other extremities than hs1")
        if not found and self.before is not None:
            timeline = await self.timeline(first)
            for name in SERVERS[1:]:
                if name not in self.was_out and name in head.hosts:
                    found += _differences(name, await self.timeline(self.world.servers[name]), timeline)
        return [f"[room version {self.version}] {text}" for text in found]

    async def timeline(self, server: Hearth) -> dict[str, str]:
        """The events of the timeline that are part of the history, and what each is."""
        head = await server.reading.heads.get(self.room_id)
        assert head is not None
        statement = select(events.c.event_id, events.c.rejected, events.c.soft_failed).where(
            events.c.room_nid == head.room_nid, events.c.outlier.is_(False)
        )
        async with server.base.database.read() as tx:
            rows = await tx.fetch_all(statement)
        return {
            row.event_id: "rejected" if row.rejected is not None else "soft-failed" if row.soft_failed else "accepted"
            for row in rows
            if row.event_id not in (self.before or ())
        }

    # --- what people do

    async def message(self, server: Hearth, localpart: str) -> None:
        await server.send(localpart, self.room_id, str(self.world.random.random()))

    async def topic(self, server: Hearth, localpart: str) -> None:
        await server.set_state(localpart, self.room_id, "m.room.topic", {"topic": str(self.world.random.random())})

    async def name(self, server: Hearth, localpart: str) -> None:
        await server.set_state(localpart, self.room_id, "m.room.name", {"name": str(self.world.random.random())})

    async def join_rules(self, server: Hearth, localpart: str) -> None:
        rule = self.world.random.choice(("public", "public", "invite"))
        await server.set_state(localpart, self.room_id, "m.room.join_rules", {"join_rule": rule})

    async def levels(self, server: Hearth, localpart: str) -> None:
        user_id = self._anybody()
        await self._set_levels(server, localpart, {user_id: self.world.random.choice((0, 50, 100))})

    async def defaults(self, server: Hearth, localpart: str) -> None:
        stored = await server.reading.state.event(self.room_id, "m.room.power_levels")
        content = {} if stored is None else dict(stored.event.content)
        which = self.world.random.choice(("ban", "kick", "invite", "state_default"))
        content[which] = self.world.random.choice((0, 50))
        await server.set_state(localpart, self.room_id, "m.room.power_levels", content)

    async def ban(self, server: Hearth, localpart: str) -> None:
        await server.writing.membership.ban(server.as_user(localpart), self.room_id, self._anybody())

    async def unban(self, server: Hearth, localpart: str) -> None:
        await server.writing.membership.unban(server.as_user(localpart), self.room_id, self._anybody())

    async def kick(self, server: Hearth, localpart: str) -> None:
        await server.writing.membership.kick(server.as_user(localpart), self.room_id, self._anybody())

    async def invite(self, server: Hearth, localpart: str) -> None:
        await server.writing.membership.invite(server.as_user(localpart), self.room_id, self._anybody())

    async def leave(self, server: Hearth, localpart: str) -> None:
        if (server.name, localpart) != ("hs1", ANCHORS):
            await server.writing.membership.leave(server.as_user(localpart), self.room_id)

    async def join(self, server: Hearth, localpart: str) -> None:
        via = self.world.servers[self.world.random.choice(SERVERS)]
        await server.join(localpart, self.room_id, via, whole=False)

    async def redact(self, server: Hearth, localpart: str) -> None:
        head = await server.reading.heads.get(self.room_id)
        if head is not None and head.extremities:
            event_id = self.world.random.choice(sorted(head.extremities))
            await server.writing.send_event.redact(server.as_user(localpart), self.room_id, event_id, {}, None)

    def _anybody(self) -> str:
        while True:
            name, localpart = self.world.random.choice(SERVERS), self.world.random.choice((ANCHORS, OTHERS))
            if (name, localpart) != ("hs1", ANCHORS):
                return f"@{localpart}:{name}"

    async def _set_levels(self, server: Hearth, localpart: str, users: dict[str, int]) -> None:
        stored = await server.reading.state.event(self.room_id, "m.room.power_levels")
        content = {} if stored is None else dict(stored.event.content)
        content["users"] = {**content.get("users", {}), **users}
        await server.set_state(localpart, self.room_id, "m.room.power_levels", content)


_ACTIONS = {
    "message": 8,
    "topic": 4,
    "name": 3,
    "join_rules": 1,
    "levels": 4,
    "defaults": 2,
    "ban": 2,
    "unban": 1,
    "kick": 2,
    "invite": 1,
    "leave": 1,
    "join": 4,
    "redact": 1,
}


_made: list[bytes] = []


async def _empty_database(folder: Path) -> bytes:
    """A database with all tables, made once."""
    if not _made:
        file = folder / "empty.db"
        database = await Database.open(f"sqlite:///{file}", readers=1)
        await database.close()
        _made.append(file.read_bytes())
    return _made[0]


def _differences(name: str, theirs: dict[str, str], ours: dict[str, str]) -> list[str]:
    found: list[str] = []
    # What is soft-failed, because its sender was out of the room, need not come to everybody.
    if missing := [event_id for event_id, what in ours.items() if what == "accepted" and event_id not in theirs]:
        found.append(f"{name} lacks {sorted(missing)}")
    if missing := [event_id for event_id, what in theirs.items() if what == "accepted" and event_id not in ours]:
        found.append(f"hs1 lacks {sorted(missing)} of {name}")
    both = ours.keys() & theirs.keys()
    if judged := [event_id for event_id in both if (ours[event_id] == "rejected") != (theirs[event_id] == "rejected")]:
        found.append(f"{name} and hs1 judge otherwise of {sorted(judged)}")
    return found
