"""The operator's commands: while the server runs, whose caches then know of it, and while it does not."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import MakeDatabase
from tests.servers.fixtures import NewUser, StartServer
from tests.servers.homeserver import PROJECT, Homeserver

PASSWORD = "something quite long"


async def hearth(server: Homeserver, *arguments: str, stdin: str = "", status: int = 0) -> str:
    """What a command says."""
    command = [sys.executable, "-m", "homeserver.cli", *arguments, "--config", str(server.folder / "data/hearth.yaml")]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == status, (out, err)
    return (out if status == 0 else err).decode()


async def hearth_json(server: Homeserver, *arguments: str) -> Any:
    return json.loads(await hearth(server, *arguments, "--json"))


async def whoami(server: Homeserver, token: str) -> str | None:
    """The errcode, None where all is well."""
    return (await read(server, token, "account/whoami")).get("errcode")


async def read(server: Homeserver, token: str, path: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/_matrix/client/v3/{path}", headers=headers) as answer,
    ):
        return dict(await answer.json())


async def log_in(server: Homeserver, name: str, password: str) -> tuple[int, dict[str, Any]]:
    """Status and body."""
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/_matrix/client/v3/login", json=body) as answer,
    ):
        return answer.status, await answer.json()


@pytest.fixture(params=["sqlite", "workers"])
async def server(
    request: pytest.FixtureRequest, start_server: StartServer, make_database: MakeDatabase, redis_url: str
) -> Homeserver:
    """One process on SQLite, two on PostgreSQL."""
    if request.param == "sqlite":
        return await start_server("alone")
    return await start_server("workers", HS_DB=make_database(), HS_REDIS=redis_url, HS_WORKERS="2")


async def test_running_server_hears_of_every_order(server: Homeserver, new_user: NewUser) -> None:
    alice, bob = await new_user(server, "alice"), await new_user(server, "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    # Every process has seen the token by now.
    assert [await whoami(server, bob.token) for _ in range(8)] == [None] * 8

    await hearth(server, "user", "lock", "bob")
    await until(server, bob.token, "M_USER_LOCKED")
    await hearth(server, "user", "unlock", bob.user_id)
    await until(server, bob.token, None)
    await hearth(server, "user", "suspend", "bob")
    assert "[suspended]" in await hearth(server, "user", "show", "bob")
    await hearth(server, "user", "promote", "bob")
    listed = await hearth_json(server, "user", "list")
    assert [(user["user_id"], user["is_admin"]) for user in listed] == [(alice.user_id, False), (bob.user_id, True)]

    await hearth(server, "user", "reset-password", "bob", "--password-stdin", stdin=PASSWORD + "\n")
    await until(server, bob.token, "M_UNKNOWN_TOKEN")
    assert (await log_in(server, "bob", PASSWORD))[0] == 200
    await hearth(server, "user", "deactivate", "bob", "--erase")
    assert (await log_in(server, "bob", PASSWORD))[0] == 403
    await alice.sync()
    members = await alice.get(f"/_matrix/client/v3/rooms/{room_id}/joined_members")
    assert set(members["joined"]) == {alice.user_id}
    shown = await hearth_json(server, "user", "show", "bob")
    assert (shown["deactivated"], shown["erased"], shown["devices"]) == (True, True, [])

    refusal = await hearth(server, "user", "lock", "nobody", status=1)
    assert "no such user" in refusal
    short = await hearth(server, "user", "reset-password", "alice", "--password-stdin", stdin="x\n", status=1)
    assert "characters" in short


async def until(server: Homeserver, token: str, errcode: str | None) -> None:
    """Wait until every process has heard: the bus is quick, not instantaneous."""
    while {await whoami(server, token) for _ in range(8)} != {errcode}:
        await asyncio.sleep(0.02)


async def test_orders_are_done_where_no_server_runs(server: Homeserver, new_user: NewUser) -> None:
    alice, bob = await new_user(server, "alice"), await new_user(server, "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await server.stop()
    await hearth(server, "user", "lock", "alice")
    await hearth(server, "user", "deactivate", "bob")
    token = (await hearth(server, "token", "add", "--uses", "2", "--lasts", "1h")).strip()
    await hearth(server, "token", "add", "--token", "sesame")
    await hearth(server, "token", "revoke", "sesame")
    (listed,) = await hearth_json(server, "token", "list")
    assert (listed["token"], listed["uses_allowed"], listed["completed"]) == (token, 2, 0)
    assert f"{token}  used 0 of 2 times" in await hearth(server, "token", "list")

    await server.start()
    assert await whoami(server, alice.token) == "M_USER_LOCKED"
    await hearth(server, "user", "unlock", "alice")
    await until(server, alice.token, None)
    members = await alice.get(f"/_matrix/client/v3/rooms/{room_id}/joined_members")
    assert set(members["joined"]) == {alice.user_id}
    await alice.post(f"/_matrix/client/v3/rooms/{room_id}/report", {"reason": "spam\x1b[2J"})
    (report,) = await hearth_json(server, "reports")
    assert (report["reporter"], report["room_id"]) == (alice.user_id, room_id)
    assert "\x1b" not in await hearth(server, "reports", "--limit", "5")


async def test_users_are_told_something_whether_the_server_runs_or_not(server: Homeserver, new_user: NewUser) -> None:
    alice = await new_user(server, "alice")
    assert await hearth(server, "user", "notify", "alice", "one") == "Told alice.\n"
    await hearth(server, "user", "notify", alice.user_id, stdin="two\n")
    await server.stop()
    assert await hearth_json(server, "user", "notify", "--all", "three") == {"told": 1, "failed": {}}
    await server.start()
    await hearth(server, "user", "notify", "--all", "--after", "@a:a", stdin="four\n")
    (room_id,) = await alice.sync_until(lambda answer: answer.get("rooms", {}).get("invite"))
    await alice.join(room_id)
    await alice.wait_for_text(room_id, "four")
    assert alice.texts(room_id) == ["one", "two", "three", "four"]
    for arguments in ((), ("--all", "alice", "hello"), ("nobody", "hello")):
        assert await hearth(server, "user", "notify", *arguments, status=1)


async def test_only_who_has_the_signing_key_gives_orders(start_server: StartServer) -> None:
    server = await start_server("alone")
    body = {"order": "user list", "arguments": {}, "at": 0, "nonce": "n"}
    async with aiohttp.ClientSession() as http:
        for headers in ({}, {"Authorization": "Hearth-Operator 00"}, {"Authorization": "Bearer x"}):
            async with http.post(f"{server.url}/_hearth/operator", json=body, headers=headers) as answer:
                assert answer.status == 403


async def test_user_who_is_added_joins_the_rooms_of_new_people(start_server: StartServer, tmp_path: Path) -> None:
    extra = tmp_path / "extra.yaml"
    extra.write_text("{}")
    server = await start_server("alone", HS_EXTRA_CONFIG=str(extra))
    await server.stop()
    extra.write_text(f"registration: {{auto_join_rooms: ['#welcome:{server.name}'], auto_create_rooms: true}}")
    await server.start()
    told = await hearth(server, "user", "add", "--admin", "carol", "--password-stdin", stdin=PASSWORD + "\n")
    assert told == f"Made @carol:{server.name}, who administers this server.\n"
    again = await hearth(server, "user", "add", "carol", "--password-stdin", stdin=PASSWORD + "\n", status=1)
    assert "taken" in again
    await server.stop()
    await hearth(server, "user", "add", "dave", "--password-stdin", stdin=PASSWORD + "\n")
    await server.start()
    rooms = []
    for name in ("carol", "dave"):
        _, login = await log_in(server, name, PASSWORD)
        rooms.append((await read(server, login["access_token"], "joined_rooms"))["joined_rooms"])
    assert rooms[0] == rooms[1] != []
    assert "[admin]" in await hearth(server, "user", "show", "carol")
