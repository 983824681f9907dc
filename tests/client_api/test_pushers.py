"""Pushers, what their gateways are told, and looking back at notifications."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.push_gateway import Gateway, push_gateway
from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with push_gateway() as running:
        yield running


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


@pytest.fixture
async def one_site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


async def keys(site: WholeSite, by: str = "alice") -> list[str]:
    return sorted(p["pushkey"] for p in (await site.ok("GET", "/pushers", by=by))["pushers"])


async def test_a_pusher_is_set_changed_listed_and_deleted(site: WholeSite, gateway: Gateway) -> None:
    pusher = gateway.pusher(profile_tag="tag")
    await site.ok("POST", "/pushers/set", pusher)
    assert await site.ok("GET", "/pushers") == {"pushers": [pusher]}
    await site.ok("POST", "/pushers/set", {**pusher, "lang": "de"})
    assert [p["lang"] for p in (await site.ok("GET", "/pushers"))["pushers"]] == ["de"]
    await site.ok("POST", "/pushers/set", {"kind": None, "app_id": "app", "pushkey": "key"})
    await site.ok("POST", "/pushers/set", {"kind": None, "app_id": "app", "pushkey": "key"})
    assert await keys(site) == []


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"data": {}}, "M_MISSING_PARAM"),
        ({"data": {"url": "https://push.example/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "ftp://push.example/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"data": {"url": "https://[/_matrix/push/v1/notify"}}, "M_INVALID_PARAM"),
        ({"kind": "pigeon"}, "M_INVALID_PARAM"),
        ({"pushkey": ""}, "M_INVALID_PARAM"),
        ({"pushkey": "ü" * 300}, "M_INVALID_PARAM"),
        ({"lang": None}, "M_MISSING_PARAM"),
    ],
)
async def test_a_pusher_that_cannot_work_is_refused(
    one_site: WholeSite, gateway: Gateway, changes: dict[str, Any], errcode: str
) -> None:
    assert await one_site.error("POST", "/pushers/set", gateway.pusher(**changes)) == (400, errcode)
    body = {name: value for name, value in gateway.pusher().items() if name != "lang"}
    assert await one_site.error("POST", "/pushers/set", body) == (400, "M_MISSING_PARAM")


async def test_a_pushkey_is_taken_from_others_unless_it_is_shared(site: WholeSite, gateway: Gateway) -> None:
    await site.ok("POST", "/pushers/set", gateway.pusher())
    await site.ok("POST", "/pushers/set", gateway.pusher(append=True), by="bob")
    assert await keys(site, "alice") == await keys(site, "bob") == ["key"]
    await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
    assert (await keys(site, "alice"), await keys(site, "bob")) == ([], ["key"])


async def test_pushers_go_with_their_session_and_at_a_change_of_password(site: WholeSite, gateway: Gateway) -> None:
    await site.register("alice")
    for name in ("tablet", "laptop"):
        await site.login("alice", name)
        await site.ok("POST", "/pushers/set", gateway.pusher(name), by=name)
    await site.ok("POST", "/pushers/set", gateway.pusher("phone"))
    await site.ok("POST", "/logout", by="laptop")
    assert await keys(site) == ["phone", "tablet"]
    identifier = {"type": "m.id.user", "user": "alice"}
    auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    await site.ok("POST", "/account/password", {"new_password": "battery staple", "auth": auth})
    assert await keys(site) == ["phone"]


async def test_a_message_reaches_the_gateway_with_what_a_phone_shows(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob", "carol", name="Hearth")
    await site.ok("PUT", f"/profile/{user('alice')}/displayname", {"displayname": "Alice A."})
    member = f"/rooms/{room_id}/state/m.room.member/{user('alice')}"
    while (await site.ok("GET", member)).get("displayname") != "Alice A.":
        await asyncio.sleep(0.001)
    await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
    event_id = await site.send(room_id, {"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": [user("bob")]}})
    notification = await gateway.next()
    pushkey_ts = site.clock.now_ms() // 1000
    assert notification == {
        "event_id": event_id,
        "room_id": room_id,
        "type": "m.room.message",
        "sender": user("alice"),
        "sender_display_name": "Alice A.",
        "room_name": "Hearth",
        "prio": "high",
        "content": {"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": [user("bob")]}},
        "counts": {"unread": 1},
        "devices": [
            {
                "app_id": "app",
                "pushkey": "key",
                "pushkey_ts": pushkey_ts,
                "data": {"brand": "x"},
                "tweaks": {"sound": "default", "highlight": True},
            }
        ],
    }
    await site.send(room_id, "more")
    second = await gateway.next()
    assert (second["prio"], second["counts"], second["devices"][0]["tweaks"]) == ("low", {"unread": 2}, {})


async def test_only_ids_leave_the_server_where_the_client_asked_for_that(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob", name="Hearth")
    data = {"url": gateway.url, "format": "event_id_only"}
    await site.ok("POST", "/pushers/set", gateway.pusher(data=data), by="bob")
    event_id = await site.send(room_id, "secret")
    notification = await gateway.next()
    assert notification.keys() == {"event_id", "room_id", "counts", "devices", "prio"}
    assert notification["event_id"] == event_id
    assert notification["devices"][0].keys() == {"app_id", "pushkey", "pushkey_ts", "data"}


async def test_who_wants_no_notification_gets_none(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob", "carol")
    quiet = await site.room("bob")
    for name in ("alice", "bob"):
        await site.ok("POST", "/pushers/set", gateway.pusher(name), by=name)
    await site.ok("PUT", f"/pushrules/global/room/{quote(quiet)}", {"actions": []}, by="bob")
    ignored = {"ignored_users": {user("carol"): {}}}
    await site.ok("PUT", f"/user/{user('bob')}/account_data/m.ignored_user_list", ignored, by="bob")
    await site.send(quiet, "muted")
    await site.send(room_id, "for alice alone", by="carol")
    first = await gateway.next()  # waited for: who sends has read what was before
    await site.send(room_id, {"msgtype": "m.notice", "body": "a bot"})
    await site.send(room_id, "for bob, not for who sends it")
    got = [(n["content"]["body"], n["devices"][0]["pushkey"]) for n in [first, await gateway.next()]]
    assert got == [("for alice alone", "alice"), ("for bob, not for who sends it", "bob")]


async def test_an_invite_is_pushed_to_who_is_invited(site: WholeSite, gateway: Gateway) -> None:
    await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
    await site.room(invite=[user("bob")], name="Hearth")
    notification = await gateway.next()
    assert (notification["type"], notification["user_is_target"]) == ("m.room.member", True)
    assert notification["content"]["membership"] == "invite"


async def test_reading_takes_the_number_off_the_icon(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob")
    await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
    event_id = await site.send(room_id, "one")
    assert (await gateway.next())["counts"] == {"unread": 1}
    await site.ok("POST", f"/rooms/{quote(room_id)}/receipt/m.read/{quote(event_id)}", {}, by="bob")
    notification = await gateway.next()
    assert notification["counts"] == {"unread": 0}
    assert "event_id" not in notification


async def test_missed_calls_are_counted(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob")
    await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
    call = {"call_id": "1", "version": "1", "party_id": "a", "lifetime": 1, "offer": {"type": "offer", "sdp": ""}}
    await site.send(room_id, call, kind="m.call.invite")
    notification = await gateway.next()
    assert notification["counts"] == {"unread": 1, "missed_calls": 1}
    assert notification["prio"] == "high"


async def test_a_gateway_that_fails_is_tried_again_later_with_nothing_lost(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob")
    await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
    gateway.answers = [500, 404]
    first = await site.send(room_id, "one")
    assert (await gateway.next())["event_id"] == first
    second = await site.send(room_id, "two")
    attempts = [first]
    while attempts[-1] != second:
        site.clock.advance(1)
        while gateway.arrived.empty():
            await site.ok("GET", "/pushers", by="bob")  # lets the loop turn
            site.clock.advance(1)
        attempts.append((await gateway.next())["event_id"])
    assert attempts == [first, first, first, second]


async def test_a_rejected_pushkey_is_forgotten(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob")
    await site.ok("POST", "/pushers/set", gateway.pusher("bad"), by="bob")
    gateway.rejected = ["bad", "somebody else's"]
    await site.send(room_id, "one")
    await gateway.next()
    while await keys(site, "bob"):
        pass
    await site.ok("POST", "/pushers/set", gateway.pusher("good"), by="bob")
    event_id = await site.send(room_id, "two")
    notification = await gateway.next()
    assert (notification["event_id"], notification["devices"][0]["pushkey"]) == (event_id, "good")


async def test_what_was_not_delivered_is_sent_after_a_restart(
    database_url: str, tmp_path: Path, gateway: Gateway
) -> None:
    async with whole_site(database_url, tmp_path) as site:
        room_id = await site.room("bob")
        await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
        delivered = await site.send(room_id, "one")
        assert (await gateway.next())["event_id"] == delivered
        gateway.answers = [503]
        waiting = await site.send(room_id, "two")
        assert (await gateway.next())["event_id"] == waiting
    async with whole_site(database_url, tmp_path) as site:
        assert (await gateway.next_event())["event_id"] == waiting
        await site.login("bob", "bob")
        await site.login("alice", "alice")
        event_id = await site.send(room_id, "three")
        assert (await gateway.next_event())["event_id"] == event_id


async def test_notifications_are_looked_back_at_in_pages(site: WholeSite) -> None:
    room_id = await site.room("bob")
    mention = {"msgtype": "m.text", "body": "bob", "m.mentions": {"user_ids": [user("bob")]}}
    sent = [await site.send(room_id, body) for body in ("one", mention, "three")]
    await site.send(room_id, {"msgtype": "m.notice", "body": "a bot"})
    await site.ok("POST", f"/rooms/{quote(room_id)}/receipt/m.read/{quote(sent[0])}", {}, by="bob")
    page = await site.ok("GET", "/notifications?limit=2", by="bob")
    assert [(n["event"]["event_id"], n["read"]) for n in page["notifications"]] == [(sent[2], False), (sent[1], False)]
    assert page["notifications"][0]["room_id"] == room_id
    assert "room_id" not in page["notifications"][0]["event"]
    assert "notify" in page["notifications"][0]["actions"]
    rest = await site.ok("GET", f"/notifications?limit=2&from={page['next_token']}", by="bob")
    assert [(n["event"]["event_id"], n["read"]) for n in rest["notifications"]] == [(sent[0], True)]
    assert "next_token" not in rest
    only = await site.ok("GET", "/notifications?only=highlight", by="bob")
    assert [n["event"]["event_id"] for n in only["notifications"]] == [sent[1]]
    assert await site.ok("GET", "/notifications") == {"notifications": []}
    assert await site.error("GET", "/notifications?from=x") == (400, "M_INVALID_PARAM")


async def test_a_pusher_that_was_set_while_hints_were_lost_is_found(site: WholeSite, gateway: Gateway) -> None:
    room_id = await site.room("bob")
    notifier = site.server.reading.notifier
    listeners, notifier.listeners = notifier.listeners, []
    await site.ok("POST", "/pushers/set", gateway.pusher(), by="bob")
    event_id = await site.send(room_id, "unheard")
    notifier.listeners = listeners
    notifier.reset()
    assert (await gateway.next())["event_id"] == event_id
