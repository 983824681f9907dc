"""What the predefined rules and a user's own rules make of events."""

from typing import Any

import pytest

from homeserver.core.events import Event
from homeserver.core.power_levels import PowerLevels
from homeserver.core.push_rules import (
    CompiledRules,
    DefaultRules,
    RoomContext,
    Verdict,
    default_ruleset,
)
from tests.core.sample_events import V11, V12, a_create_pdu, a_pdu

ALICE, BOB = "@alice:example.org", "@bob:example.org"
DEFAULTS = DefaultRules()
LEGACY = DefaultRules(legacy_mentions=True)
CREATE = Event.from_pdu(a_create_pdu(V11), V11)


def an_event(content: dict[str, Any] | None = None, **changes: Any) -> Event:
    content = {"msgtype": "m.text", "body": "hello"} if content is None else content
    return Event.from_pdu(a_pdu(V11, content=content, **changes), V11)


def a_room(members: int = 10, levels: dict[str, Any] | None = None) -> RoomContext:
    return RoomContext(members, PowerLevels.of(levels, CREATE), V11)


def verdict_for_bob(event: Event, room: RoomContext | None = None) -> Verdict:
    """By the predefined rules, asked both ways."""
    room = room or a_room()
    verdict = DEFAULTS.shared(event, room).for_user(BOB, "Bob")
    assert CompiledRules.compile(default_ruleset(BOB), BOB).evaluate(event, room, display_name="Bob") == verdict
    return verdict


def summary(verdict: Verdict) -> tuple[bool, bool, str | None]:
    return verdict.notify, verdict.highlight, verdict.sound


SILENT = (False, False, None)
NOTIFIES = (True, False, None)
RINGS = (True, False, "default")
HIGHLIGHTS = (True, True, None)
MENTIONS = (True, True, "default")


def test_messages_notify_quietly_in_a_room_of_many() -> None:
    assert summary(verdict_for_bob(an_event())) == NOTIFIES


def test_messages_make_a_sound_between_two() -> None:
    assert summary(verdict_for_bob(an_event(), a_room(2))) == RINGS
    assert summary(verdict_for_bob(an_event({}, type="m.room.encrypted"), a_room(2))) == RINGS
    assert summary(verdict_for_bob(an_event({}, type="m.room.encrypted"))) == NOTIFIES


def test_nobody_is_told_of_their_own_events() -> None:
    event = an_event({"m.mentions": {"user_ids": [ALICE]}})
    assert summary(DEFAULTS.shared(event, a_room()).for_user(ALICE, None)) == SILENT
    rules = CompiledRules.compile(default_ruleset(ALICE), ALICE)
    assert summary(rules.evaluate(event, a_room(), display_name=None)) == SILENT


def test_notices_and_events_without_a_rule_are_silent() -> None:
    assert summary(verdict_for_bob(an_event({"msgtype": "m.notice", "body": "beep"}))) == SILENT
    assert summary(verdict_for_bob(an_event({}, type="org.example.custom"))) == SILENT


def test_mentioned_user_is_highlighted_and_others_are_not() -> None:
    event = an_event({"msgtype": "m.text", "body": "hi", "m.mentions": {"user_ids": [BOB]}})
    shared = DEFAULTS.shared(event, a_room())
    assert summary(verdict_for_bob(event)) == MENTIONS
    assert summary(shared.for_user("@carol:example.org", "Carol")) == NOTIFIES
    assert shared.base == shared.for_user("@carol:example.org", "Carol")


@pytest.mark.parametrize("mentions", [{"user_ids": BOB}, {"user_ids": [[BOB]]}, {"user_ids": {BOB: 1}}, [], BOB, None])
def test_malformed_mentions_mention_nobody(mentions: object) -> None:
    event = an_event({"msgtype": "m.text", "body": "hi", "m.mentions": mentions})
    assert summary(verdict_for_bob(event)) == NOTIFIES


