"""Full-text search over HTTP, on both engines."""

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


async def search(
    site: WholeSite, term: str, *, by: str = "alice", next_batch: str | None = None, **criteria: Any
) -> dict[str, Any]:
    body = {"search_categories": {"room_events": {"search_term": term, **criteria}}}
    query = "" if next_batch is None else f"?next_batch={quote(next_batch)}"
    answer = await site.ok("POST", f"/search{query}", body, by=by)
    return dict(answer["search_categories"]["room_events"])


def ids(found: dict[str, Any]) -> list[str]:
    return [result["result"]["event_id"] for result in found["results"]]


async def test_what_was_just_said_is_found_whatever_the_case_and_accents(site: WholeSite) -> None:
    room_id = await site.room()
    event_id = await site.send(room_id, "Das Café ist GESCHLOSSEN")
    await site.send(room_id, "something else")
    found = await search(site, "cafe geschlossen", keys=["content.body"], filter={"rooms": [room_id]})
    assert ids(found) == [event_id]
    assert found["count"] == 1
    assert found["highlights"] == ["cafe", "geschlossen"]
    result = found["results"][0]["result"]
    assert (result["room_id"], result["content"]["body"]) == (room_id, "Das Café ist GESCHLOSSEN")
    assert (await search(site, "cafe open"))["results"] == []
    assert (await search(site, "!?"))["count"] == 0
    assert await site.ok("POST", "/search", {"search_categories": {}}) == {"search_categories": {}}


async def test_a_word_finds_longer_words_that_begin_with_it(site: WholeSite) -> None:
    room_id = await site.room()
    event_id = await site.send(room_id, "Chestnuts are sold here")
    assert ids(await search(site, "chestnut")) == [event_id]
    assert ids(await search(site, "here chest")) == [event_id]
    assert ids(await search(site, "nuts")) == []
    assert ids(await search(site, "so")) == []  # two letters begin too many words
    assert ids(await search(site, '"are sol"')) == []


async def test_phrases_names_topics_and_edits_are_found(site: WholeSite) -> None:
    room_id = await site.room(name="The red lion", topic="Foxes and lions")
    said = await site.send(room_id, "a quick red fox")
    await site.send(room_id, "a red and quick fox")
    edit = {
        "msgtype": "m.text",
        "body": "* badger",
        "m.new_content": {"msgtype": "m.text", "body": "badger"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": said},
    }
    edited = await site.send(room_id, edit)
    assert ids(await search(site, '"red fox"')) == [said]
    assert len(ids(await search(site, "red fox"))) == 2
    assert len(ids(await search(site, "red"))) == 3
    assert len(ids(await search(site, "red", keys=["content.name"]))) == 1
    assert len(ids(await search(site, "lions", keys=["content.topic"]))) == 1
    assert ids(await search(site, "lions", keys=["content.body"])) == []
    assert ids(await search(site, "badger")) == [edited]


async def test_scripts_without_spaces_are_searched_by_their_characters(site: WholeSite) -> None:
    room_id = await site.room()
    event_id = await site.send(room_id, "今日は良い天気です")
    assert ids(await search(site, "天気")) == [event_id]
    assert ids(await search(site, "気天")) == []


async def test_results_come_in_the_order_that_is_asked_for(site: WholeSite) -> None:
    room_id = await site.room()
    best = await site.send(room_id, "tea tea tea")
    site.clock.advance(1)
    middle = await site.send(room_id, "tea for two, and two for tea, says the song that nobody remembers any more")
    site.clock.advance(1)
    last = await site.send(room_id, "tea is what was asked for in the song, and it is a long and old song")
    assert ids(await search(site, "tea", order_by="recent")) == [last, middle, best]
    ranked = await search(site, "tea")
    assert ids(ranked)[0] == best
    ranks = [result["rank"] for result in ranked["results"]]
    assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize("order_by", ["recent", "rank"])
async def test_results_come_in_pages_without_gaps(site: WholeSite, order_by: str) -> None:
    room_id = await site.room()
    sent = [await site.send(room_id, f"message number {n}") for n in range(5)]
    criteria: dict[str, Any] = {"order_by": order_by, "filter": {"limit": 2}}
    first = await search(site, "message", **criteria)
    second = await search(site, "message", next_batch=first["next_batch"], **criteria)
    third = await search(site, "message", next_batch=second["next_batch"], **criteria)
    assert "next_batch" not in third
    assert [page["count"] for page in (first, second, third)] == [5, 5, 5]
    pages = [*ids(first), *ids(second), *ids(third)]
    assert sorted(pages) == sorted(sent)
    if order_by == "recent":
        assert pages == sent[::-1]


async def test_what_was_said_around_a_result_comes_with_it(site: WholeSite) -> None:
    for name in ("alice", "bob"):
        await site.register(name)
        await site.ok("PUT", f"/profile/{user(name)}/displayname", {"displayname": name}, by=name)
    room_id = await site.room("bob")
    sent = [await site.send(room_id, f"number {n}", by="bob" if n % 2 else "alice") for n in range(1, 8)]
    wish = {"before_limit": 2, "after_limit": 1, "include_profile": True}
    (result,) = (await search(site, "number 4", event_context=wish))["results"]
    context = result["context"]
    assert [event["event_id"] for event in context["events_before"]] == [sent[2], sent[1]]
    assert [event["event_id"] for event in context["events_after"]] == [sent[4]]
    assert context["profile_info"] == {user(name): {"displayname": name} for name in ("alice", "bob")}
    page = await site.ok("GET", f"/rooms/{quote(room_id)}/messages?dir=b&limit=1&from={context['start']}")
    assert [event["event_id"] for event in page["chunk"]] == [sent[0]]
    page = await site.ok("GET", f"/rooms/{quote(room_id)}/messages?dir=f&limit=1&from={context['end']}")
    assert [event["event_id"] for event in page["chunk"]] == [sent[5]]


async def test_results_are_grouped_and_come_with_the_state_of_their_rooms(site: WholeSite) -> None:
    first = await site.room("bob")
    second = await site.room("bob")
    sent = [
        await site.send(first, "tea one"),
        await site.send(second, "tea two", by="bob"),
        await site.send(first, "tea three", by="bob"),
    ]
    groupings = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}
    found = await search(site, "tea", order_by="recent", groupings=groupings, include_state=True)
    assert found["groups"]["room_id"] == {
        first: {"order": 0, "results": [sent[2], sent[0]]},
        second: {"order": 1, "results": [sent[1]]},
    }
    assert found["groups"]["sender"][user("bob")]["results"] == [sent[2], sent[1]]
    assert {event["type"] for event in found["state"][second]} >= {"m.room.create", "m.room.member"}
    page = await search(site, "tea", order_by="recent", groupings=groupings, filter={"limit": 1})
    group = page["groups"]["room_id"][first]
    rest = await search(site, "tea", order_by="recent", next_batch=group["next_batch"])
    assert ids(rest) == [sent[0]]


