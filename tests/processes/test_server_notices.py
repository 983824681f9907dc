"""Notices that two processes send at once."""

import asyncio
from typing import Any

import aiohttp

from tests.conftest import MakeDatabase
from tests.processes.test_operator import hearth
from tests.servers.client import Client
from tests.servers.fixtures import NewUser, StartServer
from tests.servers.homeserver import Homeserver

PATH = "/_synapse/admin/v1/send_server_notice"


async def notify(server: Homeserver, admin: Client, user_id: str, path: str = PATH) -> str:
    """The event's id. A connection of its own: the kernel gives every one to either process."""
    content = {"msgtype": "m.text", "body": "hello"}
    headers = {"Authorization": f"Bearer {admin.token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.request(
            "POST" if path == PATH else "PUT",
            server.url + path,
            json={"user_id": user_id, "content": content},
            headers=headers,
        ) as answer,
    ):
        told: dict[str, Any] = await answer.json()
        assert answer.status == 200, told
        return str(told["event_id"])


async def test_they_share_a_room_and_a_transaction_is_one_notice(
    start_server: StartServer, new_user: NewUser, make_database: MakeDatabase, redis_url: str
) -> None:
    server = await start_server("workers", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2")
    admin = await new_user(server, "admin")
    people = [await new_user(server, name) for name in ("alice", "bob", "carol")]
    await hearth(server, "user", "promote", "admin")
    for one in people:
        once = [notify(server, admin, one.user_id, f"{PATH}/{one.user_id}") for _ in range(6)]
        sent = await asyncio.gather(*once, *(notify(server, admin, one.user_id) for _ in range(6)))
        assert (len(set(sent[:6])), len(set(sent))) == (1, 7)
        (room_id,) = await one.sync_until(lambda answer: answer.get("rooms", {}).get("invite"))
        await one.join(room_id)
        messages = [event["event_id"] for event in await one.history(room_id) if event["type"] == "m.room.message"]
        assert sorted(messages) == sorted(set(sent))
