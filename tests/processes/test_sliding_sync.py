"""Sliding sync by real processes: a connection outlives its server, and any process goes on with it."""

import asyncio
from typing import Any

from tests.conftest import MakeDatabase
from tests.servers.client import Client
from tests.servers.fixtures import NewUser, StartServer

PATH = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"


def body(limit: int = 5) -> dict[str, Any]:
    required = [["m.room.member", "$LAZY"], ["m.room.create", ""]]
    extensions = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")}
    return {
        "conn_id": "room-list",
        "lists": {"all": {"ranges": [[0, 19]], "timeline_limit": limit, "required_state": required}},
        "extensions": extensions,
    }


def texts(answer: dict[str, Any], room_id: str) -> list[str]:
    timeline = answer["rooms"].get(room_id, {}).get("timeline", [])
    return [event["content"]["body"] for event in timeline if event["type"] == "m.room.message"]


async def test_connection_outlives_kill_9(start_server: StartServer, new_user: NewUser) -> None:
    server = await start_server("one")
    alice, bob = await new_user(server, "alice"), await new_user(server, "bob")
    assert (await alice.get("/_matrix/client/versions"))["unstable_features"]["org.matrix.simplified_msc3575"] is True
    room_id = await alice.create_room(preset="public_chat", name="Hearth")
    await bob.join(room_id)
    answer = await alice.post(PATH, body())
    assert answer["rooms"][room_id]["name"] == "Hearth"
    await bob.send(room_id, "one")
    await server.kill()
    await server.start()
    answer = await alice.request("POST", PATH, body(), pos=answer["pos"], timeout="10000")
    assert texts(answer, room_id) == ["one"]
    page = await alice.get(f"rooms/{room_id}/messages", dir="b", **{"from": answer["pos"]})
    assert page["chunk"][0]["content"]["body"] == "one"


async def test_any_process_goes_on_with_a_connection(
    start_server: StartServer, new_user: NewUser, make_database: MakeDatabase, redis_url: str
) -> None:
    server = await start_server("workers", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2")
    alice, bob = await new_user(server, "alice"), await new_user(server, "bob")
    first = await alice.create_room(preset="public_chat")
    await bob.join(first)
    pos: str | None = None
    told: list[str] = []
    rooms: list[str] = []
    for number in range(12):
        await bob.send(first, str(number))
        room_id = await alice.create_room()
        query = {} if pos is None else {"pos": pos, "timeout": "5000"}
        # A connection each: the kernel gives every one to either process.
        answer = await ask_alone(alice, query)
        told += texts(answer, first)
        rooms += [one for one, room in answer["rooms"].items() if room.get("initial")]
        pos = answer["pos"]
        while str(number) not in told or room_id not in rooms:
            # The other process may not have heard yet.
            answer = await ask_alone(alice, {"pos": pos, "timeout": "5000"})
            told += texts(answer, first)
            rooms += [one for one, room in answer["rooms"].items() if room.get("initial")]
            pos = answer["pos"]
    assert told == [str(number) for number in range(12)]
    assert len(rooms) == len(set(rooms)) == 13


async def test_a_newer_request_wins_in_whichever_process_it_is(
    start_server: StartServer, new_user: NewUser, make_database: MakeDatabase, redis_url: str
) -> None:
    server = await start_server("workers", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2")
    for number in range(4):  # each time either process
        alice = await new_user(server, f"alice{number}")
        hidden = await alice.create_room()
        await alice.create_room()
        window = {"lists": {"all": {"ranges": [[0, 0]], "timeline_limit": 1}}}
        quiet = {"set_presence": "offline"}
        start = (await ask_alone(alice, quiet, window))["pos"]
        older = asyncio.ensure_future(
            ask_alone(alice, {"pos": start, "timeout": "30000", "set_presence": "unavailable"}, window)
        )
        while (await alice.get(f"presence/{alice.user_id}/status"))["presence"] != "unavailable":
            await asyncio.sleep(0.02)  # the older request has not begun yet
        window["lists"]["all"]["ranges"] = [[0, 9]]
        newer = await ask_alone(alice, {"pos": start, **quiet}, window)
        assert hidden in newer["rooms"]
        added = await alice.create_room()
        assert (await older)["rooms"] == {}
        told: dict[str, Any] = {}
        while added not in told:
            newer = await ask_alone(alice, {"pos": newer["pos"], "timeout": "5000", **quiet}, window)
            told |= newer["rooms"]
        assert told[added]["initial"]
        assert hidden not in told


async def ask_alone(client: Client, query: dict[str, str], wanted: dict[str, Any] | None = None) -> dict[str, Any]:
    other = Client(client._url)
    other.token = client.token
    try:
        answer: dict[str, Any] = await other.request("POST", PATH, wanted or body(), **query)
        return answer
    finally:
        await other.close()