async def test_only_what_the_searcher_may_see_is_found(site: WholeSite) -> None:
    room_id = await site.room()
    await site.ok(
        "PUT", f"/rooms/{quote(room_id)}/state/m.room.history_visibility", {"history_visibility": "joined"}
    )
    await site.send(room_id, "secret before")
    assert ids(await search(site, "secret", by="bob")) == []
    await site.ok("POST", f"/join/{quote(room_id)}", {}, by="bob")
    seen = await site.send(room_id, "secret meanwhile")
    await site.ok("POST", f"/rooms/{quote(room_id)}/leave", {}, by="bob")
    await site.send(room_id, "secret after")
    assert ids(await search(site, "secret", by="bob")) == [seen]
    assert len(ids(await search(site, "secret"))) == 3
    await site.ok("POST", f"/rooms/{quote(room_id)}/forget", {}, by="bob")
    assert ids(await search(site, "secret", by="bob")) == []


@pytest.mark.parametrize("order_by", ["recent", "rank"])
async def test_redacted_messages_and_encrypted_rooms_are_not_found(site: WholeSite, order_by: str) -> None:
    room_id = await site.room()
    redacted = await site.send(room_id, "tea to forget")
    kept = await site.send(room_id, "tea to keep")
    assert len(ids(await search(site, "tea", order_by=order_by))) == 2
    await site.ok("PUT", f"/rooms/{quote(room_id)}/redact/{quote(redacted)}/1", {})
    found = await search(site, "tea", order_by=order_by)
    assert (ids(found), found["count"]) == ([kept], 1)
    content = {"algorithm": "m.megolm.v1.aes-sha2"}
    await site.ok("PUT", f"/rooms/{quote(room_id)}/state/m.room.encryption", content)
    assert ids(await search(site, "tea", order_by=order_by)) == []


async def test_filters_narrow_a_search_down(site: WholeSite) -> None:
    first = await site.room("bob")
    second = await site.room("bob")
    mine = await site.send(first, "tea")
    bobs = await site.send(second, "tea", by="bob")
    assert ids(await search(site, "tea", filter={"rooms": [first]})) == [mine]
    assert ids(await search(site, "tea", filter={"not_rooms": [first]})) == [bobs]
    assert ids(await search(site, "tea", filter={"senders": [user("bob")]})) == [bobs]
    assert ids(await search(site, "tea", filter={"not_senders": [user("bob")]})) == [mine]
    assert ids(await search(site, "tea", filter={"types": ["m.room.name"]})) == []
    assert ids(await search(site, "tea", filter={"rooms": []})) == []


async def test_a_search_that_makes_no_sense_is_refused(site: WholeSite) -> None:
    async def error(criteria: dict[str, Any], query: str = "") -> tuple[int, str]:
        return await site.error("POST", f"/search{query}", {"search_categories": {"room_events": criteria}})

    assert (await error({}))[0] == 400
    assert (await error({"search_term": "x", "order_by": "beauty"}))[0] == 400
    assert (await error({"search_term": "x", "keys": ["content.formatted_body"]}))[0] == 400
    assert (await error({"search_term": "x", "filter": {"types": "x"}}))[0] == 400
    for token in ("x", "W10", "WzEsIngiLG51bGxd", "eyJhIjoxfQ"):
        assert await error({"search_term": "x"}, f"?next_batch={token}") == (400, "M_INVALID_PARAM")


async def test_history_from_before_the_index_is_found_too(database_url: str, tmp_path: Path) -> None:
    async with whole_site(database_url, tmp_path) as site:
        room_id = await site.room()
        sent = [await site.send(room_id, f"tea {n}") for n in range(3)]
    async with whole_site(database_url, tmp_path) as site:
        await site.login("alice", "alice")
        assert ids(await search(site, "tea", order_by="recent")) == sent[::-1]
