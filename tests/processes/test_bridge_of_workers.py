"""A bridge that connects to one of several processes is told by that one, wherever the messages are sent."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.conftest import MakeDatabase
from tests.servers.client import Client
from tests.servers.fixtures import NewUser, StartServer
from tests.servers.websockets import ending

REGISTRATION = """
id: irc
url: websocket
as_token: the-as-token
hs_token: the-hs-token
sender_localpart: ircbot
namespaces: {users: [{exclusive: true, regex: "@irc_.*"}]}
"""


async def connect(http: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    """A connection of its own, which the kernel gives to either process."""
    headers = {"Authorization": "Bearer the-as-token"}
    ws = await http.ws_connect(f"{url}/_matrix/client/unstable/fi.mau.as_sync", headers=headers)
    assert (await ws.receive_json())["command"] == "connect"
    return ws


async def texts_until(ws: aiohttp.ClientWebSocketResponse, last: str) -> dict[str, list[str]]:
    """Transaction id → bodies of messages, until one has arrived."""
    found: dict[str, list[str]] = {}
    async with asyncio.timeout(60):
        while not any(last in bodies for bodies in found.values()):
            message: Any = await ws.receive_json()
            bodies = [event["content"].get("body") for event in message["events"]]
            found[message["txn_id"]] = [body for body in bodies if body]
            await ws.send_json({"id": message["id"], "command": "response", "data": {"txn_id": message["txn_id"]}})
    return found


async def test_each_new_connection_takes_over_and_nothing_is_lost_or_doubled(
    start_server: StartServer, new_user: NewUser, make_database: MakeDatabase, redis_url: str, tmp_path: Path
) -> None:
    registration = tmp_path / "irc.yaml"
    registration.write_text(REGISTRATION)
    server = await start_server(
        "bridged", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2", HS_APPSERVICES=str(registration)
    )
    alice = await new_user(server, "alice")
    room_id = await alice.create_room(preset="public_chat")
    bot = Client(server.url)
    bot.token = "the-as-token"
    arrived: dict[str, list[str]] = {}
    try:
        ghost = {"type": "m.login.application_service", "username": "irc_bob", "inhibit_login": True}
        await bot.post("register", ghost)
        await bot.post(f"join/{quote(room_id)}", user_id=f"@irc_bob:{server.name}")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            old: aiohttp.ClientWebSocketResponse | None = None
            for turn in range(5):
                ws = await connect(http, server.url)
                if old is not None:
                    assert (await ending(old)).code == 4001
                for number in range(3):
                    await alice.send(room_id, f"{turn}-{number}")
                for txn_id, bodies in (await texts_until(ws, f"{turn}-2")).items():
                    assert arrived.setdefault(txn_id, bodies) == bodies
                old = ws
    finally:
        await bot.close()
    told = [body for bodies in arrived.values() for body in bodies]
    assert [body for body in told if body[0].isdigit()] == [f"{turn}-{n}" for turn in range(5) for n in range(3)]