@pytest.mark.parametrize(("level", "expected"), [(50, HIGHLIGHTS), (49, NOTIFIES)])
def test_room_mention_needs_the_power_to_notify_the_room(level: int, expected: object) -> None:
    event = an_event({"msgtype": "m.text", "body": "all", "m.mentions": {"room": True}})
    assert summary(verdict_for_bob(event, a_room(levels={"users": {ALICE: level}}))) == expected


def test_room_mention_needs_the_boolean_true() -> None:
    event = an_event({"msgtype": "m.text", "body": "all", "m.mentions": {"room": 1}})
    assert summary(verdict_for_bob(event, a_room(levels={"users": {ALICE: 100}}))) == NOTIFIES


def test_creator_of_a_version_12_room_may_notify_the_room() -> None:
    create = Event.from_pdu(a_create_pdu(V12), V12)
    event = Event.from_pdu(a_pdu(V12, content={"m.mentions": {"room": True}}), V12)
    context = RoomContext(10, PowerLevels.of({}, create), V12)
    assert summary(DEFAULTS.shared(event, context).for_user(BOB)) == HIGHLIGHTS


def test_without_power_levels_nobody_may_notify_the_room() -> None:
    event = an_event({"msgtype": "m.text", "body": "all", "m.mentions": {"room": True}})
    assert summary(verdict_for_bob(event, RoomContext(10, None, V11))) == NOTIFIES


def test_only_the_invited_user_is_told_of_an_invite() -> None:
    invite = an_event({"membership": "invite"}, type="m.room.member", state_key=BOB)
    assert summary(verdict_for_bob(invite)) == RINGS
    assert summary(DEFAULTS.shared(invite, a_room()).for_user("@carol:example.org")) == SILENT


def test_joins_reactions_acls_and_edits_are_silent() -> None:
    assert summary(verdict_for_bob(an_event({"membership": "join"}, type="m.room.member", state_key=ALICE))) == SILENT
    assert summary(verdict_for_bob(an_event({}, type="m.reaction"))) == SILENT
    assert summary(verdict_for_bob(an_event({}, type="m.room.server_acl", state_key=""))) == SILENT
    edit = {"msgtype": "m.text", "body": "* hello", "m.relates_to": {"rel_type": "m.replace", "event_id": "$e"}}
    assert summary(verdict_for_bob(an_event(edit))) == SILENT


def test_tombstone_highlights_only_as_state() -> None:
    assert summary(verdict_for_bob(an_event({}, type="m.room.tombstone", state_key=""))) == HIGHLIGHTS
    assert summary(verdict_for_bob(an_event({}, type="m.room.tombstone"))) == SILENT


def test_calls_ring() -> None:
    assert summary(verdict_for_bob(an_event({}, type="m.call.invite"))) == (True, False, "ring")


def test_names_in_the_body_count_only_where_legacy_mentions_are_on() -> None:
    event = an_event({"msgtype": "m.text", "body": "ping BOB!"})
    assert summary(DEFAULTS.shared(event, a_room()).for_user(BOB, "Robert")) == NOTIFIES
    assert summary(LEGACY.shared(event, a_room()).for_user(BOB, "Robert")) == MENTIONS
    assert summary(LEGACY.shared(event, a_room()).for_user("@robert:example.org", "Bob")) == MENTIONS
    assert summary(LEGACY.shared(event, a_room()).for_user("@robert:example.org", "")) == NOTIFIES


def test_names_in_the_body_do_not_count_beside_intentional_mentions() -> None:
    event = an_event({"msgtype": "m.text", "body": "ping bob @room", "m.mentions": {}})
    room = a_room(levels={"users": {ALICE: 100}})
    assert summary(LEGACY.shared(event, room).for_user(BOB, "Bob")) == NOTIFIES


def test_master_rule_silences_everything_when_it_is_enabled() -> None:
    ruleset = default_ruleset(BOB)
    ruleset["override"][0]["enabled"] = True
    event = an_event({"m.mentions": {"user_ids": [BOB]}})
    rules = CompiledRules.compile(ruleset, BOB)
    assert summary(rules.evaluate(event, a_room(), display_name=None)) == SILENT


