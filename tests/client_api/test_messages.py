"""Sending, redacting and setting state over HTTP."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from tests.client_api.rooms_site import RoomsSite, rooms_site
from tests.services.spine import BOB, SERVER


@pytest.fixture
async def site(sqlite_url: str) -> AsyncIterator[RoomsSite]:
    async with rooms_site(sqlite_url) as made:
        yield made


async def test_types_and_state_keys_with_nul_are_refused(site: RoomsSite) -> None:
    room_id = await site.room()
    for path in ("state/m.x/a%00b", "state/m.x%00", "send/m.x%00/1"):
        status, _ = await site.error("PUT", f"/rooms/{room_id}/{path}", {})
        assert status == 400


async def test_a_message_is_sent_once_by_its_transaction_id(site: RoomsSite) -> None:
    room_id = await site.room()
    path = f"/rooms/{room_id}/send/m.room.message"
    first = await site.ok("PUT", f"{path}/1", {"body": "a", "msgtype": "m.text"})
    assert await site.ok("PUT", f"{path}/1", {"body": "a", "msgtype": "m.text"}) == first
    assert await site.ok("PUT", f"{path}/2", {"body": "a", "msgtype": "m.text"}) != first


async def test_who_is_not_in_the_room_sends_nothing(site: RoomsSite) -> None:
    room_id = await site.room()
    for room in (room_id, "!nothing:elsewhere.example"):
        path = f"/rooms/{room}/send/m.room.message/1"
        assert await site.error("PUT", path, {}, by="bob") == (403, "M_FORBIDDEN")
    assert await site.error("PUT", f"/rooms/{room_id}/state/m.room.name", {}, by="bob") == (403, "M_FORBIDDEN")


async def test_bad_content_is_refused(site: RoomsSite) -> None:
    room_id = await site.room()
    path = f"/rooms/{room_id}/send/m.test/1"
    assert await site.error("PUT", path, {"n": 1.5}) == (400, "M_BAD_JSON")
    assert await site.error("PUT", path, {"n": 2**60}) == (400, "M_BAD_JSON")
    assert (await site.ask("PUT", path, raw=b"{"))[1]["errcode"] == "M_NOT_JSON"
    assert (await site.ask("PUT", path, raw=b"[]"))[1]["errcode"] == "M_BAD_JSON"
    assert await site.error("PUT", path, {"x": "y" * 70_000}) == (413, "M_TOO_LARGE")
    assert await site.error("PUT", f"/rooms/{room_id}/send/{'x' * 300}/1", {}) == (413, "M_TOO_LARGE")


async def test_text_may_hold_anything_that_json_may(site: RoomsSite) -> None:
    room_id = await site.room()
    answer = await site.ok("PUT", f"/rooms/{room_id}/send/m.test/1", {"x": "\0 \U0001f600"})
    stored = await site.spine.events.get(answer["event_id"])
    assert stored is not None
    assert stored.event.content == {"x": "\0 \U0001f600"}


async def test_state_is_set_with_and_without_a_state_key(site: RoomsSite) -> None:
    room_id = await site.room()
    await site.ok("PUT", f"/rooms/{room_id}/state/m.test", {"n": 1})
    await site.ok("PUT", f"/_matrix/client/r0/rooms/{room_id}/state/m.test/{quote('a/b', safe='')}", {"n": 2})
    assert await site.ok("GET", f"/rooms/{room_id}/state/m.test/") == {"n": 1}
    assert await site.ok("GET", f"/rooms/{room_id}/state/m.test/a%2Fb") == {"n": 2}


async def test_a_canonical_alias_that_leads_elsewhere_is_refused(site: RoomsSite) -> None:
    room_id = await site.room()
    content = {"alias": f"#nothing:{SERVER}"}
    path = f"/rooms/{room_id}/state/m.room.canonical_alias"
    assert await site.error("PUT", path, content) == (400, "M_BAD_ALIAS")


async def test_an_event_is_redacted_by_either_way(site: RoomsSite) -> None:
    room_id = await site.room()
    for number, (path, body) in enumerate(
        [("redact/{}/9", {"reason": "typo"}), ("send/m.room.redaction/8", {"redacts": "{}"})]
    ):
        sent = await site.ok("PUT", f"/rooms/{room_id}/send/m.room.message/{number}", {"body": "x"})
        event_id = sent["event_id"]
        body = {key: value.format(event_id) for key, value in body.items()}
        first = await site.ok("PUT", f"/rooms/{room_id}/{path.format(event_id)}", body)
        assert await site.ok("PUT", f"/rooms/{room_id}/{path.format(event_id)}", body) == first
        stored = await site.spine.events.get(event_id)
        assert stored is not None
        assert stored.shown.content == {}


async def test_only_who_may_redact_events_of_others_redacts_what_is_not_there_yet(site: RoomsSite) -> None:
    room_id = await site.room("bob")
    path = f"/rooms/{room_id}/redact/$nothing/1"
    assert await site.error("PUT", path, {}, by="bob") == (404, "M_NOT_FOUND")
    assert (await site.ok("PUT", path, {}))["event_id"].startswith("$")


async def test_the_membership_endpoints_do_what_they_say(site: RoomsSite) -> None:
    room_id = await site.room(preset="private_chat")
    target = {"user_id": BOB.user_id, "reason": "because"}
    assert await site.error("POST", f"/join/{room_id}", {}, by="bob") == (403, "M_FORBIDDEN")
    await site.ok("POST", f"/rooms/{room_id}/invite", target)
    assert await site.ok("POST", f"/join/{room_id}", by="bob") == {"room_id": room_id}
    await site.ok("POST", f"/rooms/{room_id}/kick", target)
    await site.ok("POST", f"/rooms/{room_id}/ban", target)
    await site.ok("POST", f"/rooms/{room_id}/unban", target)
    assert await site.error("POST", f"/rooms/{room_id}/unban", target) == (403, "M_BAD_STATE")
    await site.ok("POST", f"/rooms/{room_id}/forget", {}, by="bob")
    assert await site.error("POST", f"/rooms/{room_id}/forget", {}) == (400, "M_UNKNOWN")
    await site.ok("PUT", f"/rooms/{room_id}/state/m.room.join_rules", {"join_rule": "knock"})
    assert await site.ok("POST", f"/knock/{room_id}", {}, by="bob") == {"room_id": room_id}
    await site.ok("POST", f"/rooms/{room_id}/leave", {}, by="bob")


async def test_wrong_bodies_of_membership_endpoints_are_refused(site: RoomsSite) -> None:
    room_id = await site.room()
    assert (await site.error("POST", f"/rooms/{room_id}/kick", {}))[0] == 400
    assert await site.error("POST", f"/rooms/{room_id}/invite", {}) == (400, "M_MISSING_PARAM")
    assert await site.error("POST", f"/rooms/{room_id}/invite", {"user_id": "bob"}) == (400, "M_INVALID_PARAM")
    third_party = {"medium": "email", "address": "a@b.c", "id_server": "x", "id_access_token": "y"}
    assert await site.error("POST", f"/rooms/{room_id}/invite", third_party) == (400, "M_INVALID_PARAM")
    assert await site.error("POST", "/join/nonsense", {}) == (400, "M_INVALID_PARAM")
    assert await site.error("POST", "/join/%21nothing:elsewhere.example", {}) == (404, "M_NOT_FOUND")
    assert await site.error("POST", f"/join/{quote('#nothing:' + SERVER)}", {}) == (404, "M_NOT_FOUND")
