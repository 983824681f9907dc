"""The endpoints of sync, history, passing facts, account data and push rules, over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from client_api.account_data import AccountDataHandlers
from client_api.endpoints import SYNC
from client_api.ephemeral import EphemeralHandlers
from client_api.push_rules import PushRulesHandlers
from client_api.sync import SyncHandlers
from client_api.timeline import TimelineHandlers
from homeserver.config.account_sections import RateLimits
from homeserver.config.server_sections import Limits, Listener
from homeserver.errors import UnknownToken
from homeserver.runtime.bus import Bus
from homeserver.runtime.telemetry import Telemetry
from homeserver.services.account_data import Filters
from homeserver.services.read_markers import ReadMarkers
from homeserver.services.sessions import Requester
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.server import HttpServer
from storage.database import Database
from tests.services.sync_world import World, joined, user

ALICE, BOB = user("alice"), user("bob")
CLIENT = "/_matrix/client/v3"


class SomeSessions:
    """A token is the name of its user."""

    def cached(self, token: str) -> Requester | None:
        return None

    async def requester_for(self, token: str, *_: object) -> Requester:
        if token not in ("alice", "bob"):
            raise UnknownToken
        return Requester(user(token), "DEVICE")


async def no_federation(method: str, uri: str, headers: Any, body: Any) -> str:
    raise UnknownToken


@dataclass
class Site:
    world: World
    http: aiohttp.ClientSession
    url: str

    async def ask(self, method: str, path: str, body: Any = None, *, token: str = "alice") -> tuple[int, Any]:
        """Status and JSON of the answer."""
        url = URL(self.url + CLIENT + path, encoded=True)
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()


@pytest.fixture
async def site(sqlite_url: str) -> AsyncIterator[Site]:
    bus = Bus()
    db = await Database.open(sqlite_url, bus=bus)
    world = World(db, bus)
    markers = ReadMarkers(world.account_data, world.receipts, world.events, world.heads)
    handlers = [
        SyncHandlers(world.engine, Filters(db)),
        TimelineHandlers(world.timeline),
        EphemeralHandlers(world.typing, markers, world.presence),
        AccountDataHandlers(world.account_data, world.push_rules),
        PushRulesHandlers(world.push_rules),
    ]
    telemetry = Telemetry(world.clock)
    limiter = RateLimiter(RateLimits(enabled=False), world.clock)
    limits = Limits(stop_grace=0.2)
    dispatcher = Dispatcher(SYNC, handlers, SomeSessions(), no_federation, limiter, telemetry, limits=limits)
    server = HttpServer(dispatcher, [Listener(port=0, kinds=("client",))], telemetry, limits=limits)
    await server.start()
    async with aiohttp.ClientSession() as http:
        yield Site(world, http, server.addresses[0])
    await server.stop()
    await world.close()
    await db.close()


async def test_sync_with_an_inline_filter_and_with_a_kept_one(site: Site) -> None:
    room_id = await site.world.create_room(ALICE)
    status, kept = await site.ask("POST", f"/user/{ALICE}/filter", {"room": {"timeline": {"limit": 1}}})
    assert status == 200
    for text in (kept["filter_id"], quote('{"room":{"timeline":{"limit":1}}}')):
        status, answer = await site.ask("GET", f"/sync?filter={text}")
        assert status == 200
        assert len(joined(answer, room_id)["timeline"]["events"]) == 1
    assert (await site.ask("GET", f"/user/{ALICE}/filter/{kept['filter_id']}"))[1] == {
        "room": {"timeline": {"limit": 1}}
    }


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("since=nonsense", "M_INVALID_PARAM"),
        ("timeout=soon", "M_INVALID_PARAM"),
        ("set_presence=gone", "M_INVALID_PARAM"),
        ("filter=404", "M_INVALID_PARAM"),
        ("filter=%7Bx", "M_BAD_JSON"),
        ("full_state=yes", "M_INVALID_PARAM"),
    ],
)
async def test_bad_parameters_of_sync_are_refused(site: Site, query: str, errcode: str) -> None:
    status, answer = await site.ask("GET", f"/sync?{query}")
    assert (status, answer["errcode"]) == (400, errcode)


async def test_history_over_http(site: Site) -> None:
    room_id = await site.world.create_room(ALICE)
    sent = await site.world.send(ALICE, room_id)
    status, page = await site.ask("GET", f"/rooms/{quote(room_id)}/messages?dir=b&limit=1")
    assert (status, page["chunk"][0]["event_id"]) == (200, sent)
    status, event = await site.ask("GET", f"/rooms/{quote(room_id)}/event/{quote(sent)}")
    assert (status, event["event_id"]) == (200, sent)
    assert (await site.ask("GET", f"/rooms/{quote(room_id)}/context/{quote(sent)}?limit=0"))[0] == 200
    assert (await site.ask("GET", f"/rooms/{quote(room_id)}/messages"))[1]["errcode"] == "M_MISSING_PARAM"
    assert (await site.ask("GET", f"/rooms/{quote(room_id)}/messages?dir=b", token="bob"))[0] == 403
    assert (await site.ask("GET", f"/rooms/{quote(room_id)}/messages", token="bob"))[0] == 403
    assert (await site.ask("GET", f"/rooms/{quote(room_id)}/event/{quote(sent)}", token="bob"))[0] == 404


async def test_only_an_unfiltered_page_knows_that_it_is_the_last(site: Site) -> None:
    room_id = await site.world.create_room(ALICE)
    sent = await site.world.send(ALICE, room_id)
    path = f"/rooms/{quote(room_id)}/messages?dir=b"
    _, page = await site.ask("GET", path)
    assert "end" not in page
    narrow = "&filter=" + quote('{"not_types":["m.room.*"],"types":["m.room.message"]}')
    assert "end" not in (await site.ask("GET", path + narrow))[1]
    narrow = "&filter=" + quote('{"types":["m.room.message"]}')
    _, page = await site.ask("GET", path + narrow)
    assert [event["event_id"] for event in page["chunk"]] == [sent]
    _, page = await site.ask("GET", f"{path}{narrow}&from={page['end']}")
    assert (page["chunk"], "end" in page) == ([], False)


async def test_typing_receipts_and_markers_over_http(site: Site) -> None:
    room_id = await site.world.create_room(ALICE)
    sent, room = await site.world.send(ALICE, room_id), quote(room_id)
    event = quote(sent)
    assert await site.ask("PUT", f"/rooms/{room}/typing/{ALICE}", {"typing": True, "timeout": 5000.0}) == (200, {})
    assert (await site.ask("PUT", f"/rooms/{room}/typing/{BOB}", {"typing": True}))[0] == 403
    assert (await site.ask("PUT", f"/rooms/{room}/typing/{BOB}", {"typing": True}, token="bob"))[0] == 403
    assert await site.ask("POST", f"/rooms/{room}/receipt/m.read/{event}", {}) == (200, {})
    assert (await site.ask("POST", f"/rooms/{room}/receipt/m.seen/{event}", {}))[1]["errcode"] == "M_INVALID_PARAM"
    status, answer = await site.ask("POST", f"/rooms/{room}/receipt/m.read/{event}", {"thread_id": ""})
    assert status == 400
    assert await site.ask("POST", f"/rooms/{room}/read_markers", {"m.fully_read": sent}) == (200, {})
    status, answer = await site.ask("GET", f"/user/{ALICE}/rooms/{room}/account_data/m.fully_read")
    assert answer == {"event_id": sent}


async def test_account_data_and_tags_over_http(site: Site) -> None:
    path = f"/user/{ALICE}/account_data/org.example"
    assert (await site.ask("GET", path))[1]["errcode"] == "M_NOT_FOUND"
    assert await site.ask("PUT", path, {"a": [1]}) == (200, {})
    assert await site.ask("GET", path) == (200, {"a": [1]})
    assert (await site.ask("GET", path, token="bob"))[0] == 403
    room = quote("!room:here.example")
    assert await site.ask("PUT", f"/user/{ALICE}/rooms/{room}/tags/u.work", {"order": 0.25}) == (200, {})
    assert await site.ask("GET", f"/user/{ALICE}/rooms/{room}/tags") == (200, {"tags": {"u.work": {"order": 0.25}}})
    assert await site.ask("DELETE", f"/user/{ALICE}/rooms/{room}/tags/u.work") == (200, {})
    assert await site.ask("GET", f"/user/{ALICE}/rooms/{room}/tags") == (200, {"tags": {}})


async def test_push_rules_over_http(site: Site) -> None:
    rule = "/pushrules/global/content/cake"
    assert (await site.ask("PUT", rule, {"pattern": "cake", "actions": ["notify"]}))[0] == 200
    assert (await site.ask("GET", rule))[1]["pattern"] == "cake"
    assert await site.ask("PUT", f"{rule}/enabled", {"enabled": False}) == (200, {})
    assert await site.ask("GET", f"{rule}/enabled") == (200, {"enabled": False})
    assert await site.ask("PUT", f"{rule}/actions", {"actions": []}) == (200, {})
    assert await site.ask("GET", f"{rule}/actions") == (200, {"actions": []})
    for path in ("/pushrules/", "/pushrules"):
        assert "override" in (await site.ask("GET", path))[1]["global"]
    assert "override" in (await site.ask("GET", "/pushrules/global/"))[1]
    assert (await site.ask("DELETE", rule))[0] == 200
    assert (await site.ask("GET", rule))[0] == 404
    assert (await site.ask("PUT", "/pushrules/global/nonsense/x", {"actions": []}))[0] == 400


async def test_presence_over_http(site: Site) -> None:
    path = f"/presence/{ALICE}/status"
    assert await site.ask("PUT", path, {"presence": "online", "status_msg": "here"}) == (200, {})
    status, answer = await site.ask("GET", path)
    assert (status, answer["presence"], answer["status_msg"]) == (200, "online", "here")
    assert (await site.ask("GET", path, token="bob"))[0] == 403
    assert (await site.ask("PUT", path, {"presence": "gone"}))[0] == 400
