"""Relations, threads and times over HTTP."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_api.whole_site import WholeSite, user, whole_site


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


def v1(room_id: str, path: str) -> str:
    return f"/_matrix/client/v1/rooms/{quote(room_id)}/{path}"


def related(kind: str, parent: str, **more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": "*", "m.relates_to": {"rel_type": kind, "event_id": parent, **more}}


def ids(page: dict[str, Any]) -> list[str]:
    return [event["event_id"] for event in page["chunk"]]


async def test_relations_are_paged_in_both_directions_and_narrowed_down(site: WholeSite) -> None:
    room = await site.room()
    root = await site.send(room, "root")
    replies = [await site.send(room, related("m.thread", root)) for _ in range(5)]
    other = await site.send(room, related("org.example", root), kind="org.example.type")
    first = await site.ok("GET", v1(room, f"relations/{root}?limit=2"))
    assert ids(first) == [other, replies[4]]
    assert "prev_batch" not in first
    second = await site.ok("GET", v1(room, f"relations/{root}?limit=9&from={first['next_batch']}"))
    assert ids(second) == replies[3::-1]
    assert "next_batch" not in second
    assert second["prev_batch"] == first["next_batch"]
    forwards = await site.ok("GET", v1(room, f"relations/{root}/m.thread?dir=f&limit=3"))
    assert ids(forwards) == replies[:3]
    ended = await site.ok("GET", v1(room, f"relations/{root}/m.thread?dir=f&to={forwards['next_batch']}"))
    assert ids(ended) == replies[:3]
    assert ids(await site.ok("GET", v1(room, f"relations/{root}/org.example/org.example.type"))) == [other]
    assert ids(await site.ok("GET", v1(room, f"relations/{root}/org.example/m.room.message"))) == []


async def test_recursion_finds_what_relates_to_what_relates(site: WholeSite) -> None:
    room = await site.room()
    root = await site.send(room, "root")
    reply = await site.send(room, related("m.thread", root))
    reaction = await site.send(room, related("m.annotation", reply, key="+"), kind="m.reaction")
    assert ids(await site.ok("GET", v1(room, f"relations/{root}"))) == [reply]
    deep = await site.ok("GET", v1(room, f"relations/{root}?recurse=true"))
    assert ids(deep) == [reaction, reply]
    assert deep["recursion_depth"] >= 3
    assert ids(await site.ok("GET", v1(room, f"relations/{root}/m.annotation?recurse=true"))) == [reaction]


async def test_redacted_and_ignored_events_relate_to_nothing(site: WholeSite) -> None:
    room = await site.room("bob")
    root = await site.send(room, "root")
    gone = await site.send(room, related("m.thread", root))
    await site.send(room, related("m.thread", root), by="bob")
    await site.ok("PUT", f"/rooms/{quote(room)}/redact/{gone}/t1", {})
    ignored = {"ignored_users": {user("bob"): {}}}
    await site.ok("PUT", f"/user/{user('alice')}/account_data/m.ignored_user_list", ignored)
    assert ids(await site.ok("GET", v1(room, f"relations/{root}"))) == []
    assert ids(await site.ok("GET", v1(room, "threads"))) == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("relations/{root}?dir=x", (400, "M_INVALID_PARAM")),
        ("relations/{root}?from=x", (400, "M_INVALID_PARAM")),
        ("relations/{root}?limit=0", (400, "M_INVALID_PARAM")),
        ("relations/{root}?recurse=x", (400, "M_INVALID_PARAM")),
        ("relations/$nothing", (404, "M_NOT_FOUND")),
        ("threads?include=x", (400, "M_INVALID_PARAM")),
        ("threads?from=s1_1", (400, "M_INVALID_PARAM")),
        ("timestamp_to_event?dir=b", (400, "M_MISSING_PARAM")),
        ("timestamp_to_event?ts=1", (400, "M_MISSING_PARAM")),
        ("timestamp_to_event?ts=x&dir=b", (400, "M_INVALID_PARAM")),
        ("timestamp_to_event?ts=1&dir=x", (400, "M_INVALID_PARAM")),
        ("timestamp_to_event?ts=1&dir=b", (404, "M_NOT_FOUND")),
    ],
)
async def test_bad_requests_are_refused(site: WholeSite, path: str, error: tuple[int, str]) -> None:
    room = await site.room()
    root = await site.send(room, "root")
    assert await site.error("GET", v1(room, path.format(root=root))) == error


async def test_strangers_learn_nothing(site: WholeSite) -> None:
    room = await site.room()
    root = await site.send(room, "root")
    assert await site.error("GET", v1(room, f"relations/{root}"), by="mallory") == (404, "M_NOT_FOUND")
    assert await site.error("GET", v1(room, "threads"), by="mallory") == (403, "M_FORBIDDEN")
    found = await site.error("GET", v1(room, "timestamp_to_event?ts=1&dir=f"), by="mallory")
    assert found == (403, "M_FORBIDDEN")


async def test_threads_are_listed_by_their_latest_event(site: WholeSite) -> None:
    room = await site.room("bob")
    first, second, third = [await site.send(room, "root", by=by) for by in ("alice", "bob", "alice")]
    for root in (first, second, third, first):
        last = await site.send(room, related("m.thread", root), by="bob")
    page = await site.ok("GET", v1(room, "threads?limit=2"))
    assert ids(page) == [first, third]
    thread = page["chunk"][0]["unsigned"]["m.relations"]["m.thread"]
    assert (thread["count"], thread["latest_event"]["event_id"]) == (2, last)
    rest = await site.ok("GET", v1(room, f"threads?from={page['next_batch']}"))
    assert ids(rest) == [second]
    assert "next_batch" not in rest
    assert ids(await site.ok("GET", v1(room, "threads?include=participated"))) == [first, third]
    assert ids(await site.ok("GET", v1(room, "threads?include=participated"), by="bob")) == [first, third, second]


async def test_a_thread_cannot_begin_in_a_thread(site: WholeSite) -> None:
    room = await site.room()
    reply = await site.send(room, related("m.thread", await site.send(room, "root")))
    path = f"/rooms/{quote(room)}/send/m.room.message/t1"
    assert await site.error("PUT", path, related("m.thread", reply)) == (400, "M_UNKNOWN")


async def test_the_same_reaction_counts_once_until_it_is_redacted(site: WholeSite) -> None:
    room = await site.room("bob")
    root = await site.send(room, "root")
    path, body = f"/rooms/{quote(room)}/send/m.reaction/", related("m.annotation", root, key="+")
    reaction = (await site.ok("PUT", path + "t1", body))["event_id"]
    assert (await site.ok("PUT", path + "t1", body))["event_id"] == reaction
    assert await site.error("PUT", path + "t2", body) == (400, "M_DUPLICATE_ANNOTATION")
    await site.ok("PUT", path + "t3", related("m.annotation", root, key="-"))
    await site.ok("PUT", path + "t4", body, by="bob")
    await site.ok("PUT", f"/rooms/{quote(room)}/redact/{reaction}/t5", {})
    await site.ok("PUT", path + "t6", body)


async def test_the_event_of_a_time_is_the_closest_in_the_direction(site: WholeSite) -> None:
    room = await site.room()
    site.clock.advance(10)
    at = site.clock.now_ms()
    first, second = await site.send(room, "1"), await site.send(room, "2")
    site.clock.advance(10)
    third = await site.send(room, "3")

    async def find(timestamp: int, direction: str) -> str:
        answer = await site.ok("GET", v1(room, f"timestamp_to_event?ts={timestamp}&dir={direction}"))
        return str(answer["event_id"])

    assert await find(at, "f") == first
    assert await find(at, "b") == second
    assert await find(at + 1, "f") == third
    assert await find(10**15, "b") == third


async def test_history_is_filtered_by_how_events_relate(site: WholeSite) -> None:
    room = await site.room("bob")
    root = await site.send(room, "root")
    reply = await site.send(room, related("m.thread", root), by="bob")
    reference = await site.send(room, related("m.reference", reply))

    async def found(**wanted: Any) -> list[str]:
        text = quote(json.dumps({"types": ["m.room.message"], **wanted}))
        return ids(await site.ok("GET", f"/rooms/{quote(room)}/messages?dir=f&filter={text}"))

    for prefix in ("", "org.matrix.msc3874."):
        assert await found(**{f"{prefix}rel_types": ["m.thread"]}) == [reply]
        assert await found(**{f"{prefix}not_rel_types": ["m.thread"]}) == [root, reference]
        assert await found(**{f"{prefix}not_rel_types": ["m.thread", "m.reference"]}) == [root]
        both = {f"{prefix}rel_types": ["m.thread", "m.reference"], f"{prefix}not_rel_types": ["m.thread"]}
        assert await found(**both) == [reference]
    assert await found(related_by_rel_types=["m.thread"]) == [root]
    assert await found(related_by_senders=[user("alice")]) == [reply]
    assert await found(related_by_senders=[user("alice")], related_by_rel_types=["m.thread"]) == []
    wrong = quote(json.dumps({"rel_types": "m.thread"}))
    error = await site.error("GET", f"/rooms/{quote(room)}/messages?dir=f&filter={wrong}")
    assert error[0] == 400
