"""What a client has from a sliding sync connection, whatever its windows were, is what a new connection begins with."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.errors import MatrixError, UnknownPos
from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.properties.test_sync_properties import USERS, History
from tests.services.sliding_world import SlidingWorld

# (what, who, which room, a number that the step may use)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "message", "message", "message", "thread", "name", "topic", "join", "join", "leave", "leave", "kick",
                "ban", "unban", "invite", "profile", "receipt", "private", "tag", "account", "direct",
                "look", "look", "narrow", "narrow", "subscribe", "lost", "burst", "restart",
            ]
        ),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip

EXTENSIONS = {name: {"enabled": True} for name in ("account_data", "receipts", "typing", "e2ee", "to_device")}
WIDE = [[0, 99]]


class Client:
    """Folds answers as the proposal asks clients to."""

    def __init__(self, user_id: str, required: list[list[str]], name: str) -> None:
        self.user_id = user_id
        self.required = required
        self.name = name
        self.pos: str | None = None
        self.rooms: dict[str, dict[str, Any]] = {}
        self.account_data: dict[str, Any] = {}
        self.data: dict[str, dict[str, Any]] = {}
        self.receipts: dict[tuple[str, str], str] = {}
        self.count = 0

    async def look(self, world: SlidingWorld, ranges: list[list[int]], limit: int = 3, room: str | None = None) -> bool:
        """One request; whether it brought anything."""
        answer = await self.ask(world, ranges, limit, room)
        self.pos = answer["pos"]
        self.count = answer["lists"]["l"]["count"]
        for room_id, told in answer["rooms"].items():
            self._fold(room_id, told)
        extensions = answer["extensions"]
        for event in extensions["account_data"]["global"]:
            self.account_data[event["type"]] = event["content"]
        for room_id, events in extensions["account_data"]["rooms"].items():
            self.data.setdefault(room_id, {}).update({event["type"]: event["content"] for event in events})
        for room_id, event in extensions["receipts"]["rooms"].items():
            for event_id, kinds in event["content"].items():
                for kind, users in kinds.items():
                    if self.user_id in users:
                        self.receipts[room_id, kind] = event_id
        return bool(answer["rooms"])

    async def ask(
        self, world: SlidingWorld, ranges: list[list[int]], limit: int, room: str | None = None
    ) -> dict[str, Any]:
        """An answer, which may get lost."""
        config = {"timeline_limit": limit, "required_state": self.required}
        body = {
            "conn_id": self.name,
            "lists": {"l": {"ranges": ranges, **config}},
            "room_subscriptions": {} if room is None else {room: config},
            "extensions": EXTENSIONS,
        }
        return await world.slide(self.user_id, body, pos=self.pos)

    def _fold(self, room_id: str, told: dict[str, Any]) -> None:
        if told.get("initial"):
            self.rooms[room_id] = {"state": {}, "timeline": [], "is_dm": False, "name": None, "heroes": []}
        room = self.rooms[room_id]
        for event in told.pop("required_state", ()):
            room["state"][event["type"], event["state_key"]] = event["event_id"]
        if "timeline" in told:
            if told.pop("limited") or told.pop("unstable_expanded_timeline", False):
                room["timeline"] = []
            room["timeline"] += [event["event_id"] for event in told.pop("timeline")]
        room.update(told)


async def check(steps: list[tuple[str, int, int, int]], required: list[list[str]], folder: str) -> None:
    """Play the steps, syncing where they say so, and compare."""
    bus = Bus()
    db = await Database.open(f"sqlite:///{folder}/hearth.db", bus=bus)
    world = SlidingWorld(db, bus)
    try:
        history = History(world, [await world.create_room(USERS[number % 2]) for number in range(3)])
        for room_id in history.rooms[:2]:
            for user_id in USERS:
                if user_id not in (await world.heads.get(room_id)).joined:  # type: ignore[union-attr]
                    await world.join(user_id, room_id)
        clients = [Client(user_id, required, "old") for user_id in USERS]
        for step in steps:
            try:
                await play(world, history, clients, *step)
            except UnknownPos:
                raise
            except MatrixError:
                continue
        for client in clients:
            while await client.look(world, WIDE):
                pass
            fresh = Client(client.user_id, required, "new")
            world.notifier.reset()
            await fresh.look(world, WIDE)
            compare(client, fresh)
    finally:
        await world.close()
        await db.close()


async def play(
    world: SlidingWorld, history: History, clients: list[Client], what: str, who: int, where: int, number: int
) -> None:
    """One step."""
    client, room_id = clients[who], history.rooms[where]
    if what == "look":
        await client.look(world, WIDE, 1 + number)
    elif what == "narrow":
        await client.look(world, [[number // 2, number // 2 + number % 2]])
    elif what == "subscribe":
        await client.look(world, [[0, 0]], room=room_id)
    elif what == "lost":
        await client.ask(world, WIDE, number)
    elif what == "direct":
        rooms = [room_id] if number % 2 else []
        await world.account_data.put(client.user_id, "", "m.direct", {USERS[0]: rooms})
    elif what == "restart":
        world.notifier.reset()
        world.connections.__init__(world.db, world.clock)  # type: ignore[misc]
    else:
        await history.play(what, who, where, number)


def compare(old: Client, new: Client) -> None:
    """The two have the same rooms, and the same of them."""
    gone = {"leave", "ban"}
    assert old.count == new.count
    assert old.account_data == new.account_data
    shown = {room_id for room_id, room in old.rooms.items() if room["membership"] not in gone}
    assert shown == {room_id for room_id, room in new.rooms.items() if room["membership"] not in gone}
    for room_id, room in new.rooms.items():
        known = old.rooms[room_id]
        assert known["membership"] == room["membership"]
        if room["membership"] != "join":
            continue
        for kind in ("name", "is_dm", "joined_count", "invited_count", "notification_count", "highlight_count"):
            assert known[kind] == room[kind], kind
        if room["name"] is None:
            assert sorted(known["heroes"], key=str) == sorted(room["heroes"], key=str)
        # Members are loaded lazily: a client may know more of them.
        assert {key: known["state"].get(key) for key in room["state"]} == room["state"]
        members = {key for key in known["state"] if key[0] == "m.room.member"}
        assert known["state"].keys() - members == room["state"].keys() - members
        shorter = min(len(known["timeline"]), len(room["timeline"]))
        assert shorter or not room["timeline"]
        assert (
            known["timeline"][len(known["timeline"]) - shorter :] == room["timeline"][len(room["timeline"]) - shorter :]
        )
        assert old.data.get(room_id) == new.data.get(room_id)
        for kind in ("m.read", "m.read.private"):
            assert old.receipts.get((room_id, kind)) == new.receipts.get((room_id, kind))


def run(steps: list[tuple[str, int, int, int]], template: Path, required: list[list[str]]) -> None:
    """A database of its own for each example."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(template, f"{folder}/hearth.db")
        asyncio.run(check(steps, required, folder))


QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(steps=STEPS)
def test_incremental_answers_add_up_to_a_new_connection(
    steps: list[tuple[str, int, int, int]], sqlite_template: Path
) -> None:
    run(steps, sqlite_template, [["*", "*"]])


@QUICK
@given(steps=STEPS)
def test_the_same_with_lazy_members(steps: list[tuple[str, int, int, int]], sqlite_template: Path) -> None:
    run(steps, sqlite_template, [["*", "*"], ["m.room.member", "$LAZY"]])
