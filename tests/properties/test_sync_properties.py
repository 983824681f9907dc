"""What a client has from one sync and all the following ones is what a new client has from its first."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.errors import MatrixError
from homeserver.runtime.bus import Bus
from storage.database import Database
from tests.services.sync_world import World, user

USERS = [user("alice"), user("bob"), user("carol")]

# (what, who, which room, a number that the step may use)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "message", "message", "message", "thread", "name", "topic", "join", "join", "leave", "leave", "kick",
                "ban", "unban", "invite", "profile", "redact", "receipt", "private", "tag", "account",
                "sync", "sync", "burst", "restart",
            ]
        ),
        st.integers(0, 2),
        st.integers(0, 1),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


class Client:
    """Folds answers of /sync as the specification asks clients to."""

    def __init__(self, user_id: str, options: dict[str, Any]) -> None:
        self.user_id = user_id
        self.options = options
        self.token: str | None = None
        self.rooms: dict[str, dict[str, Any]] = {}
        self.invited: dict[str, Any] = {}
        self.account_data: dict[str, Any] = {}

    async def sync(self, world: World) -> None:
        answer = await world.sync(self.user_id, self.token, **self.options)
        self.token = answer["next_batch"]
        for event in answer.get("account_data", {}).get("events", []):
            self.account_data[event["type"]] = event["content"]
        rooms = answer.get("rooms", {})
        for room_id, told in rooms.get("join", {}).items():
            self.invited.pop(room_id, None)
            self._fold(room_id, told)
        for room_id in rooms.get("leave", {}):
            self.rooms.pop(room_id, None)
            self.invited.pop(room_id, None)
        for room_id in rooms.get("invite", {}):
            self.rooms.pop(room_id, None)
            self.invited[room_id] = True

    def _fold(self, room_id: str, told: dict[str, Any]) -> None:
        room = self.rooms.setdefault(
            room_id, {"state": {}, "timeline": [], "receipts": {}, "data": {}, "summary": {}, "unread": None}
        )
        state, timeline = room["state"], told["timeline"]
        changes = told.get("state_after", told.get("state"))["events"]
        for event in [*changes, *([] if "state_after" in told else timeline["events"])]:
            if "state_key" in event:
                state[event["type"], event["state_key"]] = event["event_id"]
        if timeline["limited"]:
            room["timeline"] = []
        room["timeline"] += [event["event_id"] for event in timeline["events"]]
        room["summary"] |= told.get("summary", {})
        room["unread"] = told["unread_notifications"]
        for event in told.get("ephemeral", {}).get("events", []):
            for event_id, types in event["content"].items():
                for kind, users in types.items():
                    for user_id in users:
                        room["receipts"][kind, user_id] = event_id
        for event in told.get("account_data", {}).get("events", []):
            room["data"][event["type"]] = event["content"]


class History:
    """Plays steps; what the rules forbid does not happen."""

    def __init__(self, world: World, rooms: list[str]) -> None:
        self.world = world
        self.rooms = rooms
        self.sent: dict[str, list[str]] = {room_id: [] for room_id in rooms}

    async def play(self, what: str, who: int, where: int, number: int) -> None:
        world, user_id, room_id = self.world, USERS[who], self.rooms[where]
        target = USERS[number % 3]
        events = self.sent[room_id]
        if what == "message":
            mentions = {"m.mentions": {"user_ids": [target]}} if number == 0 else {}
            events.append(await world.send(user_id, room_id, content={"body": "x", "msgtype": "m.text"} | mentions))
        elif what == "burst":
            for _ in range(number * 2):
                events.append(await world.send(user_id, room_id))
        elif what == "thread" and events:
            relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": events[number % len(events)]}}
            content = {"body": "x", "msgtype": "m.text"} | relation
            events.append(await world.send(user_id, room_id, content=content))
        elif what in ("name", "topic"):
            content = {what: str(number)}
            await world.send(user_id, room_id, f"m.room.{what}", content, state_key="")
        elif what == "redact" and events:
            redacted = events[number % len(events)]
            await world.send(user_id, room_id, "m.room.redaction", {"redacts": redacted}, redacts=redacted)
        elif what == "profile":
            if user_id in (await world.heads.get(room_id)).joined:  # type: ignore[union-attr]
                await world.member(user_id, room_id, user_id, "join", displayname=str(number))
        elif what in ("join", "leave"):
            await world.member(user_id, room_id, user_id, what)
        elif what in ("kick", "ban", "invite", "unban"):
            membership = {"kick": "leave", "unban": "leave"}.get(what, what)
            if target != user_id:
                await world.member(user_id, room_id, target, membership)
        else:
            await self.keep(what, user_id, room_id, number)

    async def keep(self, what: str, user_id: str, room_id: str, number: int) -> None:
        world, events = self.world, self.sent[room_id]
        if what in ("receipt", "private"):
            head = await world.heads.get(room_id)
            if events and head is not None and user_id in head.joined:
                kind = "m.read" if what == "receipt" else "m.read.private"
                await world.receipts.send(user_id, room_id, kind, events[number % len(events)])
        elif what == "tag":
            await world.account_data.put_tag(user_id, room_id, f"u.{number}", {})
        elif what == "account":
            await world.account_data.put(user_id, "", f"org.example.{number % 2}", {"n": number})
        elif what == "restart":
            world.notifier.reset()


async def check(steps: list[tuple[str, int, int, int]], options: dict[str, Any], folder: str) -> None:
    """Play the steps, syncing where they say so, and compare."""
    bus = Bus()
    db = await Database.open(f"sqlite:///{folder}/hearth.db", bus=bus)
    world = World(db, bus)
    try:
        history = History(world, [await world.create_room(USERS[0]), await world.create_room(USERS[1])])
        for room_id in history.rooms:
            for user_id in USERS:
                if user_id not in (await world.heads.get(room_id)).joined:  # type: ignore[union-attr]
                    await world.join(user_id, room_id)
        clients = [Client(user_id, options) for user_id in USERS]
        for client in clients:
            await client.sync(world)
        for what, who, where, number in steps:
            if what == "sync":
                await clients[who].sync(world)
                continue
            try:
                await history.play(what, who, where, number)
            except MatrixError:
                continue
        for client in clients:
            await client.sync(world)
            fresh = Client(client.user_id, options)
            world.notifier.reset()
            await fresh.sync(world)
            compare(client, fresh)
    finally:
        await world.close()
        await db.close()


def compare(old: Client, new: Client) -> None:
    """The two have the same rooms, state, end of the timeline, receipts, account data and counts."""
    assert old.rooms.keys() == new.rooms.keys()
    assert old.invited.keys() == new.invited.keys()
    assert {k: v for k, v in old.account_data.items()} == {k: v for k, v in new.account_data.items()}
    for room_id, room in new.rooms.items():
        known = old.rooms[room_id]
        assert known["state"] == room["state"]
        shorter = min(len(known["timeline"]), len(room["timeline"]))
        assert shorter or not room["timeline"]
        if shorter:
            assert known["timeline"][-shorter:] == room["timeline"][-shorter:]
        for part in ("summary", "receipts", "data", "unread"):
            assert known[part] == room[part], part


def run(steps: list[tuple[str, int, int, int]], template: Path, options: dict[str, Any]) -> None:
    """A database of its own for each example."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(template, f"{folder}/hearth.db")
        asyncio.run(check(steps, options, folder))


_settings: Callable[..., Any] = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@_settings
@given(steps=STEPS)
def test_initial_sync_and_increments_are_a_later_initial_sync(
    steps: list[tuple[str, int, int, int]], sqlite_template: Path
) -> None:
    run(steps, sqlite_template, {"filter": {"room": {"timeline": {"limit": 3}}}})


@_settings
@given(steps=STEPS)
def test_the_same_with_state_after(steps: list[tuple[str, int, int, int]], sqlite_template: Path) -> None:
    run(steps, sqlite_template, {"filter": {"room": {"timeline": {"limit": 3}}}, "use_state_after": True})