def test_ruleset_of_another_user_is_a_fresh_object() -> None:
    default_ruleset(BOB)["override"][0]["enabled"] = True
    assert default_ruleset(BOB)["override"][0]["enabled"] is False
    assert BOB in str(default_ruleset(BOB))
    assert "\0" not in str(default_ruleset(BOB, legacy_mentions=True))


def rules_with(kind: str, *rules: dict[str, Any]) -> CompiledRules:
    return CompiledRules.compile({**default_ruleset(BOB), kind: list(rules)}, BOB)


def a_rule(conditions: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
    rule = {"rule_id": "mine", "default": False, "enabled": True, "actions": ["notify", {"set_tweak": "highlight"}]}
    return {**rule, **({} if conditions is None else {"conditions": conditions}), **changes}


def is_matched(condition: object, event: Event | None = None, room: RoomContext | None = None) -> bool:
    rules = rules_with("override", a_rule([condition]))
    return rules.evaluate(event or an_event(), room or a_room(), display_name="Bob B").highlight


@pytest.mark.parametrize(
    ("key", "pattern", "matched"),
    [
        ("type", "m.room.message", True),
        ("type", "M.Room.M?ss*", True),
        ("type", "m.room", False),
        ("sender", "@alice:*", True),
        ("room_id", "!room:example.org", True),
        ("event_id", "$*", True),
        ("content.body", "cake", True),
        ("content.body", "cak", False),
        ("content.msgtype", "m.te*", True),
        ("content.msgtype", "te*", False),
        ("content.topic", "*", False),
        ("content.number", "5", False),
        ("content", "*", False),
        (r"content.m\.dotted", "yes", True),
        ("content.m.dotted", "yes", False),
        ("state_key", "*", False),
        ("depth", "*", False),
        ("signatures.example\\.org", "*", False),
        (5, "*", False),
        ("type", None, False),
    ],
)
def test_event_match(key: object, pattern: object, matched: bool) -> None:
    event = an_event({"msgtype": "m.text", "body": "Some CAKE, please", "number": 5, "m.dotted": "yes"})
    assert is_matched({"kind": "event_match", "key": key, "pattern": pattern}, event) is matched


@pytest.mark.parametrize(
    ("name", "value", "matched"),
    [
        ("flag", True, True),
        ("flag", 1, False),
        ("flag", "true", False),
        ("one", 1, True),
        ("one", True, False),
        ("null", None, True),
        ("absent", None, False),
        ("text", "Text", True),
        ("text", "text", False),
        ("list", [1], False),
        ("one", 2**53, False),
    ],
)
def test_event_property_is_compares_without_casting(name: str, value: object, matched: bool) -> None:
    event = an_event({"flag": True, "one": 1, "null": None, "text": "Text", "list": [1]})
    condition = {"kind": "event_property_is", "key": f"content.{name}", "value": value}
    assert is_matched(condition, event) is matched


@pytest.mark.parametrize(
    ("value", "matched"), [("a", True), ("A", False), (1, True), (True, False), (None, True), ([], False), ({}, False)]
)
def test_event_property_contains_compares_items_without_casting(value: object, matched: bool) -> None:
    event = an_event({"list": ["a", 1, None, [], {}], "text": "a"})
    assert is_matched({"kind": "event_property_contains", "key": "content.list", "value": value}, event) is matched
    assert not is_matched({"kind": "event_property_contains", "key": "content.text", "value": value}, event)


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("2", True),
        ("==2", True),
        ("<3", True),
        ("<2", False),
        (">1", True),
        (">=2", True),
        ("<=2", True),
        ("3", False),
        ("=2", False),
        ("two", False),
        ("", False),
        ("> 1", False),
        (2, False),
    ],
)
def test_room_member_count(text: object, matched: bool) -> None:
    assert is_matched({"kind": "room_member_count", "is": text}, room=a_room(2)) is matched


