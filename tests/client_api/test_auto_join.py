"""Rooms that new people are in from the start."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.account_sections import Registration
from tests.client_api.whole_site import WholeSite, user, whole_site

ALIAS = "#welcome:hearth.test"


@asynccontextmanager
async def site_with(database_url: str, folder: Path, **options: Any) -> AsyncIterator[WholeSite]:
    registration = Registration(
        **{"enabled": True, "requires_token": False, "allow_guests": True, "auto_join_rooms": (ALIAS,)} | options
    )
    async with whole_site(database_url, folder, registration=registration) as site:
        yield site


async def arrive(site: WholeSite, name: str) -> str:
    """Register somebody, and wait until they have been shown around."""
    user_id = await site.register(name)
    while any(task.get_name().endswith(f"{user_id} arrives") for task in asyncio.all_tasks()):
        await asyncio.sleep(0.01)
    return user_id


async def joined(site: WholeSite, name: str) -> list[str]:
    return (await site.ok("GET", "/joined_rooms", by=name))["joined_rooms"]


async def test_missing_room_is_made_by_the_first_and_joined_by_all(database_url: str, tmp_path: Path) -> None:
    async with site_with(database_url, tmp_path, auto_create_rooms=True) as site:
        await arrive(site, "alice")
        await arrive(site, "bob")
        room_id = (await site.ok("GET", f"/directory/room/{quote(ALIAS)}", by=None))["room_id"]
        assert await joined(site, "alice") == await joined(site, "bob") == [room_id]
        create = await site.ok("GET", f"/rooms/{quote(room_id)}/state/m.room.create?format=event")
        assert create["sender"] == user("alice")


async def test_operator_may_say_who_makes_the_rooms(sqlite_url: str, tmp_path: Path) -> None:
    async with site_with(sqlite_url, tmp_path, auto_create_rooms=True, auto_join_creator="warden") as site:
        await arrive(site, "alice")
        assert await joined(site, "alice") == []  # there is no warden yet: logged, and no hindrance
        await arrive(site, "warden")
        await arrive(site, "bob")
        (room_id,) = await joined(site, "bob")
        create = await site.ok("GET", f"/rooms/{quote(room_id)}/state/m.room.create?format=event", by="bob")
        assert create["sender"] == user("warden")


async def test_closed_room_is_joined_by_invite_of_who_made_it(sqlite_url: str, tmp_path: Path) -> None:
    async with site_with(sqlite_url, tmp_path, auto_join_creator="warden") as site:
        await site.register("warden")
        body = {"preset": "private_chat", "room_alias_name": "welcome"}
        room_id = (await site.ok("POST", "/createRoom", body, by="warden"))["room_id"]
        await arrive(site, "alice")
        assert await joined(site, "alice") == [room_id]


@pytest.mark.parametrize("alias", ["#gone:hearth.test", "#gone:127.0.0.1:1"])
async def test_room_that_is_not_there_keeps_nobody_from_registering(
    sqlite_url: str, tmp_path: Path, alias: str
) -> None:
    rules = {"auto_join_rooms": (alias, ALIAS), "auto_create_rooms": alias.endswith("127.0.0.1:1")}
    async with site_with(sqlite_url, tmp_path, **rules) as site:
        await arrive(site, "alice")
        assert len(await joined(site, "alice")) == (1 if rules["auto_create_rooms"] else 0)


async def test_guests_join_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async with site_with(sqlite_url, tmp_path, auto_create_rooms=True) as site:
        guest = await site.ok("POST", "/register?kind=guest", {}, by=None)
        site.tokens["guest"] = guest["access_token"]
        assert await joined(site, "guest") == []
