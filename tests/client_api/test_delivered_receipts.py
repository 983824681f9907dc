"""Receipts of what has arrived, over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.account_sections import Rooms
from tests.client_api.whole_site import WholeSite, user, whole_site

DELIVERED = "io.hearth.delivered"
ASKING = json.dumps({DELIVERED: True})
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path, rooms=Rooms(delivered_receipts_up_to=3)) as running:
        yield running


async def sync(
    site: WholeSite, name: str, since: str | None = None, wanted: str = ASKING, timeout_ms: int = 0
) -> tuple[str, dict[str, Any]]:
    """The next token, and the joined rooms."""
    query = f"filter={quote(wanted)}&timeout={timeout_ms}" + ("" if since is None else f"&since={since}")
    answer = await site.ok("GET", f"/sync?{query}", by=name)
    return answer["next_batch"], answer.get("rooms", {}).get("join", {})


def receipts(rooms: dict[str, Any], room: str) -> dict[str, Any]:
    """event id → receipt type → user id → data, of what a room's section tells."""
    found: dict[str, Any] = {}
    for event in rooms.get(room, {}).get("ephemeral", {}).get("events", []):
        if event["type"] == "m.receipt":
            found.update(event["content"])
    return found


async def told(site: WholeSite, name: str, room: str, since: str) -> dict[str, Any]:
    """The next receipts that a client hears of."""
    while True:
        since, rooms = await sync(site, name, since, timeout_ms=5_000)
        if found := receipts(rooms, room):
            return found


async def test_what_has_arrived_is_told_to_clients_that_ask(site: WholeSite) -> None:
    room = await site.room("bob")
    mine, _ = await sync(site, "alice")
    theirs, _ = await sync(site, "bob")
    theirs, _ = await sync(site, "bob", theirs)
    sent = await site.send(room, "hello")
    following, rooms = await sync(site, "bob", theirs)
    assert rooms[room]["timeline"]["events"][0]["event_id"] == sent
    assert rooms[room]["unread_notifications"]["notification_count"] == 1
    assert receipts((await sync(site, "alice", mine))[1], room) == {}
    _, rooms = await sync(site, "bob", following)
    now = site.clock.now_ms()
    assert await told(site, "alice", room, mine) == {sent: {DELIVERED: {user("bob"): {"ts": now}}}}
    _, rooms = await sync(site, "bob")
    assert rooms[room]["unread_notifications"]["notification_count"] == 1  # it was not read by that


async def test_clients_that_do_not_ask_neither_tell_nor_hear(site: WholeSite) -> None:
    room = await site.room("bob", "carol")
    plain = json.dumps({})
    carol, _ = await sync(site, "carol", wanted=plain)
    carol, _ = await sync(site, "carol", carol, wanted=plain)
    alice, _ = await sync(site, "alice")
    bob, _ = await sync(site, "bob")
    bob, _ = await sync(site, "bob", bob)
    sent = await site.send(room, "hello")
    for _ in range(2):
        carol, _ = await sync(site, "carol", carol, wanted=plain)
        bob, _ = await sync(site, "bob", bob)
    heard = await told(site, "alice", room, alice)
    assert list(heard[sent][DELIVERED]) == [user("bob")]
    _, rooms = await sync(site, "carol", carol, wanted=plain)
    assert rooms == {}
    assert receipts((await sync(site, "carol", wanted=plain))[1], room) == {}
    assert receipts((await sync(site, "carol"))[1], room) == heard


async def test_large_rooms_are_left_alone(site: WholeSite) -> None:
    large, small = await site.room("bob", "carol", "dave"), await site.room("bob")
    alice, _ = await sync(site, "alice")
    bob, _ = await sync(site, "bob")
    bob, _ = await sync(site, "bob", bob)
    await site.send(large, "hello")
    sent = await site.send(small, "hello")
    for _ in range(2):
        bob, _ = await sync(site, "bob", bob)
    assert list(await told(site, "alice", small, alice)) == [sent]
    assert receipts((await sync(site, "alice"))[1], large) == {}


async def test_clients_send_no_such_receipts_themselves(site: WholeSite) -> None:
    room = await site.room()
    sent = await site.send(room, "hello")
    path = f"/rooms/{quote(room)}/receipt/{DELIVERED}/{quote(sent)}"
    assert (await site.error("POST", path, {}))[0] == 400


async def test_nobody_is_told_where_it_is_switched_off(database_url: str, tmp_path: Path) -> None:
    async with whole_site(database_url, tmp_path, rooms=Rooms(delivered_receipts_up_to=0)) as site:
        room = await site.room("bob")
        bob, _ = await sync(site, "bob")
        bob, _ = await sync(site, "bob", bob)
        sent = await site.send(room, "hello")
        for _ in range(3):
            bob, _ = await sync(site, "bob", bob)
            await asyncio.sleep(0)
        await site.ok("POST", f"/rooms/{quote(room)}/receipt/m.read/{quote(sent)}", {}, by="bob")
        assert list(receipts((await sync(site, "alice"))[1], room)[sent]) == ["m.read"]


