"""What the server itself tells its users."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.account_sections import Rooms, ServerNotices
from homeserver.config.outside_sections import Appservices
from homeserver.services.server_notices import Notice
from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site

PATH = "/_synapse/admin/v1/send_server_notice"
SENDER = user("_server")
KEPT = (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield await furnished(running)


@pytest.fixture
async def quick_site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield await furnished(running)


async def furnished(site: WholeSite) -> WholeSite:
    """With an administrator, and somebody to tell something."""
    await site.register("admin")
    await site.server.operator.perform("user admin", {"user": "admin", "value": True})
    await site.register("alice")
    return site


def body(text: str = "hello", to: str = "alice", **more: Any) -> dict[str, Any]:
    return {"user_id": user(to), "content": {"msgtype": "m.text", "body": text}, **more}


async def ask(site: WholeSite, method: str, path: str, body: Any, by: str) -> tuple[int, Any]:
    """Like `site.ask`, for paths outside of /_matrix."""
    headers = {"Authorization": f"Bearer {site.tokens[by]}"}
    data = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with site.client.request(method, site.url + path, headers=headers, **data) as response:
        return response.status, await response.json()


async def notify(site: WholeSite, text: str = "hello", to: str = "alice", **more: Any) -> str:
    status, answer = await ask(site, "POST", PATH, body(text, to, **more), "admin")
    assert status == 200, answer
    return str(answer["event_id"])


async def invites(site: WholeSite, by: str = "alice") -> dict[str, Any]:
    rooms = (await site.ok("GET", "/sync", by=by)).get("rooms", {})
    return {room_id: room["invite_state"]["events"] for room_id, room in rooms.get("invite", {}).items()}


async def invited(site: WholeSite, by: str = "alice") -> str:
    (room_id,) = await invites(site, by)
    return room_id


async def joined(site: WholeSite) -> str:
    """The room, joined."""
    room_id = await invited(site)
    await site.ok("POST", f"/join/{quote(room_id)}", {})
    return room_id


async def test_user_is_invited_to_a_tagged_room_that_is_all_the_servers(site: WholeSite) -> None:
    event_id = await notify(site)
    ((room_id, state),) = (await invites(site)).items()
    assert {event["sender"] for event in state} == {SENDER}
    assert {"m.room.create", "m.room.name", "m.room.member"} <= {event["type"] for event in state}
    await site.ok("POST", f"/join/{quote(room_id)}", {})
    room = (await site.ok("GET", "/sync"))["rooms"]["join"][room_id]
    assert event_id in [event["event_id"] for event in room["timeline"]["events"]]
    tags = [event["content"]["tags"] for event in room["account_data"]["events"] if event["type"] == "m.tag"]
    assert tags == [{"m.server_notice": {}}]


async def test_invite_cannot_be_refused_and_the_room_can_be_left(site: WholeSite) -> None:
    await notify(site)
    room_id = await invited(site)
    path = f"/rooms/{quote(room_id)}"
    assert await site.error("POST", f"{path}/leave", {}) == KEPT
    member = f"{path}/state/m.room.member/{user('alice')}"
    assert await site.error("PUT", member, {"membership": "leave"}) == KEPT
    await joined(site)
    await site.ok("POST", f"{path}/leave", {})
    assert await invites(site) == {}


@pytest.mark.parametrize("forgets", [False, True])
async def test_next_notice_invites_back_into_the_same_room(quick_site: WholeSite, forgets: bool) -> None:
    site = quick_site
    await notify(site, "one")
    room_id = await joined(site)
    await notify(site, "two")
    assert await invites(site) == {}
    await site.ok("POST", f"/rooms/{quote(room_id)}/leave", {})
    if forgets:
        await site.ok("POST", f"/rooms/{quote(room_id)}/forget", {})
    await notify(site, "three")
    assert await joined(site) == room_id
    page = await site.ok("GET", f"/rooms/{quote(room_id)}/messages?dir=b&limit=100")
    texts = [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
    assert texts == ["three", "two", "one"]


async def test_notices_at_the_same_time_share_one_room(site: WholeSite) -> None:
    sent = await asyncio.gather(*(notify(site, str(number)) for number in range(5)))
    assert len(set(sent)) == 5
    await invited(site)


async def test_closed_account_leaves_the_invite(quick_site: WholeSite) -> None:
    await notify(quick_site)
    room_id = await invited(quick_site)
    await quick_site.server.operator.perform("user deactivate", {"user": "alice"})
    assert await quick_site.server.writing.membership.membership_of(room_id, user("alice")) == "leave"


async def test_users_only_read(quick_site: WholeSite) -> None:
    site = quick_site
    await notify(site)
    path = f"/rooms/{quote(await joined(site))}"
    refused = (403, "M_FORBIDDEN")
    message = {"msgtype": "m.text", "body": "what?"}
    assert await site.error("PUT", f"{path}/send/m.room.message/1", message) == refused
    assert await site.error("PUT", f"{path}/state/m.room.name", {"name": "mine"}) == refused
    assert await site.error("POST", f"{path}/invite", {"user_id": user("admin")}) == refused
    assert await site.error("POST", f"{path}/kick", {"user_id": SENDER}) == refused
    await site.ok("POST", f"{path}/read_markers", {})


async def test_same_transaction_is_one_notice(site: WholeSite) -> None:
    first, again = [await ask(site, "PUT", f"{PATH}/1", body(), "admin") for _ in range(2)]
    other = await ask(site, "PUT", f"{PATH}/2", body(), "admin")
    assert first[0] == 200
    assert first == again
    assert other[1]["event_id"] != first[1]["event_id"]
    at_once = await asyncio.gather(*(ask(site, "PUT", f"{PATH}/3", body(), "admin") for _ in range(3)))
    assert len({answer["event_id"] for _, answer in at_once}) == 1


async def test_state_is_set_where_a_state_key_says_so(quick_site: WholeSite) -> None:
    event_id = await notify(quick_site)
    await notify(quick_site, type="m.room.pinned_events", state_key="", content={"pinned": [event_id]})
    room_id = await joined(quick_site)
    state = await quick_site.ok("GET", f"/rooms/{quote(room_id)}/state/m.room.pinned_events")
    assert state == {"pinned": [event_id]}


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_only_administrators_send_whatever_the_body_is(quick_site: WholeSite, method: str) -> None:
    path = PATH if method == "POST" else f"{PATH}/1"
    for content in (body(), b"", b"{not json", {}):
        status, answer = await ask(quick_site, method, path, content, "alice")
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"user_id": user("nobody")}, (404, "M_NOT_FOUND")),
        ({"user_id": user("closed")}, (404, "M_NOT_FOUND")),
        ({"user_id": SENDER}, (404, "M_NOT_FOUND")),
        ({"user_id": "@alice:elsewhere.test"}, (400, "M_INVALID_PARAM")),
        ({"user_id": "alice"}, (400, "M_INVALID_PARAM")),
        ({"user_id": None}, (400, "M_BAD_JSON")),
        ({"content": "hello"}, (400, "M_BAD_JSON")),
        ({"type": "m.room.encryption", "state_key": ""}, (400, "M_INVALID_PARAM")),
        ({"type": "m.room.member", "state_key": SENDER}, (400, "M_INVALID_PARAM")),
        ({"content": {"msgtype": "m.text", "body": "x" * 70_000}}, (413, "M_TOO_LARGE")),
    ],
)
async def test_what_cannot_be_sent_is_refused_and_makes_no_room(
    quick_site: WholeSite, wrong: dict[str, Any], refusal: tuple[int, str]
) -> None:
    await quick_site.register("closed")
    await quick_site.server.operator.perform("user deactivate", {"user": "closed"})
    status, answer = await ask(quick_site, "POST", PATH, body() | wrong, "admin")
    assert (status, answer["errcode"]) == refusal
    assert await invites(quick_site) == {}


@pytest.mark.parametrize("missing", ["user_id", "content"])
async def test_user_and_content_are_needed(quick_site: WholeSite, missing: str) -> None:
    given = {name: value for name, value in body().items() if name != missing}
    status, answer = await ask(quick_site, "POST", PATH, given, "admin")
    assert (status, answer["errcode"]) == (400, "M_MISSING_PARAM")


async def test_nobody_can_be_the_sender(quick_site: WholeSite) -> None:
    site = quick_site
    registration = {"username": "_server", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    assert await site.error("POST", "/register", registration, by=None) == (400, "M_USER_IN_USE")
    assert await site.error("GET", "/register/available?username=_server", by=None) == (400, "M_USER_IN_USE")
    await notify(site)
    assert await site.error("POST", "/register", registration, by=None) == (400, "M_USER_IN_USE")
    login = {
        "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "_server"}, "password": PASSWORD
    }  # fmt: skip
    assert await site.error("POST", "/login", login, by=None) == (403, "M_FORBIDDEN")
    assert await site.ok("GET", f"/profile/{SENDER}") == {"displayname": "Server notices"}


async def test_nobody_invites_the_sender(quick_site: WholeSite) -> None:
    site = quick_site
    room_id = await site.room(invite=[SENDER])
    path = f"/rooms/{quote(room_id)}"
    assert await site.error("POST", f"{path}/invite", {"user_id": SENDER}) == (403, "M_INVITE_BLOCKED")
    members = (await site.ok("GET", f"{path}/members"))["chunk"]
    assert [event["state_key"] for event in members] == [user("alice")]


async def test_who_wants_no_invites_is_still_told(quick_site: WholeSite) -> None:
    site = quick_site
    path = f"/user/{user('alice')}/account_data/m.invite_permission_config"
    await site.ok("PUT", path, {"default_action": "block"})
    await notify(site)
    await invited(site)


async def test_tag_comes_back_with_the_next_notice(quick_site: WholeSite) -> None:
    site = quick_site
    await notify(site)
    path = f"/user/{user('alice')}/rooms/{quote(await joined(site))}/tags"
    await site.ok("DELETE", f"{path}/m.server_notice")
    await site.ok("PUT", f"{path}/m.favourite", {"order": 0.5})
    await notify(site)
    assert (await site.ok("GET", path))["tags"] == {"m.favourite": {"order": 0.5}, "m.server_notice": {}}


async def test_room_looks_as_the_operator_wants_it_today(sqlite_url: str, tmp_path: Path) -> None:
    rooms = Rooms(encryption_default="all", creation="admins")
    async with whole_site(sqlite_url, tmp_path, rooms=rooms) as site:
        tokens = (await furnished(site)).tokens
        await notify(site)
        room_id = await joined(site)
    notices = ServerNotices(
        display_name="Example", avatar_url="mxc://hearth.test/a", room_name="News", room_topic="What is new",
        room_avatar_url="mxc://hearth.test/b",
    )  # fmt: skip
    async with whole_site(sqlite_url, tmp_path, rooms=rooms, server_notices=notices) as site:
        site.tokens = tokens
        await site.server.notices.send(user("alice"), Notice.text("again"))
        events = await site.ok("GET", f"/rooms/{quote(room_id)}/state")
        state = {(event["type"], event["state_key"]): event["content"] for event in events}
    assert state["m.room.member", SENDER] == {
        "membership": "join", "displayname": "Example", "avatar_url": "mxc://hearth.test/a"
    }  # fmt: skip
    assert state["m.room.name", ""] == {"name": "News"}
    assert state["m.room.topic", ""]["topic"] == "What is new"
    assert state["m.room.avatar", ""] == {"url": "mxc://hearth.test/b"}
    assert ("m.room.encryption", "") not in state


async def test_another_sender_makes_another_room(sqlite_url: str, tmp_path: Path) -> None:
    async with whole_site(sqlite_url, tmp_path) as site:
        tokens = (await furnished(site)).tokens
        await notify(site)
        before = await joined(site)
    async with whole_site(sqlite_url, tmp_path, server_notices=ServerNotices(localpart="news")) as site:
        site.tokens = tokens
        for text in ("one", "two"):
            await site.server.notices.send(user("alice"), Notice.text(text))
        assert await invited(site) != before


BRIDGE = """
id: bridge
url: null
as_token: as_token
hs_token: hs_token
sender_localpart: _server
namespaces: {}
"""


async def test_nothing_is_sent_in_the_name_of_somebody_else(sqlite_url: str, tmp_path: Path) -> None:
    registration = tmp_path / "bridge.yaml"
    registration.write_text(BRIDGE)
    async with whole_site(sqlite_url, tmp_path) as site:
        tokens = (await furnished(site)).tokens
    taken: list[dict[str, Any]] = [
        {"server_notices": ServerNotices(localpart="admin")},
        {"appservices": Appservices(registrations=(str(registration),))},
    ]
    for sections in taken:
        async with whole_site(sqlite_url, tmp_path, **sections) as site:
            site.tokens = tokens
            status, answer = await ask(site, "POST", PATH, body(), "admin")
            assert status == 403
            assert "server_notices.localpart" in answer["error"]
            assert await invites(site) == {}
