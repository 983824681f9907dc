"""Reports over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from storage import reports
from tests.client_api.whole_site import WholeSite, user, whole_site


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


async def kept(site: WholeSite) -> list[tuple[str | None, str | None, str | None, str, int | None]]:
    async with site.server.base.database.read() as tx:
        rows = await reports.newest(tx, 10)
    assert all(row.reporter == user("bob") for row in rows)
    return [(row.room_id, row.event_id, row.user_id, row.reason, row.score) for row in rows]


async def test_events_are_reported_by_members_of_the_room(site: WholeSite) -> None:
    room_id = await site.room()
    event_id = await site.send(room_id, "bad")
    path = f"/rooms/{quote(room_id)}/report/{quote(event_id)}"
    assert await site.error("POST", path, {}, by="bob") == (404, "M_NOT_FOUND")
    await site.ok("POST", f"/join/{quote(room_id)}", {}, by="bob")
    await site.ok("POST", path, {"reason": "bad words", "score": -100}, by="bob")
    await site.ok("POST", path, {}, by="bob")
    assert await kept(site) == [(room_id, event_id, None, "", None), (room_id, event_id, None, "bad words", -100)]
    assert await site.error("POST", path, {"score": 1}, by="bob") == (400, "M_INVALID_PARAM")
    assert await site.error("POST", path, {"reason": 1}, by="bob") == (400, "M_BAD_JSON")
    unknown = f"/rooms/{quote(room_id)}/report/$x"
    assert await site.error("POST", unknown, {}, by="bob") == (404, "M_NOT_FOUND")


async def test_rooms_and_users_are_reported_by_anybody(site: WholeSite) -> None:
    room_id = await site.room()
    await site.ok("POST", f"/rooms/{quote(room_id)}/report", {"reason": ""}, by="bob")
    await site.ok("POST", f"/users/{user('alice')}/report", {"reason": "rude"}, by="bob")
    assert await kept(site) == [(None, None, user("alice"), "rude", None), (room_id, None, None, "", None)]
    assert await site.error("POST", "/rooms/!x:y/report", {"reason": ""}, by="bob") == (404, "M_NOT_FOUND")
    assert await site.error("POST", f"/users/{user('x')}/report", {"reason": ""}, by="bob") == (404, "M_NOT_FOUND")
    assert await site.error("POST", "/users/x/report", {"reason": ""}, by="bob") == (400, "M_INVALID_PARAM")
    too_long = {"reason": "x" * 10_001}
    assert await site.error("POST", f"/users/{user('alice')}/report", too_long, by="bob") == (413, "M_TOO_LARGE")
