"""Sliding sync over HTTP: both of its forms, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from client_api.tables.sliding_sync import SLIDING_SYNC
from homeserver.config.account_sections import RateLimits
from homeserver.config.server_sections import Limits, Listener
from homeserver.runtime.bus import Bus
from homeserver.runtime.telemetry import Telemetry
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.server import HttpServer
from storage.database import Database
from tests.client_api.test_sync_endpoints import SomeSessions, no_federation
from tests.services.sliding_world import SlidingWorld
from tests.services.sync_world import user

ALICE, BOB = user("alice"), user("bob")
UNSTABLE = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
STABLE = "/_matrix/client/v4/sync"


class Site:
    """A server of one endpoint."""

    def __init__(self, world: SlidingWorld, http: aiohttp.ClientSession, url: str) -> None:
        self.world = world
        self.http = http
        self.url = url

    async def ask(self, path: str, body: Any, *, token: str = "alice") -> tuple[int, Any]:
        """Status and JSON of the answer."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.post(self.url + path, json=body, headers=headers) as response:
            return response.status, await response.json()


@pytest.fixture
async def site(sqlite_url: str) -> AsyncIterator[Site]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = SlidingWorld(db, bus)
    telemetry = Telemetry(world.clock)
    limits = Limits(stop_grace=0.2)
    limiter = RateLimiter(RateLimits(enabled=False), world.clock)
    dispatcher = Dispatcher(
        SLIDING_SYNC, [world.handlers], SomeSessions(), no_federation, limiter, telemetry, limits=limits
    )
    server = HttpServer(dispatcher, [Listener(port=0, kinds=("client",))], telemetry, limits=limits)
    await server.start()
    async with aiohttp.ClientSession() as http:
        yield Site(world, http, server.addresses[0])
    await server.stop()
    await world.close()
    await db.close()


async def test_unstable_form(site: Site) -> None:
    room_id = await site.world.create_room(ALICE)
    body = {
        "conn_id": "room-list",
        "txn_id": "t1",
        "lists": {
            "all_rooms": {
                "ranges": [[0, 19]],
                "timeline_limit": 1,
                "required_state": [["m.room.create", ""], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]],
                "filters": {"not_room_types": ["m.space"]},
                "sort": ["by_recency"],
            }
        },
        "room_subscriptions": {},
        "extensions": {
            "account_data": {"enabled": True},
            "receipts": {"enabled": True, "rooms": ["*"]},
            "typing": {"enabled": True},
            "to_device": {"enabled": True},
            "e2ee": {"enabled": True},
            "io.element.msc4308.thread_subscriptions": {"enabled": True, "limit": 10},
        },
    }
    status, answer = await site.ask(UNSTABLE + "?timeout=0", body)
    assert status == 200
    assert answer["txn_id"] == "t1"
    assert answer["lists"] == {"all_rooms": {"count": 1}}
    state = {(event["type"], event["state_key"]) for event in answer["rooms"][room_id]["required_state"]}
    assert state == {("m.room.create", ""), ("m.room.member", ALICE)}
    assert set(answer["extensions"]) == {"account_data", "receipts", "typing", "to_device", "e2ee"}
    sent = await site.world.send(ALICE, room_id)
    status, answer = await site.ask(f"{UNSTABLE}?timeout=30000&pos={answer['pos']}&set_presence=offline", body)
    assert [event["event_id"] for event in answer["rooms"][room_id]["timeline"]] == [sent]


async def test_stable_form(site: Site) -> None:
    room_id = await site.world.create_room(ALICE)
    await site.world.send(ALICE, room_id, "m.room.topic", {"topic": "x"}, state_key="")
    required = {"include": [{"type": "m.room.topic"}]}
    config = {"timeline_limit": 2, "required_state": required}
    body = {"conn_id": "main", "lists": {"l": {"range": [0, 9], **config}}, "room_subscriptions": {room_id: config}}
    status, answer = await site.ask(STABLE, body)
    assert status == 200
    room = answer["rooms"][room_id]
    assert [event["type"] for event in room["required_state"]] == ["m.room.topic"]
    assert room["membership"] == "join"
    more = {**config, "timeline_limit": 4}
    body = {**body, "pos": answer["pos"], "timeout": 1, "room_subscriptions": {room_id: more}}
    status, answer = await site.ask(STABLE, body)
    assert answer["rooms"][room_id]["expanded_timeline"] is True


