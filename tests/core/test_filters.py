"""What filters let through, and which definitions are refused."""

from typing import Any

import pytest

from homeserver.core.filters import EventFilter, Filter, InvalidFilter, RoomFilter, TypePatterns


def test_the_filter_of_those_who_give_none_restricts_nothing_but_the_length_of_timelines() -> None:
    assert Filter.parse({}) == Filter.ALL
    assert Filter.ALL.room.timeline.limit == 10
    assert Filter.ALL.room.state.limit is None
    assert Filter.ALL.room.timeline.allows_event("m.anything", "@a:x", {}, "!r:x")


def test_timelines_have_at_most_a_hundred_events() -> None:
    assert Filter.parse({"room": {"timeline": {"limit": 5000}}}).room.timeline.limit == 100
    assert Filter.parse({"room": {"timeline": {"limit": 0}}}).room.timeline.limit == 0


@pytest.mark.parametrize(
    ("pattern", "event_type", "matches"),
    [
        ("m.room.message", "m.room.message", True),
        ("m.room.message", "m.room.messages", False),
        ("m.room.*", "m.room.", True),
        ("m.room.*", "m.room.name", True),
        ("m.room.*", "m.roomXname", False),
        ("*", "", True),
        ("*.name", "m.room.name", True),
        ("m.*.name", "m.room.name", True),
        ("m.*.name", "m.name", False),
        ("m.room.m?", "m.room.me", False),
        ("m.room.m?", "m.room.m?", True),
        ("M.ROOM.NAME", "m.room.name", False),
        ("m.[a-z]", "m.a", False),
    ],
)
def test_star_is_the_only_wildcard_of_types(pattern: str, event_type: str, matches: bool) -> None:
    assert TypePatterns([pattern]).matches(event_type) is matches


def test_exclusion_wins_over_inclusion() -> None:
    events = EventFilter.parse(
        {
            "types": ["m.room.*"],
            "not_types": ["m.room.name"],
            "senders": ["@a:x", "@b:x"],
            "not_senders": ["@b:x"],
        }
    )
    assert events.allows("m.room.message", "@a:x")
    assert not events.allows("m.room.name", "@a:x")
    assert not events.allows("m.room.message", "@b:x")
    assert not events.allows("m.room.message", "@c:x")
    assert not events.allows("m.reaction", "@a:x")


@pytest.mark.parametrize("key", ["types", "senders", "rooms"])
def test_an_empty_list_lets_nothing_through(key: str) -> None:
    assert not EventFilter.parse({key: []}).allows_event("m.room.message", "@a:x", {}, "!r:x")


@pytest.mark.parametrize("key", ["not_types", "not_senders", "not_rooms"])
def test_an_empty_exclusion_excludes_nothing(key: str) -> None:
    assert EventFilter.parse({key: []}).allows_event("m.room.message", "@a:x", {}, "!r:x")


def test_account_data_has_no_sender_to_ask_for() -> None:
    assert EventFilter.parse({"not_senders": ["@a:x"]}).allows("m.direct")
    assert not EventFilter.parse({"senders": ["@a:x"]}).allows("m.direct")


@pytest.mark.parametrize(
    ("wanted", "content", "allowed"),
    [
        (True, {"url": "mxc://x/y"}, True),
        (True, {}, False),
        (False, {"url": "mxc://x/y"}, False),
        (False, {}, True),
    ],
)
def test_contains_url_looks_for_the_key(wanted: bool, content: dict[str, Any], allowed: bool) -> None:
    assert EventFilter.parse({"contains_url": wanted}).allows_event("m.room.message", "@a:x", content) is allowed


def test_rooms_of_the_section_come_after_those_of_the_filter() -> None:
    rooms = RoomFilter.parse({"rooms": ["!a:x", "!b:x"], "not_rooms": ["!b:x"], "timeline": {"not_rooms": ["!a:x"]}})
    assert rooms.allows_room("!a:x")
    assert not rooms.allows_room("!b:x")
    assert not rooms.allows_room("!c:x")
    assert not rooms.timeline.allows_event("m.room.message", "@a:x", {}, "!a:x")


