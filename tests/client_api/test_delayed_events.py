"""Delayed events (proposal 4140) over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.account_sections import Rooms
from tests.client_api.whole_site import WholeSite, user, whole_site

EVENTS = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
DELAY = "org.matrix.msc4140.delay"


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


async def send(site: WholeSite, room: str, delay_ms: int, txn: str = "t", **content: Any) -> str:
    path = f"/rooms/{quote(room)}/send/m.room.message/{txn}?{DELAY}={delay_ms}"
    return str((await site.ok("PUT", path, {"body": "later", **content}))["delay_id"])


async def state(site: WholeSite, room: str, delay_ms: int, key: str = "k", *, by: str = "alice") -> str:
    path = f"/rooms/{quote(room)}/state/org.example/{key}?{DELAY}={delay_ms}"
    return str((await site.ok("PUT", path, {"left": True}, by=by))["delay_id"])


async def scheduled(site: WholeSite, *, by: str = "alice") -> list[str]:
    return [one["delay_id"] for one in (await site.ok("GET", EVENTS, by=by))["delayed_events"]]


async def manage(site: WholeSite, delay_id: str, action: str) -> None:
    await site.ok("POST", f"{EVENTS}/{delay_id}/{action}", {}, by=None)


async def settled(site: WholeSite, delay_id: str) -> dict[str, Any]:
    """The event once the server has done with it."""
    while True:
        found: dict[str, Any] = await site.ok("GET", f"{EVENTS}/{delay_id}")
        if "finalised_ts" in found:
            return found
        await asyncio.sleep(0)


async def bodies(site: WholeSite, room: str) -> list[str]:
    page = await site.ok("GET", f"/rooms/{quote(room)}/messages?dir=b&limit=50")
    return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"][::-1]


async def test_events_are_sent_in_order_when_their_time_has_come(site: WholeSite) -> None:
    room = await site.room()
    late = await send(site, room, 900, "late", body="late")
    early = await send(site, room, 700, "early", body="early")
    assert await scheduled(site) == [early, late]
    site.clock.advance(0.65)
    assert await bodies(site, room) == []
    site.clock.advance(1)
    sent = [await settled(site, early), await settled(site, late)]
    assert await bodies(site, room) == ["early", "late"]
    assert await scheduled(site) == []
    event = await site.ok("GET", f"/rooms/{quote(room)}/event/{sent[0]['event_id']}")
    assert event["unsigned"]["org.matrix.msc4140.delay_id"] == early
    assert "transaction_id" not in event["unsigned"]


async def test_only_the_sender_is_told_the_delay_id(site: WholeSite) -> None:
    room = await site.room("bob")
    delay_id = await send(site, room, 10)
    await manage(site, delay_id, "send")
    sent = await settled(site, delay_id)
    for name, told in (("alice", True), ("bob", False)):
        synced = await site.ok("GET", "/sync", by=name)
        (event,) = [e for e in synced["rooms"]["join"][room]["timeline"]["events"] if e["event_id"] == sent["event_id"]]
        assert ("org.matrix.msc4140.delay_id" in event.get("unsigned", {})) is told


async def test_the_same_transaction_schedules_once(site: WholeSite) -> None:
    room = await site.room()
    path = f"/rooms/{quote(room)}/send/m.room.message/t1?{DELAY}=5000"
    first = await site.ok("PUT", path, {"body": "x"})
    assert await site.ok("PUT", path) == first
    assert len(await scheduled(site)) == 1
    assert await site.error("PUT", f"/rooms/{quote(room)}/send/m.room.message/t2?{DELAY}=5000") == (400, "M_NOT_JSON")
    assert await site.error("PUT", f"/rooms/{quote(room)}/send/m.room.message/t3") == (400, "M_NOT_JSON")


async def test_an_event_is_scheduled_by_the_endpoint_of_its_own(site: WholeSite) -> None:
    room = await site.room()
    path = f"/_matrix/client/unstable/org.matrix.msc4140/rooms/{quote(room)}/delayed_event/org.example/t1"
    body = {"delay_ms": 5000, "state_key": "k", "content": {"a": 1}}
    delay_id = (await site.ok("PUT", path, body))["delay_id"]
    (event,) = (await site.ok("GET", EVENTS))["delayed_events"]
    now = site.clock.now_ms()
    assert event == {
        "delay_id": delay_id,
        "room_id": room,
        "type": "org.example",
        "state_key": "k",
        "content": {"a": 1},
        "delay_ms": 5000,
        "delay": 5000,
        "scheduled_at": now,
        "running_since": now,
    }
    assert await site.error("PUT", path + "2", {"delay_ms": 0, "content": {}}) == (400, "M_INVALID_PARAM")


async def test_restarting_counts_the_delay_anew(site: WholeSite) -> None:
    room = await site.room()
    delay_id = await state(site, room, 1500)
    site.clock.advance(1)
    await manage(site, delay_id, "restart")
    site.clock.advance(1)
    assert await scheduled(site) == [delay_id]
    site.clock.advance(0.6)
    assert "event_id" in await settled(site, delay_id)
    assert await site.error("POST", f"{EVENTS}/{delay_id}/restart", {}) == (409, "M_UNKNOWN")
    assert await site.error("POST", f"{EVENTS}/{delay_id}/cancel", {}) == (409, "M_UNKNOWN")
    await manage(site, delay_id, "send")


async def test_what_is_cancelled_is_never_sent(site: WholeSite) -> None:
    room = await site.room()
    delay_id = await state(site, room, 1000)
    await site.ok("POST", f"{EVENTS}/{delay_id}", {"action": "cancel"}, by=None)
    await manage(site, delay_id, "cancel")
    assert await scheduled(site) == []
    found = await settled(site, delay_id)
    assert "event_id" not in found
    assert "error" not in found
    assert await site.error("POST", f"{EVENTS}/{delay_id}/send", {}) == (409, "M_UNKNOWN")
    site.clock.advance(2)
    other = await state(site, room, 1, "other")
    site.clock.advance(1)
    await settled(site, other)
    assert (await site.error("GET", f"/rooms/{quote(room)}/state/org.example/k"))[0] == 404


async def test_an_event_that_may_not_be_sent_says_why(site: WholeSite) -> None:
    room = await site.room("bob")
    path = f"/rooms/{quote(room)}/state/org.example/k?{DELAY}=1000"
    delay_id = (await site.ok("PUT", path, {}, by="bob"))["delay_id"]
    assert await site.error("POST", f"{EVENTS}/{delay_id}/send", {}, by="bob") == (403, "M_FORBIDDEN")
    assert await scheduled(site, by="bob") == [delay_id]
    assert await site.error("GET", f"{EVENTS}/{delay_id}") == (404, "M_NOT_FOUND")
    site.clock.advance(1)
    while await scheduled(site, by="bob"):
        await asyncio.sleep(0)
    found = await site.ok("GET", f"{EVENTS}/{delay_id}", by="bob")
    assert found["error"]["errcode"] == "M_FORBIDDEN"


async def test_newer_state_of_somebody_else_cancels(site: WholeSite) -> None:
    levels = {"events": {"org.example": 0}}
    room = await site.room("bob", power_level_content_override=levels)
    mine, theirs = await state(site, room, 5000), await state(site, room, 5000, by="bob")
    await site.ok("PUT", f"/rooms/{quote(room)}/state/org.example/k", {"by": "bob"}, by="bob")
    assert await scheduled(site) == []
    assert await scheduled(site, by="bob") == [theirs]
    assert "error" in await settled(site, mine)


async def test_memberships_and_redactions_are_delayed_too(site: WholeSite) -> None:
    room = await site.room("bob")
    said = await site.send(room, "regretted")
    path = f"/rooms/{quote(room)}/send/m.room.redaction/t?{DELAY}=1000"
    redaction = (await site.ok("PUT", path, {"redacts": said}))["delay_id"]
    path = f"/rooms/{quote(room)}/state/m.room.member/{user('bob')}?{DELAY}=1000"
    leave = (await site.ok("PUT", path, {"membership": "leave"}))["delay_id"]
    site.clock.advance(1)
    await settled(site, redaction)
    await settled(site, leave)
    assert (await site.ok("GET", f"/rooms/{quote(room)}/event/{said}"))["content"] == {}
    assert (await site.error("GET", f"/rooms/{quote(room)}/messages?dir=b&limit=1&from=x", by="bob"))[0] == 400
    members = await site.ok("GET", f"/rooms/{quote(room)}/joined_members")
    assert list(members["joined"]) == [user("alice")]


async def test_what_a_closed_account_had_scheduled_is_not_sent(site: WholeSite) -> None:
    room = await site.room("bob")
    path = f"/rooms/{quote(room)}/send/m.room.message/t?{DELAY}=1000"
    delay_id = (await site.ok("PUT", path, {"body": "x"}, by="bob"))["delay_id"]
    await site.server.accounts.accounts.deactivate(user("bob"))
    assert await site.error("POST", f"{EVENTS}/{delay_id}/send", {}, by=None) == (403, "M_USER_DEACTIVATED")


async def test_clients_of_an_earlier_draft_find_what_became_of_events(site: WholeSite) -> None:
    room = await site.room()
    ids = [await send(site, room, 1000, f"t{number}") for number in range(3)]
    await manage(site, ids[0], "cancel")
    site.clock.advance(0.5)
    await manage(site, ids[1], "send")
    answer = await site.ok("GET", EVENTS)
    assert [one["delay_id"] for one in answer["scheduled"]] == [ids[2]]
    shown = [(one["delayed_event"]["delay_id"], one["outcome"], one["reason"]) for one in answer["finalised"]]
    assert shown == [(ids[1], "send", "action"), (ids[0], "cancel", "action")]
    site.clock.advance(1)
    sent = await settled(site, ids[2])
    (last,) = (await site.ok("GET", f"{EVENTS}?status=finalised&delay_id={ids[2]}"))["finalised"]
    assert (last["outcome"], last["reason"], last["event_id"]) == ("send", "delay", sent["event_id"])
    assert await site.error("GET", f"{EVENTS}?status=x") == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("action", ["cancel", "restart", "send"])
async def test_nothing_is_done_to_what_does_not_exist(site: WholeSite, action: str) -> None:
    assert await site.error("POST", f"{EVENTS}/abc/{action}", {}, by=None) == (404, "M_NOT_FOUND")
    assert await site.error("POST", f"{EVENTS}/abc/oops", {}, by=None) == (404, "M_UNRECOGNIZED")
    assert await site.error("POST", f"{EVENTS}/abc", {}, by=None) == (400, "M_BAD_JSON")
    assert await site.error("GET", EVENTS, by=None) == (401, "M_MISSING_TOKEN")


async def test_limits_are_said_and_kept(site: WholeSite) -> None:
    room = await site.room()
    assert (await site.ok("GET", "/_matrix/client/versions"))["unstable_features"]["org.matrix.msc4140"] is True
    capability = (await site.ok("GET", "/capabilities"))["capabilities"]["org.matrix.msc4140.delayed_events"]
    path = f"/rooms/{quote(room)}/send/m.room.message/t?{DELAY}="
    _, answer = await site.ask("PUT", f"{path}{capability['max_delay_ms'] + 1}", {})
    assert (answer["errcode"], answer["org.matrix.msc4140.errcode"]) == ("M_UNKNOWN", "M_MAX_DELAY_EXCEEDED")
    assert answer["org.matrix.msc4140.max_delay"] == capability["max_delay_ms"]
    for wrong in ("0", "-1", "x", ""):
        assert await site.error("PUT", path + wrong, {}) == (400, "M_INVALID_PARAM")
    for number in range(capability["max_scheduled"]):
        await send(site, room, 60_000, f"t{number}")
    status, answer = await site.ask("PUT", f"{path}60000", {})
    assert (status, answer["errcode"], answer["retry_after_ms"]) == (429, "M_LIMIT_EXCEEDED", 60_000)
    assert await site.error("PUT", f"/rooms/!none:hearth.test/send/a/b?{DELAY}=1", {}) == (403, "M_FORBIDDEN")
    assert await site.error("PUT", f"{path}5", {"body": "x" * 70_000}) == (413, "M_TOO_LARGE")


async def test_what_is_overdue_after_a_restart_is_sent(database_url: str, tmp_path: Path) -> None:
    async with whole_site(database_url, tmp_path) as site:
        room = await site.room()
        delay_id = await send(site, room, 1000)
        later = await send(site, room, 10**7, "t2")
        tokens = site.tokens
    async with whole_site(database_url, tmp_path) as site:
        site.tokens = tokens
        assert await scheduled(site) == [delay_id, later]
        site.clock.advance(2)
        assert "event_id" in await settled(site, delay_id)
        assert await scheduled(site) == [later]


async def test_what_was_finalised_is_forgotten_in_time(site: WholeSite) -> None:
    room = await site.room()
    delay_id = await send(site, room, 1000)
    await manage(site, delay_id, "cancel")
    await settled(site, delay_id)
    site.clock.advance(8 * 86_400)
    while (await site.ask("GET", f"{EVENTS}/{delay_id}"))[0] == 200:
        await asyncio.sleep(0)


async def test_where_it_is_switched_off_nothing_is_delayed(database_url: str, tmp_path: Path) -> None:
    async with whole_site(database_url, tmp_path, rooms=Rooms(max_event_delay=0)) as site:
        room = await site.room()
        assert (await site.ok("GET", "/_matrix/client/versions"))["unstable_features"]["org.matrix.msc4140"] is False
        path = f"/rooms/{quote(room)}/send/m.room.message/t?{DELAY}=1"
        assert await site.error("PUT", path, {"body": "x"}) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"/rooms/{{room}}/send/%00/t?{DELAY}=1", {}),
        ("PUT", f"/rooms/{{room}}/send/{'x' * 300}/t?{DELAY}=1", {}),
        ("PUT", f"/rooms/{{room}}/state/org.example/%00?{DELAY}=1", {}),
        ("PUT", f"/rooms/{{room}}/send/org.example/t?{DELAY}=1", {"a": 2**70}),
        ("PUT", "/_matrix/client/unstable/org.matrix.msc4140/rooms/{room}/delayed_event/a/t", {"delay_ms": 1e300}),
        ("PUT", "/_matrix/client/unstable/org.matrix.msc4140/rooms/{room}/delayed_event/a/t", {"delay_ms": 10**40}),
        (
            "PUT",
            "/_matrix/client/unstable/org.matrix.msc4140/rooms/{room}/delayed_event/a/t",
            {"delay_ms": 1, "content": {}, "state_key": "a\0"},
        ),
        ("GET", f"{EVENTS}/%00", None),
        ("POST", f"{EVENTS}/%00/cancel", {}),
        ("GET", f"{EVENTS}?delay_id=%00", None),
    ],
)
async def test_hostile_values_are_refused(site: WholeSite, method: str, path: str, body: Any) -> None:
    status, answer = await site.ask(method, path.replace("{room}", quote(await site.room())), body)
    assert status in (400, 404, 413), answer