async def test_invite_is_stripped_state(site: Site) -> None:
    room_id = await site.world.create_room(BOB)
    await site.world.member(BOB, room_id, ALICE, "invite")
    config = {"timeline_limit": 1, "required_state": {}}
    _, answer = await site.ask(STABLE, {"lists": {"l": config}})
    assert answer["rooms"][room_id]["stripped_state"]
    _, answer = await site.ask(UNSTABLE, {"lists": {"l": {"ranges": [[0, 9]], "timeline_limit": 1}}})
    assert answer["rooms"][room_id]["invite_state"]


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        (UNSTABLE + "?pos=nonsense", {}, "M_UNKNOWN_POS"),
        (UNSTABLE + "?pos=1.1/s1_1", {}, "M_UNKNOWN_POS"),
        (STABLE, {"pos": "1.1/s1_1"}, "M_UNKNOWN_POS"),
        (STABLE, {"pos": 1}, "M_BAD_JSON"),
        (UNSTABLE + "?timeout=never", {}, "M_INVALID_PARAM"),
        (UNSTABLE + "?timeout=-1", {}, "M_INVALID_PARAM"),
        (STABLE, {"timeout": -1}, "M_INVALID_PARAM"),
        (UNSTABLE + "?set_presence=asleep", {}, "M_INVALID_PARAM"),
        (STABLE, {"set_presence": "asleep"}, "M_INVALID_PARAM"),
        (UNSTABLE, {"conn_id": 1}, "M_BAD_JSON"),
        (UNSTABLE, {"lists": []}, "M_BAD_JSON"),
        (UNSTABLE, {"lists": {"l": {"ranges": [[0, 9]]}}}, "M_BAD_JSON"),
        (UNSTABLE, {"lists": {"l": {"ranges": [[0]], "timeline_limit": 1}}}, "M_INVALID_PARAM"),
        (UNSTABLE, {"lists": {"l": {"ranges": [[2, 1]], "timeline_limit": 1}}}, "M_INVALID_PARAM"),
        (UNSTABLE, {"lists": {"l": {"ranges": [[-2, 1]], "timeline_limit": 1}}}, "M_INVALID_PARAM"),
        (UNSTABLE, {"lists": {"l": {"timeline_limit": -1}}}, "M_INVALID_PARAM"),
        (UNSTABLE, {"lists": {"l": {"timeline_limit": "1"}}}, "M_BAD_JSON"),
        (UNSTABLE, {"lists": {"l": {"timeline_limit": 1, "required_state": [["a"]]}}}, "M_INVALID_PARAM"),
        (UNSTABLE, {"lists": {"l": {"timeline_limit": 1, "required_state": [["a", 1]]}}}, "M_BAD_JSON"),
        (UNSTABLE, {"lists": {"l": {"timeline_limit": 1, "filters": {"is_dm": "yes"}}}}, "M_BAD_JSON"),
        (UNSTABLE, {"lists": {f"l{n}": {"timeline_limit": 1} for n in range(101)}}, "M_INVALID_PARAM"),
        (UNSTABLE, {"extensions": {"to_device": {"enabled": True, "since": "x"}}}, "M_INVALID_PARAM"),
        (UNSTABLE, {"extensions": {"typing": {"enabled": 1}}}, "M_BAD_JSON"),
        (UNSTABLE, {"extensions": {"typing": []}}, "M_BAD_JSON"),
        (STABLE, {"lists": {"l": {"timeline_limit": 1}}}, "M_BAD_JSON"),
        (STABLE, {"lists": {"a b": {"timeline_limit": 1, "required_state": {}}}}, "M_INVALID_PARAM"),
        (STABLE, {"lists": {"l": {"timeline_limit": 1, "required_state": {"include": {}}}}}, "M_BAD_JSON"),
        (
            STABLE,
            {"room_subscriptions": {f"!{n}:x": {"timeline_limit": 1, "required_state": {}} for n in range(101)}},
            "M_INVALID_PARAM",
        ),
    ],
)
async def test_bad_requests(site: Site, path: str, body: Any, errcode: str) -> None:
    status, answer = await site.ask(path, body)
    assert (status, answer["errcode"]) == (400, errcode)


async def test_nulls_count_as_absent(site: Site) -> None:
    body = {
        "conn_id": None,
        "lists": {"l": {"ranges": None, "timeline_limit": 1, "required_state": None, "filters": {"is_dm": None}}},
        "room_subscriptions": None,
        "extensions": {"to_device": None, "typing": {"enabled": None}, "receipts": {"enabled": True, "lists": None}},
    }
    assert (await site.ask(UNSTABLE, body))[0] == 200
    body["lists"] = {"l": {"range": None, "timeline_limit": 1, "required_state": {"include": None}}}
    assert (await site.ask(STABLE, body | {"pos": None, "timeout": None, "set_presence": None}))[0] == 200
