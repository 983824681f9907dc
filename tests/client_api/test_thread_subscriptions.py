"""Threads that users follow (proposals 4306 and 4308) over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.outside_sections import Push
from tests.client_api.whole_site import WholeSite, user, whole_site

NAME = "io.element.msc4308.thread_subscriptions"
CHANGES = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions"
NOT_IN_THREAD = (400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD")
CONFLICT = (409, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION")


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


@pytest.fixture
async def ruled_site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(
        database_url, tmp_path, push=Push(allow_private_addresses=True, thread_subscriptions=True)
    ) as running:
        yield running


def path(room: str, thread: str) -> str:
    return f"/_matrix/client/unstable/io.element.msc4306/rooms/{quote(room)}/thread/{quote(thread)}/subscription"


async def reply(site: WholeSite, room: str, root: str, more: dict[str, Any] | None = None) -> str:
    relation = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    return await site.send(room, {"msgtype": "m.text", "body": "reply", **relation, **(more or {})})


async def sliding(site: WholeSite, pos: str | None = None, limit: int = 10) -> tuple[str, dict[str, Any]]:
    url = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync" + (f"?pos={quote(pos)}" if pos else "")
    answer = await site.ok("POST", url, {"extensions": {NAME: {"enabled": True, "limit": limit}}})
    return answer["pos"], answer["extensions"].get(NAME, {})


async def test_a_thread_is_followed_and_left(site: WholeSite) -> None:
    room = await site.room()
    root = await site.send(room, "root")
    assert await site.error("GET", path(room, root)) == (404, "M_NOT_FOUND")
    await site.ok("DELETE", path(room, root))
    await site.ok("PUT", path(room, root), {})
    assert await site.ok("GET", path(room, root)) == {"automatic": False}
    await site.ok("PUT", path(room, root), {"automatic": await reply(site, room, root)})
    assert await site.ok("GET", path(room, root)) == {"automatic": False}
    await site.ok("DELETE", path(room, root))
    assert await site.error("GET", path(room, root)) == (404, "M_NOT_FOUND")


async def test_threads_that_are_not_there_or_not_to_be_seen(site: WholeSite) -> None:
    room = await site.room(preset="private_chat")
    root = await site.send(room, "root")
    for method, body in (("PUT", {}), ("GET", None), ("DELETE", None)):
        assert await site.error(method, path(room, "$none:x"), body) == (404, "M_NOT_FOUND")
        assert await site.error(method, path(room, root), body, by="bob") == (404, "M_NOT_FOUND")


async def test_only_an_event_of_the_thread_is_a_reason_to_follow_it(site: WholeSite) -> None:
    room = await site.room()
    root, other = await site.send(room, "root"), await site.send(room, "other")
    elsewhere, inside = await reply(site, room, other), await reply(site, room, root)
    assert await site.error("PUT", path(room, root), {"automatic": "\0"}) == (400, "M_BAD_JSON")
    for wrong in (root, other, elsewhere, "$none:x", "x" * 5_000):
        assert await site.error("PUT", path(room, root), {"automatic": wrong}) == NOT_IN_THREAD
    await site.ok("PUT", path(room, root), {"automatic": inside})
    assert await site.ok("GET", path(room, root)) == {"automatic": True}
    await site.ok("PUT", path(room, root), {})
    assert await site.ok("GET", path(room, root)) == {"automatic": False}


async def test_who_left_a_thread_is_brought_back_by_what_comes_later_only(site: WholeSite) -> None:
    room = await site.room()
    root = await site.send(room, "root")
    first = await reply(site, room, root)
    await site.ok("PUT", path(room, root), {"automatic": first})
    second = await reply(site, room, root)
    await site.ok("DELETE", path(room, root))
    third = await reply(site, room, root)
    assert await site.error("PUT", path(room, root), {"automatic": first}) == CONFLICT
    assert await site.error("PUT", path(room, root), {"automatic": second}) == CONFLICT
    await site.ok("PUT", path(room, root), {"automatic": third})
    assert await site.ok("GET", path(room, root)) == {"automatic": True}


async def test_sliding_sync_tells_of_changes(site: WholeSite) -> None:
    room = await site.room()
    roots = [await site.send(room, "root") for _ in range(3)]
    pos, told = await sliding(site)
    assert told == {}
    for root in roots:
        await site.ok("PUT", path(room, root), {})
    before = pos
    pos, told = await sliding(site, pos, limit=2)
    assert list(told["subscribed"][room]) == [roots[2], roots[1]]
    assert told["subscribed"][room][roots[2]]["automatic"] is False
    page = await site.ok("GET", f"{CHANGES}?dir=b&from={told['prev_batch']}&to={quote(before)}")
    assert list(page["subscribed"][room]) == [roots[0]]
    assert "end" not in page
    stamp = told["subscribed"][room][roots[2]]["bump_stamp"]
    await site.ok("DELETE", path(room, roots[2]))
    pos, told = await sliding(site, pos)
    assert list(told) == ["unsubscribed"]
    assert told["unsubscribed"][room][roots[2]]["bump_stamp"] > stamp
    assert (await sliding(site, pos))[1] == {}
    pos, told = await sliding(site, limit=1)
    assert list(told["unsubscribed"][room]) == [roots[2]]
    page = await site.ok("GET", f"{CHANGES}?dir=b&from={told['prev_batch']}&limit=1")
    page = await site.ok("GET", f"{CHANGES}?dir=b&from={page['end']}")
    assert list(page["subscribed"][room]) == [roots[0]]
    for wrong in ("dir=f", "dir=b&limit=0", "dir=b&from=x", "dir=b&to=x"):
        assert await site.error("GET", f"{CHANGES}?{wrong}") == (400, "M_INVALID_PARAM")
    assert await site.error("GET", CHANGES) == (400, "M_MISSING_PARAM")


async def unread(site: WholeSite, room: str, name: str) -> tuple[int, int]:
    """Notifications of the room with its threads, and highlights."""
    body = (await site.ok("GET", "/sync", by=name))["rooms"]["join"][room]["unread_notifications"]
    return body["notification_count"], body["highlight_count"]


async def test_without_the_rules_threads_notify_everybody(site: WholeSite) -> None:
    room = await site.room("bob", "carol")
    assert "postcontent" not in (await site.ok("GET", "/pushrules/"))["global"]
    assert (await site.ok("GET", "/_matrix/client/versions"))["unstable_features"]["org.matrix.msc4306"] is False
    root = await site.send(room, "root")
    await reply(site, room, root)
    assert await unread(site, room, "bob") == (2, 0)


async def test_with_the_rules_threads_notify_those_who_follow_or_are_mentioned(ruled_site: WholeSite) -> None:
    site = ruled_site
    room = await site.room("bob", "carol", "dave")
    # One with rules of his own: the room is silent for him, but for the threads that he follows.
    await site.ok("PUT", f"/pushrules/global/room/{quote(room)}", {"actions": []}, by="dave")
    root = await site.send(room, "root")
    await site.ok("PUT", path(room, root), {}, by="bob")
    await site.ok("PUT", path(room, root), {}, by="dave")
    rooms = {name: await unread(site, room, name) for name in ("bob", "carol", "dave")}
    assert rooms == {"bob": (1, 0), "carol": (1, 0), "dave": (0, 0)}
    await reply(site, room, root)
    rooms = {name: await unread(site, room, name) for name in ("bob", "carol", "dave")}
    assert rooms == {"bob": (2, 0), "carol": (1, 0), "dave": (1, 0)}
    await reply(site, room, root, {"m.mentions": {"user_ids": [user("carol")]}})
    assert await unread(site, room, "carol") == (2, 1)
    await site.ok("DELETE", path(room, root), by="bob")
    await reply(site, room, root)
    assert await unread(site, room, "bob") == (3, 0)


async def test_the_rules_are_shown_but_none_can_be_added_to_them(ruled_site: WholeSite) -> None:
    rules = (await ruled_site.ok("GET", "/pushrules/"))["global"]["postcontent"]
    names = [rule["rule_id"] for rule in rules]
    assert names == [".io.element.msc4306.rule.unsubscribed_thread", ".io.element.msc4306.rule.subscribed_thread"]
    mine = {"conditions": [], "actions": []}
    assert await ruled_site.error("PUT", "/pushrules/global/postcontent/mine", mine) == (400, "M_INVALID_PARAM")
    await ruled_site.ok("PUT", f"/pushrules/global/postcontent/{names[0]}/enabled", {"enabled": False})
    changed = (await ruled_site.ok("GET", "/pushrules/"))["global"]["postcontent"]
    assert [rule["enabled"] for rule in changed] == [False, True]
    assert (await ruled_site.ok("GET", "/_matrix/client/versions"))["unstable_features"]["org.matrix.msc4306"] is True
