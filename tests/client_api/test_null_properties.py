"""A property that may be left out may as well be null: clients send what they have nothing for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import WholeSite, user, whole_site

ALICE = user("alice")


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/keys/query", {"device_keys": {ALICE: []}, "timeout": None}),
    ("POST", "/keys/claim", {"one_time_keys": {}, "timeout": None}),
    ("POST", "/user_directory/search", {"search_term": "alice", "limit": None}),
    ("PUT", f"/rooms/{{room}}/typing/{ALICE}", {"typing": True, "timeout": None}),
    ("PUT", "/directory/list/room/{room}", {"visibility": None}),
    ("POST", "/rooms/{room}/upgrade", {"new_version": "12", "additional_creators": None}),
    ("POST", "/createRoom", {"initial_state": [{"type": "m.room.name", "state_key": None, "content": {"name": "x"}}]}),
    ("POST", "/search", {"search_categories": {"room_events": {
        "search_term": "x", "event_context": {"before_limit": None, "after_limit": None, "include_profile": None},
    }}}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), CASES, ids=[path.split("/")[-1] for _, path, _ in CASES])
async def test_null_counts_as_absent(site: WholeSite, method: str, path: str, body: dict[str, Any]) -> None:
    room_id = await site.room()
    await site.ok(method, path.format(room=quote(room_id)), body)


async def test_version_of_a_backup_need_not_be_repeated(site: WholeSite) -> None:
    backup: dict[str, Any] = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {}}
    version = (await site.ok("POST", "/room_keys/version", backup))["version"]
    assert await site.ok("PUT", f"/room_keys/version/{version}", {**backup, "version": None}) == {}
