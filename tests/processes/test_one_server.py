"""One server process: two devices talk, and what was acknowledged outlives a kill."""

import asyncio
import time

import aiohttp

from tests.servers.client import Client
from tests.servers.fixtures import NewDevice, NewUser, StartServer

STOP_S = 5  # far above the second or two that is promised: the machine may be busy


async def test_two_devices_see_messages_typing_receipts_and_history(
    start_server: StartServer, new_user: NewUser, new_device: NewDevice
) -> None:
    server = await start_server("one")
    alice = await new_user(server, "alice")
    bob = await new_user(server, "bob")
    bobs_phone = await new_device(server, bob.user_id)
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id], name="Hearth")
    await bob.wait_for_invite(room_id)
    await bob.join(room_id)
    await asyncio.gather(bobs_phone.sync(), bob.sync(), alice.sync())

    event_id = await alice.send(room_id, "good evening")
    for device in (bob, bobs_phone):
        assert (await device.wait_for_text(room_id, "good evening"))["event_id"] == event_id

    await bob.put(f"rooms/{room_id}/typing/{bob.user_id}", {"typing": True, "timeout": 20_000})
    await alice.sync_until(lambda a: ephemeral(a, room_id, "m.typing", {"user_ids": [bob.user_id]}))
    await bob.post(f"rooms/{room_id}/receipt/m.read/{event_id}")
    await alice.sync_until(
        lambda a: any(
            bob.user_id in e["content"].get(event_id, {}).get("m.read", {}) for e in ephemerals(a, room_id, "m.receipt")
        )
    )
    await bob.put(f"presence/{bob.user_id}/status", {"presence": "online", "status_msg": "by the fire"})
    await alice.sync_until(
        lambda a: any(e["content"].get("status_msg") == "by the fire" for e in a.get("presence", {}).get("events", []))
    )
    history = await bob.history(room_id)
    assert history[0]["type"] == "m.room.create"
    assert history[-1]["event_id"] == event_id


def ephemerals(answer: dict, room_id: str, kind: str) -> list[dict]:
    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    return [e for e in room.get("ephemeral", {}).get("events", []) if e["type"] == kind]


def ephemeral(answer: dict, room_id: str, kind: str, content: dict) -> bool:
    return any(e["content"] == content for e in ephemerals(answer, room_id, kind))


async def test_every_acknowledged_message_outlives_kill_9_whole_and_once(
    start_server: StartServer, new_user: NewUser
) -> None:
    server = await start_server("killed")
    alice = await new_user(server, "alice")
    room_id = await alice.create_room()
    sent: dict[str, str] = {}

    async def talk(sender: int) -> None:
        for n in range(10_000):
            text = f"{sender}-{n}"
            try:
                sent[text] = await alice.send(room_id, text, transaction=text)
            except (TimeoutError, OSError, aiohttp.ClientError):
                return

    talkers = [asyncio.ensure_future(talk(sender)) for sender in range(4)]
    while len(sent) < 60:
        await asyncio.sleep(0.01)
    await server.kill()
    await asyncio.gather(*talkers)
    await server.start()

    kept = {e["content"]["body"]: e for e in await alice.history(room_id) if e["type"] == "m.room.message"}
    assert {text: kept[text]["event_id"] for text in sent} == sent
    # What was asked for but not acknowledged is there whole, or not at all: sending it again gives one event.
    for sender in range(4):
        last = max(int(t.split("-")[1]) for t in sent if t.startswith(f"{sender}-")) + 1
        text = f"{sender}-{last}"
        again = await alice.send(room_id, text, transaction=text)
        assert text not in kept or kept[text]["event_id"] == again
    bodies = [e["content"]["body"] for e in await alice.history(room_id) if e["type"] == "m.room.message"]
    assert len(bodies) == len(set(bodies))


async def test_the_server_stops_at_once_with_long_polls_waiting(start_server: StartServer, new_user: NewUser) -> None:
    server = await start_server("stopped")
    alice = await new_user(server, "alice")
    await alice.sync()

    async def poll(client: Client) -> None:
        await client.sync(30_000)

    polls = [asyncio.ensure_future(poll(alice)) for _ in range(3)]
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    assert await server.stop() == 0
    assert time.monotonic() - begun < STOP_S
    await asyncio.gather(*polls, return_exceptions=True)
