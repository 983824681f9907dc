"""Texts that are too long for an event, over HTTP."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.account_sections import Rooms
from tests.client_api.whole_site import WholeSite, user, whole_site

TOO_LARGE = (413, "M_TOO_LARGE")


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


def text_of(characters: int) -> str:
    words = random.Random(1).choices(("long", "wörter", "and", "文字"), k=characters)
    return " ".join(words)[:characters]


async def content_of(site: WholeSite, room: str, event_id: str, *, by: str = "bob") -> dict[str, Any]:
    return dict((await site.ok("GET", f"/rooms/{quote(room)}/event/{event_id}", by=by))["content"])


async def read(site: WholeSite, uri: str) -> tuple[str, str]:
    """What anybody in the room can download, with its type."""
    url = f"{site.url}/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}"
    headers = {"Authorization": f"Bearer {site.tokens['bob']}"}
    async with site.client.get(url, headers=headers) as answer:
        assert answer.status == 200
        return (await answer.read()).decode(), answer.headers["Content-Type"]


async def test_the_whole_text_is_stored_and_its_beginning_sent(site: WholeSite) -> None:
    room = await site.room("bob")
    text = text_of(100_000)
    said = await site.send(room, {"msgtype": "m.text", "body": text, "m.mentions": {"user_ids": [user("bob")]}})
    content = await content_of(site, room, said)
    stored, content_type = await read(site, content["url"])
    assert stored == text
    assert content_type.startswith("text/plain")
    assert (content["msgtype"], content["filename"]) == ("m.file", "message.txt")
    assert content["info"] == {"mimetype": "text/plain", "size": len(text.encode())}
    assert content["io.hearth.long_text"] == {"msgtype": "m.text", "characters": 100_000}
    assert content["m.mentions"] == {"user_ids": [user("bob")]}
    beginning, sign = content["body"].rsplit(" ", 1)
    assert text.startswith(beginning + " ")
    assert sign == "…"


async def test_what_fits_into_an_event_stays_as_it_is(site: WholeSite) -> None:
    room = await site.room("bob")
    content = {"msgtype": "m.text", "body": "x" * 60_000}
    assert await content_of(site, room, await site.send(room, content)) == content


async def test_formatted_text_in_a_thread(site: WholeSite) -> None:
    room = await site.room("bob")
    relation = {"rel_type": "m.thread", "event_id": await site.send(room, "root")}
    text = text_of(40_000)
    html = {"format": "org.matrix.custom.html", "formatted_body": f"<b>{text}</b>"}
    said = await site.send(room, {"msgtype": "m.emote", "body": text, **html, "m.relates_to": relation})
    content = await content_of(site, room, said)
    assert content["m.relates_to"] == relation
    assert "formatted_body" not in content
    told = content["io.hearth.long_text"]
    assert (told["msgtype"], told["format"]) == ("m.emote", html["format"])
    assert (await read(site, told["formatted_url"]))[0] == html["formatted_body"]


async def test_an_edit_that_makes_a_text_long(site: WholeSite) -> None:
    room = await site.room("bob")
    said = await site.send(room, "short")
    text = text_of(50_000)
    edit = {
        "msgtype": "m.text",
        "body": "* " + text,
        "m.new_content": {"msgtype": "m.text", "body": text},
        "m.relates_to": {"rel_type": "m.replace", "event_id": said},
    }
    content = await content_of(site, room, await site.send(room, edit))
    assert content["m.relates_to"] == edit["m.relates_to"]
    assert content["body"] == "* " + content["m.new_content"]["body"]
    assert (await read(site, content["m.new_content"]["url"]))[0] == text


async def test_a_retried_request_is_one_message(site: WholeSite) -> None:
    room = await site.room()
    path, body = f"/rooms/{quote(room)}/send/m.room.message/t1", {"msgtype": "m.text", "body": text_of(70_000)}
    assert await site.ok("PUT", path, body) == await site.ok("PUT", path, body)


async def test_what_is_too_large_otherwise_is_refused(site: WholeSite) -> None:
    room = await site.room()
    messages = f"/rooms/{quote(room)}/send/m.room.message/"
    assert await site.error("PUT", messages + "1", {"msgtype": "m.text", "body": "x" * 100_001}) == TOO_LARGE
    assert await site.error("PUT", messages + "2", {"msgtype": "m.image", "body": "x" * 70_000}) == TOO_LARGE
    junk = {"msgtype": "m.text", "body": "short", "junk": "x" * 70_000}
    assert await site.error("PUT", messages + "3", junk) == TOO_LARGE
    encrypted = f"/rooms/{quote(room)}/send/m.room.encrypted/4"
    assert await site.error("PUT", encrypted, {"ciphertext": "x" * 70_000}) == TOO_LARGE


async def test_long_texts_are_refused_where_it_is_switched_off(database_url: str, tmp_path: Path) -> None:
    async with whole_site(database_url, tmp_path, rooms=Rooms(long_texts=False)) as site:
        room = await site.room()
        body = {"msgtype": "m.text", "body": text_of(70_000)}
        assert await site.error("PUT", f"/rooms/{quote(room)}/send/m.room.message/1", body) == TOO_LARGE


# --- searching them


async def found(site: WholeSite, term: str) -> list[str]:
    body = {"search_categories": {"room_events": {"search_term": term}}}
    answer = await site.ok("POST", "/search", body, by="alice")
    return [one["result"]["event_id"] for one in answer["search_categories"]["room_events"]["results"]]


async def test_words_anywhere_in_a_long_text_are_found(site: WholeSite) -> None:
    room = await site.room()
    text = f"begonia {'once upon a time ' * 5_000} red fox"
    said = await site.send(room, text)
    await site.send(room, "begonia and a fox that is red")
    assert await found(site, "begonia time fox") == [said]
    assert await found(site, '"red fox"') == [said]
    assert await found(site, '"red foxes"') == []


async def test_phrases_anywhere_in_a_long_text_without_spaces_are_found(site: WholeSite) -> None:
    room = await site.room()
    said = await site.send(room, "今日は良い日です。" * 10_000 + "天気")
    assert await found(site, "良い日") == await found(site, "天気") == [said]
    assert await found(site, "気天") == []


async def test_the_words_of_an_edit_that_makes_a_text_long_are_found(site: WholeSite) -> None:
    room = await site.room()
    said = await site.send(room, "short")
    edit = {
        "msgtype": "m.text",
        "body": "* long",
        "m.new_content": {"msgtype": "m.text", "body": text_of(70_000) + " fox"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": said},
    }
    edited = await site.send(room, edit)
    assert await found(site, "fox") == [edited]


@pytest.mark.parametrize("url", ["mxc://hearth.test/absent", "mxc://elsewhere.test/id", "mxc://hearth.test/../x", 5])
async def test_a_long_text_that_is_not_there_is_found_by_its_beginning(site: WholeSite, url: object) -> None:
    room = await site.room()
    content = {"msgtype": "m.file", "body": "fox", "url": url, "io.hearth.long_text": {"msgtype": "m.text"}}
    said = await site.send(room, content)
    assert await found(site, "fox") == [said]
