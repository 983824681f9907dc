"""Delayed events of a server of several processes, one of which dies."""

import asyncio
import os
import signal
from contextlib import suppress

import aiohttp

from tests.conftest import MakeDatabase
from tests.processes.test_workers import children
from tests.servers.client import Client
from tests.servers.fixtures import NewUser, StartServer

EVENTS = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"


async def scheduled(client: Client) -> int | None:
    """How many events wait to be sent; None where no process answers at the moment."""
    with suppress(aiohttp.ClientError, OSError):
        return len((await client.get(EVENTS, status="scheduled"))["delayed_events"])
    return None


async def test_each_event_is_sent_once_whichever_process_dies(
    start_server: StartServer, new_user: NewUser, make_database: MakeDatabase, redis_url: str
) -> None:
    server = await start_server("workers", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2")
    alice = await new_user(server, "alice")
    room_id = await alice.create_room(preset="public_chat")
    for number in range(40):
        path = f"/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{number}"
        delay = {"org.matrix.msc4140.delay": 300 + 50 * number}
        await alice.put(path, {"msgtype": "m.text", "body": str(number)}, **delay)
    while (await scheduled(alice) or 0) > 30:
        await asyncio.sleep(0.01)
    assert server.process is not None
    for worker in children(server.process.pid)[:1]:
        os.kill(worker, signal.SIGKILL)
    while await scheduled(alice) != 0:
        await asyncio.sleep(0.05)
    said = [event["content"]["body"] for event in await alice.history(room_id) if event["type"] == "m.room.message"]
    assert sorted(said, key=int) == [str(number) for number in range(40)]
