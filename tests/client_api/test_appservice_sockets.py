"""Bridges that are told over the WebSocket which they open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest

from tests.client_api.bridge import BridgedSite, bridged_site
from tests.client_api.whole_site import SERVER_NAME, WholeSite
from tests.servers.websockets import ending

PATH = "/_matrix/client/unstable/fi.mau.as_sync"
GHOST = f"@irc_bob:{SERVER_NAME}"


@dataclass
class Connection:
    """A bridge's end."""

    ws: aiohttp.ClientWebSocketResponse

    async def hear(self) -> Any:
        async with asyncio.timeout(20):
            return await self.ws.receive_json()

    async def transaction(self, *, acknowledge: bool = True) -> Any:
        """The next transaction."""
        message = await self.hear()
        assert (message["command"], message["status"]) == ("transaction", "ok")
        if acknowledge:
            answer = {"id": message["id"], "command": "response", "data": {"txn_id": message["txn_id"]}}
            await self.ws.send_json(answer)
        return message

    async def texts_until(self, last: str) -> list[str]:
        """The bodies of messages that arrive until one arrives."""
        found: list[str] = []
        while last not in found:
            message = await self.transaction()
            found += [event["content"]["body"] for event in message["events"] if "body" in event["content"]]
        return found

    async def ping(self) -> None:
        """Returns when everything that was said before has been heard on the other side."""
        await self.ws.send_json({"id": 1, "command": "ping", "data": {}})
        assert (await self.hear())["command"] == "response"

    async def end(self) -> tuple[int | None, Any]:
        """The code that it is closed with, and the status in the reason."""
        _last, code, reason = await ending(self.ws)
        return code, orjson.loads(reason or "{}").get("status")


@asynccontextmanager
async def connected(site: WholeSite, process: str = "one") -> AsyncIterator[Connection]:
    headers = {
        "Authorization": "Bearer as-token",
        "X-Mautrix-Process-ID": process,
        "X-Mautrix-Websocket-Version": "3",
    }
    async with site.client.ws_connect(site.url + PATH, headers=headers) as ws:
        connection = Connection(ws)
        assert (await connection.hear())["command"] == "connect"
        yield connection


@pytest.fixture
async def bridged(database_url: str, tmp_path: Path) -> AsyncIterator[BridgedSite]:
    async with bridged_site(database_url, tmp_path, url="websocket", more="receive_ephemeral: true\n") as running:
        yield running


async def room_with_ghost(bridged: BridgedSite) -> str:
    room_id = await bridged.site.room()
    await bridged.ghost("bob")
    await bridged.as_ghost(GHOST, "POST", f"/join/{quote(room_id)}", {})
    return room_id


