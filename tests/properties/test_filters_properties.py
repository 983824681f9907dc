"""Filters agree with the plain reading of their lists, and what they exclude is never let through."""

import fnmatch
import re
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.filters import EventFilter, Filter, TypePatterns
from homeserver.core.globs import glob_matcher, word_matcher

types = st.text("m.ab", max_size=6)
patterns = st.text("m.ab*", max_size=6)
users = st.sampled_from(["@a:x", "@b:x", "@c:x"])
rooms = st.sampled_from(["!a:x", "!b:x", "!c"])
definitions = st.fixed_dictionaries(
    {},
    optional={
        "types": st.lists(patterns, max_size=3),
        "not_types": st.lists(patterns, max_size=3),
        "senders": st.lists(users, max_size=3),
        "not_senders": st.lists(users, max_size=3),
        "rooms": st.lists(rooms, max_size=3),
        "not_rooms": st.lists(rooms, max_size=3),
        "contains_url": st.booleans(),
    },
)


def matches_plainly(pattern: str, event_type: str) -> bool:
    expression = "".join(".*" if character == "*" else re.escape(character) for character in pattern)
    return re.fullmatch(expression, event_type, re.DOTALL) is not None


def allows_plainly(definition: dict[str, Any], event_type: str, sender: str, room_id: str, url: bool) -> bool:
    included = (
        ("types", any(matches_plainly(pattern, event_type) for pattern in definition.get("types", []))),
        ("senders", sender in definition.get("senders", [])),
        ("rooms", room_id in definition.get("rooms", [])),
    )
    excluded = (
        any(matches_plainly(pattern, event_type) for pattern in definition.get("not_types", []))
        or sender in definition.get("not_senders", [])
        or room_id in definition.get("not_rooms", [])
    )
    wanted = all(found for key, found in included if key in definition)
    return wanted and not excluded and definition.get("contains_url", url) == url


@given(definitions, types, users, rooms, st.booleans())
def test_a_filter_allows_what_its_lists_say(
    definition: dict[str, Any], event_type: str, sender: str, room_id: str, url: bool
) -> None:
    events = EventFilter.parse(definition)
    content = {"url": "mxc://x/y"} if url else {}
    expected = allows_plainly(definition, event_type, sender, room_id, url)
    assert events.allows_event(event_type, sender, content, room_id) == expected
    if expected:
        assert events.allows(event_type, sender)
        assert events.allows_room(room_id)


@given(definitions, types, users, rooms)
def test_excluding_what_is_included_lets_nothing_through(
    definition: dict[str, Any], event_type: str, sender: str, room_id: str
) -> None:
    definition["not_types"] = ["*"]
    assert not EventFilter.parse(definition).allows_event(event_type, sender, {}, room_id)


@given(st.lists(patterns, max_size=4), types)
def test_type_patterns_match_as_one_by_one(several: list[str], event_type: str) -> None:
    assert TypePatterns(several).matches(event_type) == any(matches_plainly(p, event_type) for p in several)


@given(definitions)
def test_parsing_the_source_gives_the_same_filter(definition: dict[str, Any]) -> None:
    parsed = Filter.parse({"room": {"timeline": definition}})
    assert Filter.parse(orjson.loads(parsed.source)) == parsed


@given(st.text("ab*?", max_size=8), st.text("ab\n", max_size=12))
def test_globs_match_as_shell_globs_do(pattern: str, text: str) -> None:
    assert glob_matcher(pattern)(text) == fnmatch.fnmatchcase(text, pattern)


@given(st.text("a_ *?-", max_size=6), st.text("a_ -!", max_size=10))
def test_word_globs_match_some_part_between_boundaries(pattern: str, text: str) -> None:
    word = set("a_")

    def is_boundary(position: int) -> bool:
        return position in (0, len(text)) or not {text[position - 1], text[position]} <= word

    expected = any(
        fnmatch.fnmatchcase(text[start:end], pattern)
        for start in range(len(text) + 1)
        for end in range(start, len(text) + 1)
        if is_boundary(start) and is_boundary(end)
    )
    assert word_matcher(pattern)(text) == expected
