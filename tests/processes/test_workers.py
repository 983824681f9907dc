"""Several processes on one PostgreSQL and Redis are one server."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp

from tests.conftest import MakeDatabase
from tests.servers.client import Client
from tests.servers.fixtures import NewUser, StartServer


def children(pid: int) -> list[int]:
    """Processes that `pid` started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]



async def test_two_processes_serve_one_room_and_the_death_of_one_loses_and_doubles_nothing(
    start_server: StartServer, new_user: NewUser, make_database: MakeDatabase, redis_url: str
) -> None:
    server = await start_server("workers", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2")
    alice, bob = await new_user(server, "alice"), await new_user(server, "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.sync()
    sent: dict[str, str] = {}

    async def talk(sender: int) -> None:
        for n in range(40):
            text = f"{sender}-{n}"
            while text not in sent:
                try:
                    # A connection each: the kernel gives every one to either process.
                    sent[text] = await send_alone(alice, room_id, text)
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.02)

    talkers = [asyncio.ensure_future(talk(sender)) for sender in range(4)]
    while len(sent) < 40:
        await asyncio.sleep(0.01)
    assert server.process is not None
    workers = children(server.process.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    await asyncio.gather(*talkers)

    history = [e for e in await alice.history(room_id) if e["type"] == "m.room.message"]
    assert sorted(e["content"]["body"] for e in history) == sorted(sent)
    assert {e["content"]["body"]: e["event_id"] for e in history} == sent
    while set(bob.texts(room_id)) != set(sent):
        await poll_again(bob)
    assert len(bob.texts(room_id)) == len(sent)


async def send_alone(client: Client, room_id: str, text: str) -> str:
    other = Client(client._url)
    other.token = client.token
    try:
        return await other.send(room_id, text, transaction=text)
    finally:
        await other.close()


async def poll_again(client: Client) -> None:
    try:
        answer = await client.sync(5_000)
    except (aiohttp.ClientError, OSError):
        return
    for room_id, room in answer.get("rooms", {}).get("join", {}).items():
        if room["timeline"].get("limited"):  # more came at once than a timeline holds: page, as a client does
            client.seen[room_id] = [e for e in await client.history(room_id) if "body" in e["content"]]
