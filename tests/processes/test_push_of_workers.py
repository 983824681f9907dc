"""Push notifications and search where several processes are one server."""

import asyncio
import os
import signal

import aiohttp

from tests.client_api.push_gateway import push_gateway
from tests.conftest import MakeDatabase
from tests.processes.test_workers import children, send_alone
from tests.servers.client import Client, Refused
from tests.servers.fixtures import NewUser, StartServer

MOMENT_S = 0.05


async def test_each_message_is_pushed_once_by_one_of_two_processes_and_found_by_both(
    start_server: StartServer, new_user: NewUser, make_database: MakeDatabase, redis_url: str
) -> None:
    server = await start_server("workers", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2")
    alice, bob = await new_user(server, "alice"), await new_user(server, "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    async with push_gateway() as gateway:
        await bob.post("pushers/set", gateway.pusher())
        sent = await asyncio.gather(*(send_alone(alice, room_id, f"tea {n}") for n in range(20)))
        got = [(await gateway.next())["event_id"] for _ in sent]
        assert sorted(got) == sorted(sent)

        assert server.process is not None
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        last = await resend(alice, room_id)
        # Whoever takes over may say again what was said just before the death of the other.
        while (event_id := (await gateway.next_event())["event_id"]) != last:
            assert event_id in sent
    for _ in range(4):
        assert await found(bob) == 21


async def resend(client: Client, room_id: str) -> str:
    """Send where a process that has just been killed may have the connection."""
    while True:
        try:
            return await send_alone(client, room_id, "tea at last")
        except (Refused, OSError, aiohttp.ClientError):
            await asyncio.sleep(MOMENT_S)


async def found(client: Client) -> int:
    """How many messages a search finds, asked over a connection of its own."""
    other = Client(client._url)
    other.token = client.token
    try:
        body = {"search_categories": {"room_events": {"search_term": "tea"}}}
        answer = await other.post("search", body)
        return int(answer["search_categories"]["room_events"]["count"])
    finally:
        await other.close()