def test_options_are_read() -> None:
    parsed = Filter.parse(
        {
            "event_format": "federation",
            "room": {
                "include_leave": True,
                "state": {"lazy_load_members": True, "include_redundant_members": True},
                "timeline": {"unread_thread_notifications": True},
            },
        }
    )
    assert parsed.event_format == "federation"
    assert parsed.room.include_leave
    assert parsed.room.state.lazy_load_members
    assert parsed.room.state.include_redundant_members
    assert parsed.room.timeline.unread_thread_notifications
    assert parsed.room.state.is_unrestricted


def test_null_counts_as_absent() -> None:
    parsed = Filter.parse(
        {
            "room": {"timeline": {"types": None, "limit": None}, "rooms": None, "state": None},
            "presence": None,
            "event_fields": None,
            "event_format": None,
        }
    )
    assert parsed == Filter.parse({}).__class__(source=parsed.source)


def test_equal_filters_have_equal_sources_whatever_their_order() -> None:
    left = Filter.parse({"presence": {"types": ["a"], "limit": 1}, "room": {}})
    right = Filter.parse({"room": {}, "presence": {"limit": 1, "types": ["a"]}})
    assert left.source == right.source
    assert left.source != Filter.ALL.source


@pytest.mark.parametrize(
    "definition",
    [
        [],
        "text",
        {"presence": "not_an_object"},
        {"room": "not_an_object"},
        *({"room": {section: "not_an_object"}} for section in ("timeline", "state", "ephemeral", "account_data")),
        *(
            {"room": {"timeline": {key: "not_a_list"}}}
            for key in ("types", "not_types", "senders", "not_senders", "rooms", "not_rooms")
        ),
        {"room": {"timeline": {"types": [1]}}},
        {"room": {"timeline": {"rooms": ["not_a_room_id"]}}},
        {"room": {"timeline": {"senders": ["not_a_sender_id"]}}},
        {"room": {"timeline": {"senders": ["@no_server"]}}},
        {"room": {"timeline": {"limit": -1}}},
        {"room": {"timeline": {"limit": "10"}}},
        {"room": {"timeline": {"limit": True}}},
        {"room": {"timeline": {"contains_url": "yes"}}},
        {"room": {"include_leave": 1}},
        {"event_fields": "content"},
        {"event_format": "both"},
        {"extra": "\ud800"},
    ],
)
def test_a_malformed_filter_is_refused(definition: object) -> None:
    with pytest.raises(InvalidFilter):
        Filter.parse(definition)


def test_unknown_properties_are_allowed() -> None:
    assert Filter.parse({"org.example.extra": [1, {"a": None}]}).room == Filter.ALL.room


def test_only_the_fields_that_are_asked_for_are_selected() -> None:
    event = {
        "type": "m.room.message",
        "sender": "@a:x",
        "content": {"body": "hi", "m.relates_to": {"rel_type": "m.thread", "event_id": "$e"}, "url": None},
    }
    fields = ["type", "content.body", r"content.m\.relates_to.rel_type", "content.url", "content.gone", "room_id"]
    assert Filter.parse({"event_fields": fields}).select_fields(event) == {
        "type": "m.room.message",
        "content": {"body": "hi", "m.relates_to": {"rel_type": "m.thread"}, "url": None},
    }
    assert event["content"]["m.relates_to"]["event_id"] == "$e"  # type: ignore[index]


def test_selecting_a_part_of_what_was_selected_whole_leaves_the_event_alone() -> None:
    event = {"content": {"a": {"b": 1, "c": 2}}}
    selected = Filter.parse({"event_fields": ["content", "content.a.b"]}).select_fields(event)
    assert selected == event
    selected["content"]["a"]["b"] = 3
    assert event["content"]["a"]["b"] == 1


def test_without_event_fields_everything_is_selected() -> None:
    assert Filter.ALL.select_fields({"a": 1}) == {"a": 1}
