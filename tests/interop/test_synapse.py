"""Hearth and Synapse in the same rooms, in both directions."""

import os
from pathlib import Path

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.servers.client import Client
from tests.servers.fixtures import NewUser, StartServer
from tests.servers.homeserver import START_SYNAPSE, Homeserver

PYTHON = os.environ.get("HEARTH_SYNAPSE_PYTHON", "")
pytestmark = [pytest.mark.synapse, pytest.mark.skipif(not PYTHON, reason="HEARTH_SYNAPSE_PYTHON is not set")]


async def both(start_server: StartServer) -> tuple[Homeserver, Homeserver]:
    """A Hearth and a Synapse."""
    hearth = await start_server("hearth")
    synapse = await start_server("synapse", START_SYNAPSE, SYNAPSE_PYTHON=str(Path(PYTHON).absolute()))
    return hearth, synapse


async def talk_both_ways(one: Client, other: Client, room_id: str) -> None:
    await one.send(room_id, f"from {one.user_id}")
    await other.wait_for_text(room_id, f"from {one.user_id}")
    await other.send(room_id, f"from {other.user_id}")
    await one.wait_for_text(room_id, f"from {other.user_id}")


async def same_state(one: Client, other: Client, room_id: str) -> None:
    """Both servers hold the same current state."""

    async def state(client: Client) -> set[tuple[str, str, str]]:
        events = await client.get(f"rooms/{room_id}/state")
        return {(e["type"], e["state_key"], e["event_id"]) for e in events}

    assert await state(one) == await state(other)


@pytest.mark.parametrize("version", sorted(ROOM_VERSIONS, key=int))
async def test_rooms_of_every_version_are_shared_in_both_directions(
    start_server: StartServer, new_user: NewUser, version: str
) -> None:
    hearth, synapse = await both(start_server)
    alice, bob = await new_user(hearth, f"alice{version}"), await new_user(synapse, f"bob{version}")
    for host, guest, server in ((alice, bob, hearth), (bob, alice, synapse)):
        room_id = await host.create_room(preset="public_chat", room_version=version, name="Shared")
        await guest.join(room_id, via=server.name)
        await host.sync()
        await guest.sync()
        await talk_both_ways(host, guest, room_id)
        await same_state(host, guest, room_id)


async def test_invites_cross_in_both_directions_and_may_be_refused(
    start_server: StartServer, new_user: NewUser
) -> None:
    hearth, synapse = await both(start_server)
    alice, bob = await new_user(hearth, "alice"), await new_user(synapse, "bob")
    for host, guest in ((alice, bob), (bob, alice)):
        room_id = await host.create_room(preset="private_chat", invite=[guest.user_id])
        await guest.wait_for_invite(room_id)
        await guest.join(room_id)
        await host.sync()
        await talk_both_ways(host, guest, room_id)
        refused = await host.create_room(preset="private_chat", invite=[guest.user_id])
        await guest.wait_for_invite(refused)
        await guest.post(f"rooms/{refused}/leave")
        await host.sync_until(lambda a, r=refused, u=guest.user_id: left(a, r, u))


def left(answer: dict, room_id: str, user_id: str) -> bool:
    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    return any(
        e["type"] == "m.room.member" and e["state_key"] == user_id and e["content"]["membership"] == "leave"
        for e in room.get("timeline", {}).get("events", [])
    )


async def test_typing_receipts_and_presence_cross_in_both_directions(
    start_server: StartServer, new_user: NewUser
) -> None:
    hearth, synapse = await both(start_server)
    alice, bob = await new_user(hearth, "alice"), await new_user(synapse, "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id, via=hearth.name)
    await alice.sync()
    await bob.sync()
    for one, other in ((alice, bob), (bob, alice)):
        event_id = await one.send(room_id, f"read me {one.user_id}")
        await other.wait_for_text(room_id, f"read me {one.user_id}")
        await other.post(f"rooms/{room_id}/receipt/m.read/{event_id}")
        await one.sync_until(lambda a, e=event_id: any(e in r["content"] for r in ephemeral(a, room_id, "m.receipt")))
        await other.put(f"rooms/{room_id}/typing/{other.user_id}", {"typing": True, "timeout": 30_000})
        await one.sync_until(
            lambda a, u=other.user_id: any(u in t["content"]["user_ids"] for t in ephemeral(a, room_id, "m.typing"))
        )
        await other.put(f"presence/{other.user_id}/status", {"presence": "online", "status_msg": "at the hearth"})
        await one.sync_until(
            lambda a, u=other.user_id: any(
                e["sender"] == u and e["content"].get("status_msg") == "at the hearth"
                for e in a.get("presence", {}).get("events", [])
            )
        )


def ephemeral(answer: dict, room_id: str, kind: str) -> list[dict]:
    room = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    return [e for e in room.get("ephemeral", {}).get("events", []) if e["type"] == kind]


async def test_history_from_before_the_join_is_fetched_from_the_other_server(
    start_server: StartServer, new_user: NewUser
) -> None:
    hearth, synapse = await both(start_server)
    alice, bob = await new_user(hearth, "alice"), await new_user(synapse, "bob")
    for host, guest, server in ((alice, bob, hearth), (bob, alice, synapse)):
        room_id = await host.create_room(preset="public_chat")
        for n in range(30):
            await host.send(room_id, f"old {n}")
        await guest.join(room_id, via=server.name)
        old = [e["content"]["body"] for e in await guest.history(room_id) if "body" in e["content"]]
        assert old == [f"old {n}" for n in range(30)]
