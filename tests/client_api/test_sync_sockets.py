"""Sync over a WebSocket: answers like those of the ordinary endpoints, one after the other as they are acknowledged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest

from homeserver.config.account_sections import RateLimit, RateLimits
from tests.client_api.whole_site import WholeSite, user, whole_site
from tests.servers.websockets import ending

PREFIX = "/_matrix/client/unstable/io.hearth.websocket"
LISTS = {"all": {"ranges": [[0, 9]], "timeline_limit": 5, "required_state": []}}


@dataclass
class Talk:
    """A client's end."""

    ws: aiohttp.ClientWebSocketResponse

    async def say(self, **message: Any) -> None:
        await self.ws.send_json(message)

    async def hear(self) -> Any:
        """The next answer."""
        async with asyncio.timeout(20):
            return await self.ws.receive_json()

    async def next(self, token: str) -> Any:
        """Acknowledge, and hear what comes next."""
        await self.say(ack=token)
        return await self.hear()

    async def end(self) -> tuple[str | None, int | None]:
        """The errcode that is told before the WebSocket is closed, if any, and the code that it is closed with."""
        last, code, _reason = await ending(self.ws)
        return orjson.loads(last or "{}").get("errcode"), code


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


@asynccontextmanager
async def talk(site: WholeSite, path: str = "/sync", by: str | None = "alice") -> AsyncIterator[Talk]:
    if by is not None and by not in site.tokens:
        await site.register(by)
    headers = {} if by is None else {"Authorization": f"Bearer {site.tokens[by]}"}
    async with site.client.ws_connect(site.url + PREFIX + path, headers=headers) as ws:
        yield Talk(ws)


def texts(answer: Any, room_id: str) -> list[str]:
    joined = answer.get("rooms", {}).get("join", {}) if "next_batch" in answer else answer["rooms"]
    timeline = joined.get(room_id, {}).get("timeline", [])
    events = timeline["events"] if isinstance(timeline, dict) else timeline
    return [event["content"]["body"] for event in events if "body" in event["content"]]


async def test_sync_goes_on_as_answers_are_acknowledged(site: WholeSite) -> None:
    room_id = await site.room("bob")
    async with talk(site) as alice:
        await alice.say()
        first = await alice.hear()
        assert first == {**(await site.ok("GET", "/sync")), "next_batch": first["next_batch"]} or room_id in str(first)
        for text in ("one", "two"):
            await site.send(room_id, text, by="bob")
        # Nothing comes before the first answer is acknowledged; then everything since.
        second = await alice.next(first["next_batch"])
        assert texts(second, room_id) == ["one", "two"]
        await alice.say(ack=second["next_batch"])
        await site.send(room_id, "three", by="bob")
        assert texts(await alice.hear(), room_id) == ["three"]


async def test_what_was_not_acknowledged_comes_again_on_the_next_connection(site: WholeSite) -> None:
    room_id = await site.room("bob")
    async with talk(site) as alice:
        await alice.say()
        token = (await alice.hear())["next_batch"]
        await alice.say(ack=token)
        await site.send(room_id, "lost", by="bob")
        assert texts(await alice.hear(), room_id) == ["lost"]
    async with talk(site) as alice:
        await alice.say(since=token)
        assert texts(await alice.hear(), room_id) == ["lost"]


async def test_parameters_are_those_of_the_endpoint(site: WholeSite) -> None:
    await site.room()
    async with talk(site) as alice:
        await alice.say(filter={"room": {"timeline": {"limit": 1}}, "presence": {"not_types": ["*"]}}, full_state=True)
        answer = await alice.hear()
        (room,) = answer["rooms"]["join"].values()
        assert len(room["timeline"]["events"]) == 1
        # The state is not sent in full again and again.
        await alice.say(ack=answer["next_batch"])
        await site.send(next(iter(answer["rooms"]["join"])), "news")
        (room,) = (await alice.hear())["rooms"]["join"].values()
        assert not room.get("state", {}).get("events")