async def test_transactions_arrive_one_after_the_other(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    async with connected(bridged.site) as bridge:
        await bridged.site.send(room_id, "one")
        first = await bridge.transaction(acknowledge=False)
        await bridged.site.send(room_id, "two")
        with pytest.raises(TimeoutError):
            await bridge.ws.receive(timeout=0.2)
    assert [event["content"]["body"] for event in first["events"]] == ["one"]


async def test_what_was_not_acknowledged_comes_again_under_the_same_id(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    async with connected(bridged.site) as bridge:
        await bridged.site.send(room_id, "one")
        first = await bridge.transaction(acknowledge=False)
    await bridged.site.send(room_id, "two")
    async with connected(bridged.site) as bridge:
        again = await bridge.transaction()
        assert (again["txn_id"], again["events"]) == (first["txn_id"], first["events"])
        assert await bridge.texts_until("two") == ["two"]


async def test_what_happens_while_it_is_away_waits(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    async with connected(bridged.site) as bridge:
        await bridged.site.send(room_id, "before")
        assert await bridge.texts_until("before") == ["before"]
        await bridge.ping()
    for number in range(3):
        await bridged.site.send(room_id, f"meanwhile {number}")
    async with connected(bridged.site) as bridge:
        assert await bridge.texts_until("meanwhile 2") == [f"meanwhile {number}" for number in range(3)]


async def test_passing_things_arrive_too(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    async with connected(bridged.site) as bridge:
        await bridged.site.send(room_id, "one")
        await bridge.texts_until("one")
        path = f"/rooms/{quote(room_id)}/typing/@alice:{SERVER_NAME}"
        await bridged.site.ok("PUT", path, {"typing": True, "timeout": 30_000})
        message = await bridge.transaction()
        while not message.get("ephemeral"):
            message = await bridge.transaction()
        assert (message["events"], message["ephemeral"][0]["type"]) == ([], "m.typing")


async def test_transaction_that_was_answered_with_an_error_comes_again(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    async with connected(bridged.site) as bridge:
        await bridged.site.send(room_id, "one")
        first = await bridge.transaction(acknowledge=False)
        await bridge.ws.send_json({"id": first["id"], "command": "error", "data": {"message": "not now"}})
        again = asyncio.ensure_future(bridge.transaction())
        while not again.done():
            bridged.site.clock.advance(5)
            await asyncio.sleep(0.01)
        assert (await again)["txn_id"] == first["txn_id"]


async def test_newer_connection_takes_the_place_of_the_older(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    async with connected(bridged.site) as old, connected(bridged.site, "two") as new:
        assert await old.end() == (4001, "conn_replaced")
        await bridged.site.send(room_id, "one")
        assert await new.texts_until("one") == ["one"]


async def test_unknown_ghost_is_invited_without_being_asked_for(bridged: BridgedSite) -> None:
    site = bridged.site
    room_id = await site.room()
    ghost = f"@irc_new:{SERVER_NAME}"
    async with connected(site) as bridge:
        await site.ok("POST", f"/rooms/{quote(room_id)}/invite", {"user_id": ghost})
        assert await site.error("GET", f"/profile/{ghost}") == (404, "M_NOT_FOUND")
        invites: list[str] = []
        while ghost not in invites:
            invites += [event["state_key"] for event in (await bridge.transaction())["events"] if "state_key" in event]
        assert await bridged.ghost("new") == ghost
        await bridged.as_ghost(ghost, "POST", f"/join/{quote(room_id)}", {})


async def test_commands_are_answered(bridged: BridgedSite) -> None:
    async with connected(bridged.site) as bridge:
        await bridge.ws.send_json({"command": "bridge_status", "data": {"state_event": "RUNNING"}})
        await bridge.ws.send_json({"id": 7, "command": "ping", "data": {"timestamp": 5}})
        now = bridged.site.clock.now_ms()
        assert await bridge.hear() == {"id": 7, "command": "response", "data": {"timestamp": now}}
        await bridge.ws.send_json({"id": 8, "command": "bridge_status", "data": {}})
        assert await bridge.hear() == {"id": 8, "command": "response", "data": {}}
        await bridge.ws.send_json({"id": 9, "command": "make_coffee", "data": {}})
        answer = await bridge.hear()
        assert (answer["id"], answer["command"], answer["data"]["code"]) == (9, "error", "M_UNRECOGNIZED")
        for strange in ({"id": "x", "command": "response"}, {"id": 99, "command": "response"}, {}):
            await bridge.ws.send_json(strange)
        await bridge.ws.send_json({"id": 10, "command": "ping"})
        assert (await bridge.hear())["id"] == 10


async def test_url_is_used_while_it_is_not_connected(sqlite_url: str, tmp_path: Path) -> None:
    async with bridged_site(sqlite_url, tmp_path) as bridged:
        room_id = await room_with_ghost(bridged)
        async with connected(bridged.site) as bridge:
            await bridged.site.send(room_id, "over the WebSocket")
            assert "over the WebSocket" in await bridge.texts_until("over the WebSocket")
        await bridged.site.send(room_id, "to the URL")
        await bridged.bridge.wait_for_entry("events", lambda event: event["content"].get("body") == "to the URL")
        bodies = [event["content"].get("body") for event in bridged.bridge.told("events")]
        assert "over the WebSocket" not in bodies


async def test_stop_of_the_server_says_so(sqlite_url: str, tmp_path: Path) -> None:
    async with bridged_site(sqlite_url, tmp_path, url="websocket") as bridged, connected(bridged.site) as bridge:
        stopping = asyncio.ensure_future(bridged.site.server.http.stop())
        assert await bridge.end() == (1001, "server_shutting_down")
        await stopping


async def test_only_application_services_connect(bridged: BridgedSite) -> None:
    assert await bridged.site.error("GET", PATH) == (403, "M_FORBIDDEN")
    assert await bridged.site.error("GET", PATH, by=None) == (401, "M_MISSING_TOKEN")
    assert await bridged.site.error("GET", PATH, by="bot") == (400, "M_INVALID_PARAM")
