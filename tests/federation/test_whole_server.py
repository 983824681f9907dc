"""What another server asks of a whole one: the tests of federation replace parts that these endpoints speak for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import SERVER_NAME, user
from tests.federation.visited import Visited, visited_site
from tests.services.keys_world import device_keys, one_time_key
from tests.services.media_world import picture

V1 = "/_matrix/federation/v1"
ALICE = user("alice")


@pytest.fixture
async def visited(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Visited]:
    async with visited_site(sqlite_url, tmp_path) as running:
        yield running


async def test_server_tells_what_it_is_and_its_keys(visited: Visited) -> None:
    assert (await visited.ask("GET", f"{V1}/version"))["server"]["name"] == "Hearth"
    keys = (await visited.ask("GET", f"/_matrix/key/v2/query/{SERVER_NAME}"))["server_keys"]
    assert keys[0]["server_name"] == SERVER_NAME
    body: dict[str, Any] = {"server_keys": {SERVER_NAME: {}, visited.guest.name: {}}}
    keys = (await visited.ask("POST", "/_matrix/key/v2/query", body))["server_keys"]
    assert {answer["server_name"] for answer in keys} == {SERVER_NAME, visited.guest.name}


async def test_people_and_their_devices_are_told(visited: Visited) -> None:
    site = visited.site
    await site.register("alice")
    device_id = (await site.ok("GET", "/account/whoami"))["device_id"]
    one_time = {"signed_curve25519:A": one_time_key("A")}
    await site.ok(
        "POST", "/keys/upload", {"device_keys": device_keys(ALICE, device_id), "one_time_keys": one_time}
    )
    await site.ok("PUT", f"/profile/{ALICE}/displayname", {"displayname": "Alice"})
    assert await visited.ask("GET", f"{V1}/query/profile", user_id=ALICE) == {"displayname": "Alice"}
    assert [d["device_id"] for d in (await visited.ask("GET", f"{V1}/user/devices/{ALICE}"))["devices"]] == [device_id]
    found = await visited.ask("POST", f"{V1}/user/keys/query", {"device_keys": {ALICE: []}})
    assert list(found["device_keys"][ALICE]) == [device_id]
    wanted = {"one_time_keys": {ALICE: {device_id: "signed_curve25519"}}}
    claimed = await visited.ask("POST", f"{V1}/user/keys/claim", wanted)
    assert claimed["one_time_keys"][ALICE][device_id] == one_time
    token = await site.ok("POST", f"/user/{ALICE}/openid/request_token", {})
    assert (await visited.ask("GET", f"{V1}/openid/userinfo", access_token=token["access_token"]))["sub"] == ALICE


async def test_media_are_handed_over(visited: Visited) -> None:
    await visited.site.register("alice")
    headers = {"Authorization": f"Bearer {visited.site.tokens['alice']}", "Content-Type": "image/png"}
    url = f"{visited.site.url}/_matrix/media/v3/upload"
    async with visited.site.client.post(url, data=picture(50, 40), headers=headers) as response:
        media_id = (await response.json())["content_uri"].rpartition("/")[2]
    answer = await visited.requests.send(SERVER_NAME, "GET", f"{V1}/media/download/{media_id}")
    assert answer.headers["Content-Type"].startswith("multipart/mixed")
    target = f"{V1}/media/thumbnail/{media_id}?width=32&height=32"
    answer = await visited.requests.send(SERVER_NAME, "GET", target)
    assert answer.headers["Content-Type"].startswith("multipart/mixed")


async def test_rooms_are_joined_and_read(visited: Visited) -> None:
    site, guest = visited.site, visited.guest
    room_id = await site.room(room_alias_name="room", visibility="public", name="A room")
    said = await site.send(room_id, "something")
    found = await visited.ask("GET", f"{V1}/query/directory", room_alias=f"#room:{SERVER_NAME}")
    assert found["room_id"] == room_id
    assert [r["room_id"] for r in (await visited.ask("GET", f"{V1}/publicRooms"))["chunk"]] == [room_id]
    assert [r["room_id"] for r in (await visited.ask("POST", f"{V1}/publicRooms", {}))["chunk"]] == [room_id]
    template = await visited.ask("GET", f"{V1}/make_join/{quote(room_id)}/@bob:guest.test", ver="12")
    assert template["room_version"] == "12"
    client = guest.outside.client
    await guest.writing.membership.join(guest.as_user("bob"), room_id, via=[SERVER_NAME])
    transaction = {"edus": [], "origin": guest.name, "origin_server_ts": 1, "pdus": []}
    assert await visited.ask("PUT", f"{V1}/send/1", transaction) == {"pdus": {}}
    assert (await visited.ask("GET", f"{V1}/event/{quote(said)}"))["pdus"][0]["content"]["body"] == "something"
    for part in ("state", "state_ids"):
        assert await visited.ask("GET", f"{V1}/{part}/{quote(room_id)}", event_id=said)
    assert (await client.event_auth(SERVER_NAME, room_id, said)) != []
    assert (await client.backfill(SERVER_NAME, room_id, [said], 5)) != []
    assert (await visited.ask("GET", f"{V1}/hierarchy/{quote(room_id)}"))["room"]["room_id"] == room_id
    at = await visited.ask("GET", f"{V1}/timestamp_to_event/{quote(room_id)}", ts=site.clock.now_ms(), dir="b")
    assert at["event_id"]
    missing = {"earliest_events": [], "latest_events": [said], "limit": 5, "min_depth": 0}
    for body in (missing, {**missing, "limit": None, "min_depth": None}):
        assert (await visited.ask("POST", f"{V1}/get_missing_events/{quote(room_id)}", body))["events"] != []


async def test_people_of_both_servers_invite_knock_and_leave(visited: Visited) -> None:
    site, guest = visited.site, visited.guest
    await site.register("alice")
    room_id = await guest.create_room("bob", preset="private_chat")
    await guest.writing.membership.invite(guest.as_user("bob"), room_id, ALICE)
    invited = (await site.ok("GET", "/sync"))["rooms"]["invite"]
    assert list(invited) == [room_id]
    await site.ok("POST", f"/rooms/{quote(room_id)}/leave", {})
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    other = await site.room(preset="private_chat", initial_state=[rule])
    await guest.writing.membership.knock(guest.as_user("carol"), other, via=[SERVER_NAME])
    members = (await site.ok("GET", f"/rooms/{quote(other)}/members?membership=knock"))["chunk"]
    assert [m["state_key"] for m in members] == ["@carol:guest.test"]
    await guest.writing.membership.leave(guest.as_user("carol"), other)
    members = (await site.ok("GET", f"/rooms/{quote(other)}/members?membership=leave"))["chunk"]
    assert [m["state_key"] for m in members] == ["@carol:guest.test"]
