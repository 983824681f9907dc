"""What an application service is told, over HTTP, by the whole server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.bridge import BOT, BridgedSite, bridged_site
from tests.client_api.whole_site import SERVER_NAME, user

EPHEMERAL = "receive_ephemeral: true\nde.sorunome.msc2409.push_ephemeral: true\n"
DEVICES = "receive_ephemeral: true\norg.matrix.msc3202: true\nio.element.msc4190: true\n"
GHOST = f"@irc_bob:{SERVER_NAME}"
UNSTABLE = "de.sorunome.msc2409."
MSC3202 = "org.matrix.msc3202."


@pytest.fixture
async def bridged(database_url: str, tmp_path: Path) -> AsyncIterator[BridgedSite]:
    async with bridged_site(database_url, tmp_path, more=EPHEMERAL) as running:
        yield running


async def room_with_ghost(bridged: BridgedSite) -> str:
    room_id = await bridged.site.room()
    await bridged.ghost("bob")
    await bridged.as_ghost(GHOST, "POST", f"/join/{quote(room_id)}", {})
    return room_id


async def test_typing_and_receipts_of_its_rooms_arrive_with_the_room(bridged: BridgedSite) -> None:
    site, bridge = bridged.site, bridged.bridge
    room_id = await room_with_ghost(bridged)
    elsewhere = await site.room()
    await site.ok("PUT", f"/rooms/{quote(elsewhere)}/typing/{user('alice')}", {"typing": True, "timeout": 30_000})
    await site.ok("PUT", f"/rooms/{quote(room_id)}/typing/{user('alice')}", {"typing": True, "timeout": 30_000})
    typing = await bridge.wait_for_entry("ephemeral", lambda event: event["type"] == "m.typing")
    assert typing == {"type": "m.typing", "content": {"user_ids": [user("alice")]}, "room_id": room_id}

    event_id = await site.send(room_id, "hello")
    await site.ok("POST", f"/rooms/{quote(room_id)}/receipt/m.read/{quote(event_id)}", {})
    receipt = await bridge.wait_for_entry("ephemeral", lambda event: event["type"] == "m.receipt")
    assert receipt["room_id"] == room_id
    assert list(receipt["content"][event_id]["m.read"]) == [user("alice")]
    assert bridge.told("ephemeral") == bridge.told(f"{UNSTABLE}ephemeral")


async def test_private_receipts_arrive_of_its_own_users_only(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    event_id = await bridged.site.send(room_id, "hello")
    path = f"/rooms/{quote(room_id)}/receipt/m.read.private/{quote(event_id)}"
    await bridged.site.ok("POST", path, {})
    await bridged.as_ghost(GHOST, "POST", path, {})
    receipt = await bridged.bridge.wait_for_entry("ephemeral", lambda event: event["type"] == "m.receipt")
    assert [list(kinds["m.read.private"]) for kinds in receipt["content"].values()] == [[GHOST]]


async def test_presence_of_those_in_its_rooms_arrives(bridged: BridgedSite) -> None:
    await room_with_ghost(bridged)
    await bridged.site.register("stranger")
    for name in ("stranger", "alice"):
        await bridged.site.ok("PUT", f"/presence/{user(name)}/status", {"presence": "unavailable"}, by=name)
    found = await bridged.bridge.wait_for_entry(
        "ephemeral", lambda event: event["type"] == "m.presence" and event["content"]["presence"] == "unavailable"
    )
    assert found["sender"] == user("alice")
    assert user("stranger") not in {event.get("sender") for event in bridged.bridge.told("ephemeral")}


async def test_who_is_there_is_told_again_after_a_restart(database_url: str, tmp_path: Path) -> None:
    async with bridged_site(database_url, tmp_path, more=EPHEMERAL) as bridged:
        await room_with_ghost(bridged)
        await bridged.site.register("stranger")
        for name in ("stranger", "alice"):
            await bridged.site.ok("PUT", f"/presence/{user(name)}/status", {"presence": "unavailable"}, by=name)
    async with bridged_site(database_url, tmp_path, more=EPHEMERAL) as bridged:
        found = await bridged.bridge.wait_for_entry("ephemeral", lambda event: event["type"] == "m.presence")
        assert (found["sender"], found["content"]["presence"]) == (user("alice"), "unavailable")
        while (await bridged.site.server.telling.presence.get(user("alice"))).state != "offline":
            bridged.site.clock.advance(5)
            await asyncio.sleep(0)
        await bridged.bridge.wait_for_entry("ephemeral", lambda event: event["content"].get("presence") == "offline")
        assert {event.get("sender") for event in bridged.bridge.told("ephemeral")} == {user("alice")}


async def test_without_the_flag_nothing_passing_arrives(sqlite_url: str, tmp_path: Path) -> None:
    async with bridged_site(sqlite_url, tmp_path) as bridged:
        room_id = await room_with_ghost(bridged)
        path = f"/rooms/{quote(room_id)}/typing/{user('alice')}"
        await bridged.site.ok("PUT", path, {"typing": True, "timeout": 30_000})
        await bridged.site.send(room_id, "last")
        await bridged.bridge.wait_for_entry("events", lambda event: event["content"].get("body") == "last")
        assert all(list(body) == ["events"] for body in bridged.bridge.transactions.values())


async def test_what_comes_after_an_outage_is_in_order_and_once(bridged: BridgedSite) -> None:
    room_id = await room_with_ghost(bridged)
    bridged.bridge.faults = 3
    for number in range(5):
        await bridged.site.send(room_id, f"message {number}")
    while bridged.bridge.faults:
        bridged.site.clock.advance(10)
        await bridged.site.ok("GET", "/account/whoami")
    await bridged.site.ok("POST", "/_matrix/client/v1/appservice/irc/ping", {"transaction_id": "x"}, by="bot")
    await bridged.bridge.wait_for_entry("events", lambda event: event["content"].get("body") == "message 4")
    bodies = [event["content"].get("body") for event in bridged.bridge.told("events")]
    assert [body for body in bodies if body] == [f"message {number}" for number in range(5)]


# --- devices


def device_keys(device_id: str) -> dict[str, Any]:
    keys = {f"curve25519:{device_id}": "a" * 43, f"ed25519:{device_id}": "b" * 43}
    return {
        "user_id": GHOST,
        "device_id": device_id,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": keys,
        "signatures": {GHOST: {f"ed25519:{device_id}": "c" * 86}},
    }


async def test_device_of_a_ghost_is_told_of_its_messages_and_keys(database_url: str, tmp_path: Path) -> None:
    async with bridged_site(database_url, tmp_path, more=DEVICES) as bridged:
        site, bridge = bridged.site, bridged.bridge
        await room_with_ghost(bridged)
        status, _ = await site.ask("PUT", f"/devices/GHOSTDEV?user_id={GHOST}", {"display_name": "Bridge"}, by="bot")
        assert status == 201
        key = {"key": "d" * 43, "signatures": {GHOST: {"ed25519:GHOSTDEV": "e" * 86}}}
        body = {
            "device_keys": device_keys("GHOSTDEV"),
            "one_time_keys": {"signed_curve25519:AA": key, "signed_curve25519:AB": key},
            "fallback_keys": {"signed_curve25519:FB": {**key, "fallback": True}},
        }
        await bridged.as_ghost(GHOST, "POST", "/keys/upload?device_id=GHOSTDEV", body)

        def count() -> Any:
            told = [body.get(f"{MSC3202}device_one_time_keys_count", {}) for body in bridge.transactions.values()]
            found = [counts[GHOST]["GHOSTDEV"]["signed_curve25519"] for counts in told if GHOST in counts]
            return found[-1] if found else None

        await bridge.wait_for(lambda: count() == 2)
        claim = {"one_time_keys": {GHOST: {"GHOSTDEV": "signed_curve25519"}}}
        await site.ok("POST", "/keys/claim", claim)
        await bridge.wait_for(lambda: count() == 1)
        last = list(bridge.transactions.values())[-1]
        assert last[f"{MSC3202}device_unused_fallback_key_types"] == {GHOST: {"GHOSTDEV": ["signed_curve25519"]}}

        await site.ok("PUT", "/sendToDevice/m.test/1", {"messages": {GHOST: {"*": {"body": "psst"}}}})
        message = await bridge.wait_for_entry(f"{UNSTABLE}to_device", lambda message: message["type"] == "m.test")
        assert message == {
            "type": "m.test",
            "sender": user("alice"),
            "content": {"body": "psst"},
            "to_user_id": GHOST,
            "to_device_id": "GHOSTDEV",
        }
        # It has arrived, and is not there for a /sync any more.
        await site.ok("PUT", "/sendToDevice/m.test/2", {"messages": {GHOST: {"*": {"body": "again"}}}})
        await bridge.wait_for(lambda: len(bridge.told(f"{UNSTABLE}to_device")) == 2)
        answer = await bridged.as_ghost(GHOST, "GET", "/sync?device_id=GHOSTDEV")
        assert [m["content"]["body"] for m in answer.get("to_device", {}).get("events", [])] in ([], ["again"])


async def test_changed_devices_of_those_in_its_rooms_are_told(database_url: str, tmp_path: Path) -> None:
    async with bridged_site(database_url, tmp_path, more=DEVICES) as bridged:
        site = bridged.site
        room_id = await room_with_ghost(bridged)
        device_id = (await site.ok("GET", "/account/whoami"))["device_id"]
        keys = {**device_keys(device_id), "user_id": user("alice")}
        keys["signatures"] = {user("alice"): {f"ed25519:{device_id}": "c" * 86}}
        await site.ok("POST", "/keys/upload", {"device_keys": keys})

        def lists(part: str) -> set[str]:
            told = [body.get(f"{MSC3202}device_lists", {}) for body in bridged.bridge.transactions.values()]
            return {user_id for one in told for user_id in one.get(part, ())}

        await bridged.bridge.wait_for(lambda: user("alice") in lists("changed"))
        await site.ok("POST", f"/rooms/{quote(room_id)}/leave", {})
        await bridged.bridge.wait_for(lambda: user("alice") in lists("left"))


async def test_who_manages_devices_does_not_log_in(sqlite_url: str, tmp_path: Path) -> None:
    async with bridged_site(sqlite_url, tmp_path, more=DEVICES) as bridged:
        site = bridged.site
        kind = {"type": "m.login.application_service"}
        for path, body in (
            ("/register", {**kind, "username": "irc_x"}),
            ("/login", {**kind, "identifier": {"type": "m.id.user", "user": "irc_x"}}),
        ):
            assert await site.error("POST", path, body, by="bot") == (400, "M_APPSERVICE_LOGIN_UNSUPPORTED")
        await bridged.ghost("bob")
        for _ in range(2):
            await site.ask("PUT", f"/devices/D?user_id={GHOST}", {}, by="bot")
        who = await bridged.as_ghost(GHOST, "GET", "/account/whoami?org.matrix.msc3202.device_id=D")
        assert (who["user_id"], who["device_id"]) == (GHOST, "D")
        await bridged.as_ghost(GHOST, "DELETE", "/devices/D", {})
        assert (await bridged.as_ghost(GHOST, "GET", "/devices"))["devices"] == []
        assert await site.error("GET", f"/sync?user_id={GHOST}&device_id=D", by="bot") == (400, "M_UNKNOWN_DEVICE")


# --- queries


async def test_unknown_ghost_is_made_while_it_is_invited(bridged: BridgedSite) -> None:
    site = bridged.site
    room_id = await site.room()

    async def make(path: str) -> Any:
        if path != f"users/@irc_new:{SERVER_NAME}":
            return None
        await bridged.ghost("new")
        await bridged.as_ghost(f"@irc_new:{SERVER_NAME}", "PUT", f"/profile/@irc_new:{SERVER_NAME}/displayname",
                               {"displayname": "New (IRC)"})  # fmt: skip
        return {}

    bridged.bridge.on_query = make
    for name in ("irc_new", "irc_nobody", "somebody"):
        await site.ok("POST", f"/rooms/{quote(room_id)}/invite", {"user_id": user(name)})
    asked = [f"users/@{name}:{SERVER_NAME}" for name in ("irc_new", "irc_nobody")]
    assert bridged.bridge.asked == asked
    member = await site.ok("GET", f"/rooms/{quote(room_id)}/state/m.room.member/{user('irc_new')}")
    assert member["displayname"] == "New (IRC)"
    # Known ones are not asked for again.
    assert (await site.ok("GET", f"/profile/{user('irc_new')}"))["displayname"] == "New (IRC)"
    assert await site.error("GET", f"/profile/{user('irc_nobody')}") == (404, "M_NOT_FOUND")
    assert bridged.bridge.asked == [*asked, asked[1]]


async def test_unknown_alias_is_made_while_it_is_joined(bridged: BridgedSite) -> None:
    site = bridged.site

    async def make(path: str) -> Any:
        if path != f"rooms/#irc_chan:{SERVER_NAME}":
            return None
        body = {"preset": "public_chat", "room_alias_name": "irc_chan"}
        await site.ok("POST", "/createRoom", body, by="bot")
        return {}

    bridged.bridge.on_query = make
    await site.ok("POST", f"/join/{quote(f'#irc_chan:{SERVER_NAME}')}", {})
    assert await site.error("POST", f"/join/{quote(f'#irc_gone:{SERVER_NAME}')}", {}) == (404, "M_NOT_FOUND")
    assert await site.error("POST", f"/join/{quote(f'#gone:{SERVER_NAME}')}", {}) == (404, "M_NOT_FOUND")
    assert bridged.bridge.asked == [f"rooms/#irc_{name}:{SERVER_NAME}" for name in ("chan", "gone")]


# --- directories of networks


async def test_rooms_of_a_network_are_listed_for_those_who_ask_for_it(bridged: BridgedSite) -> None:
    site = bridged.site

    async def protocol(path: str) -> Any:
        if not path.startswith("thirdparty/protocol/"):
            return None
        instance = {"network_id": "libera", "desc": "Libera", "fields": {}}
        return {"user_fields": [], "location_fields": [], "icon": "", "field_types": {}, "instances": [instance]}

    bridged.bridge.on_query = protocol
    room_id, other = await site.room(visibility="private"), await site.room(visibility="public")
    path = f"/directory/list/appservice/libera/{quote(room_id)}"
    assert await site.error("PUT", path, {"visibility": "public"}) == (403, "M_FORBIDDEN")
    assert (await site.error("PUT", path, {"visibility": "x"}, by="bot"))[0] == 400
    gone = "/directory/list/appservice/libera/!gone:hearth.test"
    assert await site.error("PUT", gone, {"visibility": "public"}, by="bot") == (404, "M_NOT_FOUND")
    await site.ok("PUT", path, {"visibility": "public"}, by="bot")
    (instance,) = (await site.ok("GET", "/thirdparty/protocols"))["irc"]["instances"]

    async def listed(**query: Any) -> set[str]:
        return {room["room_id"] for room in (await site.ok("POST", "/publicRooms", query))["chunk"]}

    assert await listed(third_party_instance_id=instance["instance_id"]) == {room_id}
    assert await listed() == {other}
    assert await listed(include_all_networks=True) == {room_id, other}
    assert await listed(third_party_instance_id="irc|other") == set()
    query = {"third_party_instance_id": "irc|libera", "include_all_networks": True}
    assert await site.error("POST", "/publicRooms", query) == (400, "M_INVALID_PARAM")
    await site.ok("PUT", path, {"visibility": "private"}, by="bot")
    assert await listed(third_party_instance_id=instance["instance_id"]) == set()


async def test_bot_may_act_before_it_is_registered(bridged: BridgedSite) -> None:
    assert (await bridged.site.ok("GET", "/account/whoami", by="bot"))["user_id"] == BOT


async def test_many_messages_to_devices_arrive_each_once(sqlite_url: str, tmp_path: Path) -> None:
    async with bridged_site(sqlite_url, tmp_path, more=DEVICES) as bridged:
        await bridged.ghost("bob")
        await bridged.site.ask("PUT", f"/devices/D?user_id={GHOST}", {}, by="bot")
        bridged.bridge.faults = 1_000_000
        for number in range(250):
            body = {"messages": {GHOST: {"D": {"number": number}}}}
            await bridged.site.ok("PUT", f"/sendToDevice/m.test/{number}", body)
        bridged.bridge.faults = 0
        await bridged.site.ok("POST", "/_matrix/client/v1/appservice/irc/ping", {}, by="bot")
        part = f"{UNSTABLE}to_device"
        await bridged.bridge.wait_for(lambda: len(bridged.bridge.told(part)) >= 250)
        assert [message["content"]["number"] for message in bridged.bridge.told(part)] == list(range(250))
        assert max(len(body.get(part, ())) for body in bridged.bridge.transactions.values()) <= 200


async def test_message_to_very_many_devices_at_once_arrives_whole(sqlite_url: str, tmp_path: Path) -> None:
    async with bridged_site(sqlite_url, tmp_path, more=DEVICES) as bridged:
        await bridged.ghost("bob")
        names = [f"D{number}" for number in range(230)]
        for name in names:
            await bridged.site.ask("PUT", f"/devices/{name}?user_id={GHOST}", {}, by="bot")
        await bridged.site.ok("PUT", "/sendToDevice/m.test/1", {"messages": {GHOST: {"*": {}}}})
        await bridged.site.ok("PUT", "/sendToDevice/m.test/2", {"messages": {GHOST: {"D0": {"last": True}}}})
        part = f"{UNSTABLE}to_device"
        await bridged.bridge.wait_for(lambda: any(m["content"] for m in bridged.bridge.told(part)))
        assert sorted(m["to_device_id"] for m in bridged.bridge.told(part)) == sorted([*names, "D0"])