async def test_other_servers_tell_what_has_arrived_there(site: WholeSite) -> None:
    small, large = await site.room("bob"), await site.room("bob", "carol", "dave")
    alice, _ = await sync(site, "alice")
    for room in (large, small):
        sent = await site.send(room, "hello")
        content = {DELIVERED: {user("bob"): {"event_ids": [sent], "data": {"ts": 5}}}}
        await site.server.telling.receipts.receive(room, content)
    assert await told(site, "alice", small, alice) == {sent: {DELIVERED: {user("bob"): {"ts": 5}}}}
    assert receipts((await sync(site, "alice"))[1], large) == {}


async def test_who_is_ignored_is_not_told(site: WholeSite) -> None:
    room = await site.room("bob", "carol")
    path = f"/user/{quote(user('bob'))}/account_data/m.ignored_user_list"
    await site.ok("PUT", path, {"ignored_users": {user("carol"): {}}}, by="bob")
    alice, _ = await sync(site, "alice")
    bob, _ = await sync(site, "bob")
    bob, _ = await sync(site, "bob", bob)
    sent = await site.send(room, "hello")
    await site.send(room, "hello?", by="carol")
    for _ in range(2):
        bob, _ = await sync(site, "bob", bob)
    assert list(await told(site, "alice", room, alice)) == [sent]


# --- by sliding sync


async def slide(
    site: WholeSite, name: str, pos: str | None = None, *, last: int = 9, asks: bool = True, timeout_ms: int = 0
) -> tuple[str, dict[str, Any]]:
    """The next pos, and the answer to a client that shows the first rooms up to the `last`."""
    body = {
        "lists": {"all": {"ranges": [[0, last]], "timeline_limit": 5}},
        "extensions": {"receipts": {"enabled": True, DELIVERED: asks}},
    }
    query = f"?timeout={timeout_ms}" + ("" if pos is None else f"&pos={quote(pos)}")
    answer = await site.ok("POST", SLIDING + query, body, by=name)
    return answer["pos"], answer


async def told_sliding(site: WholeSite, name: str, room: str, pos: str) -> dict[str, Any]:
    """The next receipts that a client of sliding sync hears of."""
    while True:
        pos, answer = await slide(site, name, pos, timeout_ms=5_000)
        if found := answer["extensions"]["receipts"]["rooms"].get(room):
            return dict(found["content"])


async def test_sliding_sync_tells_what_has_arrived_to_clients_that_ask(site: WholeSite) -> None:
    room = await site.room("bob")
    alice, _ = await slide(site, "alice")
    bob, _ = await slide(site, "bob")
    bob, _ = await slide(site, "bob", bob)
    sent = await site.send(room, "hello")
    bob, answer = await slide(site, "bob", bob)
    assert answer["rooms"][room]["timeline"][-1]["event_id"] == sent
    await slide(site, "bob", bob)
    heard = await told_sliding(site, "alice", room, alice)
    assert heard == {sent: {DELIVERED: {user("bob"): {"ts": site.clock.now_ms()}}}}
    _, answer = await slide(site, "alice")
    assert answer["extensions"]["receipts"]["rooms"][room]["content"] == heard
    assert answer["rooms"][room]["notification_count"] == 0
    _, answer = await slide(site, "bob")
    assert answer["rooms"][room]["notification_count"] == 1


async def test_sliding_sync_neither_tells_nor_hears_where_nobody_asks(site: WholeSite) -> None:
    room = await site.room("bob", "carol")
    plain, _ = await slide(site, "carol", asks=False)
    bob, _ = await slide(site, "bob")
    bob, _ = await slide(site, "bob", bob)
    alice, _ = await slide(site, "alice")
    sent = await site.send(room, "hello")
    for _ in range(2):
        plain, _ = await slide(site, "carol", plain, asks=False)
        bob, _ = await slide(site, "bob", bob)
    assert list((await told_sliding(site, "alice", room, alice))[sent][DELIVERED]) == [user("bob")]
    for pos in (plain, None):
        _, answer = await slide(site, "carol", pos, asks=False)
        assert answer["extensions"]["receipts"] == {"rooms": {}}


async def test_what_sliding_sync_did_not_show_has_not_arrived(site: WholeSite) -> None:
    unseen, shown = await site.room("bob"), await site.room("bob")
    alice, _ = await slide(site, "alice")
    bob, _ = await slide(site, "bob", last=0)
    bob, _ = await slide(site, "bob", bob, last=0)
    await site.send(unseen, "hello")
    sent = await site.send(shown, "hello")
    for _ in range(2):
        bob, _ = await slide(site, "bob", bob, last=0)
    assert list(await told_sliding(site, "alice", shown, alice)) == [sent]
    _, answer = await slide(site, "alice")
    assert unseen not in answer["extensions"]["receipts"]["rooms"]