async def test_token_may_come_with_the_first_message(site: WholeSite) -> None:
    await site.register("alice")
    async with talk(site, by=None) as alice:
        await alice.say(access_token=site.tokens["alice"])
        assert "next_batch" in await alice.hear()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, ("M_MISSING_TOKEN", 4401)),
        ({"access_token": "x"}, ("M_UNKNOWN_TOKEN", 4401)),
        ({"access_token": 5}, ("M_MISSING_TOKEN", 4401)),
    ],
)
async def test_without_a_token_nothing_is_told(site: WholeSite, message: Any, expected: Any) -> None:
    async with talk(site, by=None) as nobody:
        await nobody.say(**message)
        assert await nobody.end() == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/sync", {"since": "x"}),
        ("/sync", {"timeout": "x"}),
        ("/sync", {"timeout": -1}),
        ("/sync", {"set_presence": "asleep"}),
        ("/sync", {"full_state": 5}),
        ("/sync", {"filter": {"room": 5}}),
        ("/sync", {"ack": "s1_1"}),
        ("/v4/sync", {"lists": 5}),
        ("/v4/sync", {"pos": 5}),
        ("/simplified_msc3575/sync", {"lists": {"a": {}}}),
    ],
)
async def test_bad_parameters_are_told_as_by_the_endpoint(site: WholeSite, path: str, message: Any) -> None:
    async with talk(site, path) as alice:
        await alice.say(**message)
        errcode, code = await alice.end()
        assert (errcode or "").startswith("M_")
        assert code == 4400


@pytest.mark.parametrize("text", ["", "[", "[]", "5", '"x"', '{"a":"\\u0000"}', "[" * 300 + "]" * 300])
async def test_what_is_no_object_is_refused(site: WholeSite, text: str) -> None:
    async with talk(site) as alice:
        await alice.ws.send_str(text)
        errcode, code = await alice.end()
        assert (errcode in ("M_NOT_JSON", "M_BAD_JSON"), code) == (True, 4400)


async def test_binary_and_huge_messages_are_refused(site: WholeSite) -> None:
    async with talk(site) as alice:
        await alice.ws.send_bytes(b"{}")
        assert await alice.end() == ("M_BAD_JSON", 4400)
    async with talk(site) as alice:
        await alice.ws.send_str('{"a":"' + "x" * 3_000_000 + '"}')
        assert (await alice.end())[1] in (1009, 4413)


async def test_ordinary_request_is_told_that_this_is_a_websocket(site: WholeSite) -> None:
    assert await site.error("GET", f"{PREFIX}/sync") == (400, "M_INVALID_PARAM")
    site.tokens["wrong"] = "wrong"
    assert await site.error("GET", f"{PREFIX}/sync", by="wrong") == (401, "M_UNKNOWN_TOKEN")


async def test_logging_out_closes_it(site: WholeSite) -> None:
    async with talk(site) as alice, talk(site, by="bob") as bob:
        for person in (alice, bob):
            await person.say()
            await person.say(ack=(await person.hear())["next_batch"])
        await site.ok("POST", "/logout", {})
        assert await alice.end() == ("M_UNKNOWN_TOKEN", 4401)
        room_id = await site.room(by="bob")
        assert room_id in (await bob.hear())["rooms"]["join"]


async def test_stop_of_the_server_says_so(sqlite_url: str, tmp_path: Path) -> None:
    async with whole_site(sqlite_url, tmp_path) as site, talk(site) as alice, talk(site, by="bob") as silent:
        await alice.say()
        await alice.hear()
        stopping = asyncio.ensure_future(site.server.http.stop())
        assert await alice.end() == (None, 1001)
        assert await silent.end() == (None, 1001)
        await stopping