@pytest.mark.parametrize(("body", "matched"), [("hi bob b!", True), ("hi Bob  B", False), ("hi bob bx", False)])
def test_contains_display_name_takes_the_name_literally(body: str, matched: bool) -> None:
    assert is_matched({"kind": "contains_display_name"}, an_event({"body": body})) is matched
    starred = rules_with("override", a_rule([{"kind": "contains_display_name"}]))
    assert not starred.evaluate(an_event({"body": body}), a_room(), display_name="b*b").highlight


def test_sender_notification_permission_looks_up_the_kind_of_notification() -> None:
    condition = {"kind": "sender_notification_permission", "key": "cheer"}
    assert is_matched(condition, room=a_room(levels={"users": {ALICE: 10}, "notifications": {"cheer": 10}}))
    assert not is_matched(condition, room=a_room(levels={"users": {ALICE: 10}}))


@pytest.mark.parametrize("condition", [{"kind": "org.example.new"}, {}, {"kind": ["event_match"]}, "event_match", None])
def test_conditions_that_are_not_understood_never_hold(condition: object) -> None:
    assert not is_matched(condition)


def test_rule_without_conditions_always_matches() -> None:
    assert rules_with("override", a_rule([])).evaluate(an_event(), a_room(), display_name=None).highlight
    assert rules_with("override", a_rule()).evaluate(an_event(), a_room(), display_name=None).highlight


def test_disabled_rule_never_matches() -> None:
    rules = rules_with("override", a_rule([], enabled=False))
    assert not rules.evaluate(an_event(), a_room(), display_name=None).highlight


def test_content_rule_searches_the_body_for_words() -> None:
    rules = rules_with("content", a_rule(pattern="ca*e"))
    assert rules.evaluate(an_event({"body": "More CAKE!"}), a_room(), display_name=None).highlight
    assert not rules.evaluate(an_event({"body": "decaked"}), a_room(), display_name=None).highlight
    assert not rules.evaluate(an_event({"body": 5}), a_room(), display_name=None).highlight


def test_room_rule_comes_before_sender_rule_and_after_content_rule() -> None:
    event = an_event({"body": "cake"})
    ruleset = {
        "room": [a_rule(rule_id=event.room_id, actions=[])],
        "sender": [a_rule(rule_id=ALICE, actions=["notify"])],
    }
    evaluate = CompiledRules.compile(ruleset, BOB).evaluate
    assert summary(evaluate(event, a_room(), display_name=None)) == SILENT
    ruleset["content"] = [a_rule(pattern="cake")]
    assert CompiledRules.compile(ruleset, BOB).evaluate(event, a_room(), display_name=None).highlight


def test_sender_rule_silences_a_sender() -> None:
    rules = rules_with("sender", a_rule(rule_id=ALICE, actions=[]))
    assert summary(rules.evaluate(an_event(), a_room(), display_name=None)) == SILENT


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["notify", {"set_tweak": "highlight", "value": False}], NOTIFIES),
        (["notify", {"set_tweak": "highlight", "value": True}], HIGHLIGHTS),
        (["notify", {"set_tweak": "sound", "value": 5}], NOTIFIES),
        (["dont_notify"], SILENT),
        (["coalesce"], SILENT),
        ([{"set_tweak": "highlight"}], SILENT),
        ("notify", SILENT),
        ([5, None, {}], SILENT),
    ],
)
def test_actions_are_read(actions: object, expected: object) -> None:
    assert summary(Verdict.of(actions)) == expected


def test_tweaks_that_only_clients_know_are_passed_on() -> None:
    tweak = {"set_tweak": "org.example.flash", "value": [1]}
    assert Verdict.of(["notify", "dont_notify", tweak]).actions == ["notify", tweak]


@pytest.mark.parametrize("ruleset", [{}, {"override": None}, {"override": [None, {}]}, {"room": [{"rule_id": 5}]}])
def test_malformed_rulesets_compile_to_something(ruleset: dict[str, Any]) -> None:
    verdict = CompiledRules.compile(ruleset, BOB).evaluate(an_event(), a_room(), display_name=None)
    assert not verdict.notify
