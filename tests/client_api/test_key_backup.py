"""Backups of room keys over HTTP."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.client_api.whole_site import WholeSite, whole_site

ROOM, OTHER_ROOM = "!a:hearth.test", "!b:hearth.test"
BACKUP = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "abc"}}


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


def key(verified: bool = False, index: int = 0, forwarded: int = 0, secret: str = "x") -> dict[str, Any]:
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": secret},
    }


async def new_backup(site: WholeSite) -> str:
    return str((await site.ok("POST", "/room_keys/version", BACKUP))["version"])


async def test_the_newest_backup_is_the_current_one_and_versions_are_never_reused(site: WholeSite) -> None:
    assert await site.error("GET", "/room_keys/version") == (404, "M_NOT_FOUND")
    first = await new_backup(site)
    second = await new_backup(site)
    assert await site.ok("GET", "/room_keys/version") == {**BACKUP, "version": second, "etag": "0", "count": 0}
    assert (await site.ok("GET", f"/room_keys/version/{first}"))["version"] == first
    await site.ok("DELETE", f"/room_keys/version/{second}")
    assert await site.ok("DELETE", f"/room_keys/version/{second}") == {}
    assert (await site.ok("GET", "/room_keys/version"))["version"] == first
    assert await site.error("GET", f"/room_keys/version/{second}") == (404, "M_NOT_FOUND")
    assert await new_backup(site) not in (first, second)
    assert await site.error("DELETE", "/room_keys/version/77") == (404, "M_NOT_FOUND")
    assert await site.error("GET", f"/room_keys/version/{first}", by="bob") == (404, "M_NOT_FOUND")


async def test_only_the_auth_data_of_a_backup_changes(site: WholeSite) -> None:
    version = await new_backup(site)
    path = f"/room_keys/version/{version}"
    await site.ok("PUT", path, {**BACKUP, "auth_data": {"public_key": "new"}, "version": version})
    assert (await site.ok("GET", path))["auth_data"] == {"public_key": "new"}
    assert await site.error("PUT", path, {**BACKUP, "algorithm": "other"}) == (400, "M_INVALID_PARAM")
    assert await site.error("PUT", path, {**BACKUP, "version": "x"}) == (400, "M_INVALID_PARAM")
    assert await site.error("PUT", "/room_keys/version/x", BACKUP) == (404, "M_NOT_FOUND")
    assert (await site.error("PUT", path, {"algorithm": "m.megolm_backup.v1"}))[0] == 400


async def test_keys_are_kept_read_and_deleted_at_three_levels(site: WholeSite) -> None:
    version = await new_backup(site)
    query = f"?version={version}"
    everything = {"rooms": {ROOM: {"sessions": {"s1": key(), "s2": key()}}, OTHER_ROOM: {"sessions": {"s3": key()}}}}
    assert (await site.ok("PUT", f"/room_keys/keys{query}", everything))["count"] == 3
    assert await site.ok("GET", f"/room_keys/keys{query}") == everything
    assert await site.ok("GET", f"/room_keys/keys/{ROOM}{query}") == everything["rooms"][ROOM]
    assert await site.ok("GET", f"/room_keys/keys/{ROOM}/s1{query}") == key()
    assert (await site.ok("PUT", f"/room_keys/keys/{OTHER_ROOM}{query}", {"sessions": {"s4": key()}}))["count"] == 4
    assert (await site.ok("DELETE", f"/room_keys/keys/{ROOM}/s1{query}"))["count"] == 3
    assert await site.error("GET", f"/room_keys/keys/{ROOM}/s1{query}") == (404, "M_NOT_FOUND")
    assert (await site.ok("DELETE", f"/room_keys/keys/{OTHER_ROOM}{query}"))["count"] == 1
    assert await site.ok("GET", f"/room_keys/keys/{OTHER_ROOM}{query}") == {"sessions": {}}
    assert (await site.ok("DELETE", f"/room_keys/keys{query}"))["count"] == 0
    assert await site.ok("GET", f"/room_keys/keys{query}") == {"rooms": {}}


async def test_the_etag_says_whether_keys_have_changed(site: WholeSite) -> None:
    version = await new_backup(site)
    path = f"/room_keys/keys/{ROOM}/s?version={version}"
    first = await site.ok("PUT", path, key(index=5))
    assert await site.ok("PUT", path, key(index=6)) == first
    second = await site.ok("PUT", path, key(index=4))
    assert second["count"] == first["count"] == 1
    assert second["etag"] != first["etag"]
    assert (await site.ok("GET", "/room_keys/version"))["etag"] == second["etag"]


async def test_the_better_key_for_a_session_is_kept(site: WholeSite) -> None:
    version = await new_backup(site)
    path = f"/room_keys/keys/{ROOM}/s?version={version}"
    ranked = [key(v, i, f) for v, i, f in itertools.product((True, False), (1, 2), (1, 2))]  # the best first
    for better, worse in itertools.combinations(ranked, 2):
        await site.ok("DELETE", path)
        await site.ok("PUT", path, worse)
        await site.ok("PUT", path, better)
        await site.ok("PUT", path, {**worse, "session_data": {}})
        assert await site.ok("GET", path) == better


async def test_keys_go_only_to_the_current_backup(site: WholeSite) -> None:
    first = await new_backup(site)
    second = await new_backup(site)
    status, answer = await site.ask("PUT", f"/room_keys/keys/{ROOM}/s?version={first}", key())
    assert (status, answer["errcode"], answer["current_version"]) == (403, "M_WRONG_ROOM_KEYS_VERSION", second)
    assert await site.error("PUT", f"/room_keys/keys/{ROOM}/s", key()) == (400, "M_MISSING_PARAM")
    assert await site.error("PUT", f"/room_keys/keys/{ROOM}/s?version=1", key(), by="bob") == (404, "M_NOT_FOUND")
    for bad in ({**key(), "is_verified": 1}, {**key(), "session_data": "x"}, {}):
        assert (await site.error("PUT", f"/room_keys/keys/{ROOM}/s?version={second}", bad))[0] == 400
    assert await site.error("GET", "/room_keys/keys?version=77") == (404, "M_NOT_FOUND")
    assert await site.error("DELETE", "/room_keys/keys?version=77") == (404, "M_NOT_FOUND")


async def test_thousands_of_keys_are_one_upload(site: WholeSite) -> None:
    version = await new_backup(site)
    query = f"?version={version}"
    rooms = {f"!{n}:hearth.test": {"sessions": {f"s{m}": key(index=1) for m in range(600)}} for n in range(3)}
    assert (await site.ok("PUT", f"/room_keys/keys{query}", {"rooms": rooms})) == {"count": 1800, "etag": "1"}
    rooms["!0:hearth.test"]["sessions"] = {f"s{m}": key(index=m % 2 * 5) for m in range(1200)}
    assert (await site.ok("PUT", f"/room_keys/keys{query}", {"rooms": rooms})) == {"count": 2400, "etag": "2"}
    kept = (await site.ok("GET", f"/room_keys/keys/!0:hearth.test{query}"))["sessions"]
    assert [kept[f"s{m}"]["first_message_index"] for m in (0, 1, 601)] == [0, 1, 5]