async def test_requests_are_limited_and_acknowledgements_are_not(sqlite_url: str, tmp_path: Path) -> None:
    limits = RateLimits(enabled=True, general=RateLimit(0.001, 3))
    async with whole_site(sqlite_url, tmp_path, rate_limits=limits) as site:
        room_id = await site.room()
        async with talk(site) as alice:
            await alice.say()
            token = (await alice.hear())["next_batch"]
            for number in range(5):
                await alice.say(ack=token)
                await site.send(room_id, f"message {number}")
                token = (await alice.hear())["next_batch"]
            for _ in range(5):
                await alice.say(since=token)
            assert await alice.end() == ("M_LIMIT_EXCEEDED", 4429)


# --- sliding sync


@pytest.mark.parametrize("path", ["/v4/sync", "/simplified_msc3575/sync"])
async def test_sliding_sync_goes_on_too(site: WholeSite, path: str) -> None:
    room_id = await site.room("bob")
    lists = {"all": {"range": [0, 9], "timeline_limit": 5, "required_state": {}}} if path == "/v4/sync" else LISTS
    async with talk(site, path) as alice:
        await alice.say(lists=lists, conn_id="main")
        first = await alice.hear()
        assert room_id in first["rooms"]
        await alice.say(ack=first["pos"])
        await site.send(room_id, "one", by="bob")
        second = await alice.hear()
        assert texts(second, room_id) == ["one"]
    async with talk(site, path) as alice:
        await alice.say(lists=lists, conn_id="main", pos=first["pos"])
        assert texts(await alice.hear(), room_id) == ["one"]


async def test_another_request_takes_the_place_of_the_one_that_waits(site: WholeSite) -> None:
    rooms = [await site.room(name=f"Room {number}") for number in range(3)]
    path = "/simplified_msc3575/sync"
    async with talk(site, path) as alice:
        small = {"all": {"ranges": [[0, 0]], "timeline_limit": 1, "required_state": []}}
        await alice.say(lists=small, conn_id="main")
        first = await alice.hear()
        assert list(first["rooms"]) == [rooms[2]]
        await alice.say(ack=first["pos"])
        await alice.say(lists=LISTS, conn_id="main", pos=first["pos"])
        assert set((await alice.hear())["rooms"]) >= {rooms[0], rooms[1]}


async def test_acknowledgement_counts_for_messages_to_the_device(site: WholeSite) -> None:
    await site.register("alice")
    for number in range(2):
        body = {"messages": {user("alice"): {"*": {"number": number}}}}
        await site.ok("PUT", f"/sendToDevice/m.test/{number}", body, by="bob")
    extensions = {"to_device": {"enabled": True, "limit": 1}}
    async with talk(site, "/simplified_msc3575/sync") as alice:
        await alice.say(conn_id="main", lists={}, extensions=extensions)
        answer = await alice.hear()
        numbers = [event["content"]["number"] for event in answer["extensions"]["to_device"]["events"]]
        answer = await alice.next(answer["pos"])
        numbers += [event["content"]["number"] for event in answer["extensions"]["to_device"]["events"]]
    assert numbers == [0, 1]
    assert (await site.ok("GET", f"/sync?timeout=0&since={(await site.ok('GET', '/sync'))['next_batch']}")).get(
        "to_device"
    ) is None


async def test_it_is_told_that_there_are_websockets(site: WholeSite) -> None:
    versions = await site.ok("GET", "/_matrix/client/versions", by=None)
    assert versions["unstable_features"]["io.hearth.websocket"] is True


async def test_many_of_one_user_are_refused(sqlite_url: str, tmp_path: Path) -> None:
    async with whole_site(sqlite_url, tmp_path) as site, AsyncExitStack() as stack:
        await site.register("alice")
        # By itself the client would not open more than a hundred.
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        url = f"{site.url}{PREFIX}/sync?access_token={quote(site.tokens['alice'])}"
        opened = [Talk(await stack.enter_async_context(client.ws_connect(url))) for _ in range(101)]
        for one in opened[:-1]:
            await one.say()
            await one.hear()
        await opened[-1].say()
        assert await opened[-1].end() == ("M_LIMIT_EXCEEDED", 4429)
