"""Adding, moving and changing push rules."""

from typing import Any

import pytest

from homeserver.core.push_rule_editing import (
    MAX_PATTERN,
    InvalidPushRule,
    UnknownPushRule,
    UnknownRelativeRule,
    add_rule,
    delete_rule,
    get_rule,
    set_actions,
    set_enabled,
    with_predefined,
)
from homeserver.core.push_rules import default_ruleset

BOB = "@bob:example.org"
RULE = {"actions": ["notify"]}


def ids(ruleset: dict[str, list[dict[str, Any]]], kind: str) -> list[str]:
    """The user's own rules, most important first."""
    return [rule["rule_id"] for rule in ruleset[kind] if not rule["default"]]


def with_rooms(*names: str) -> dict[str, list[dict[str, Any]]]:
    ruleset = default_ruleset(BOB)
    for name in reversed(names):
        ruleset = add_rule(ruleset, "room", name, RULE)
    return ruleset


def test_new_rule_is_enabled_and_the_most_important_of_the_users_own() -> None:
    ruleset = add_rule(with_rooms("!b:x"), "room", "!a:x", RULE)
    assert ids(ruleset, "room") == ["!a:x", "!b:x"]
    expected = {"rule_id": "!a:x", "default": False, "enabled": True, "actions": ["notify"]}
    assert get_rule(ruleset, "room", "!a:x") == expected


def test_master_rule_stays_above_the_users_own_and_the_others_below() -> None:
    ruleset = add_rule(default_ruleset(BOB), "override", "mine", {"actions": []})
    assert [rule["rule_id"] for rule in ruleset["override"]][:3] == [
        ".m.rule.master",
        "mine",
        ".m.rule.suppress_notices",
    ]
    assert ruleset["override"][1]["conditions"] == []


def test_before_and_after_place_a_rule() -> None:
    ruleset = with_rooms("!a:x", "!b:x")
    assert ids(add_rule(ruleset, "room", "!c:x", RULE, before="!b:x"), "room") == ["!a:x", "!c:x", "!b:x"]
    assert ids(add_rule(ruleset, "room", "!c:x", RULE, after="!b:x"), "room") == ["!a:x", "!b:x", "!c:x"]
    both = add_rule(ruleset, "room", "!c:x", RULE, before="!a:x", after="!b:x")
    assert ids(both, "room") == ["!c:x", "!a:x", "!b:x"]


def test_existing_rule_is_moved_where_it_is_asked_to() -> None:
    ruleset = with_rooms("!a:x", "!b:x", "!c:x")
    assert ids(add_rule(ruleset, "room", "!c:x", RULE, before="!a:x"), "room") == ["!c:x", "!a:x", "!b:x"]
    assert ids(add_rule(ruleset, "room", "!a:x", RULE, after="!b:x"), "room") == ["!b:x", "!a:x", "!c:x"]


def test_changed_rule_keeps_its_place_and_stays_disabled() -> None:
    ruleset = set_enabled(with_rooms("!a:x", "!b:x"), "room", "!b:x", False)
    ruleset = add_rule(ruleset, "room", "!b:x", {"actions": []})
    assert ids(ruleset, "room") == ["!a:x", "!b:x"]
    assert get_rule(ruleset, "room", "!b:x")["enabled"] is False
    assert get_rule(ruleset, "room", "!b:x")["actions"] == []


@pytest.mark.parametrize("relative", ["!gone:x", ".m.rule.master", "!a:x"])
def test_rule_is_only_placed_next_to_another_of_the_users_own(relative: str) -> None:
    with pytest.raises(UnknownRelativeRule):
        add_rule(with_rooms("!a:x"), "room", "!a:x", RULE, after=relative)


def test_predefined_rule_is_no_place_to_stand_next_to() -> None:
    with pytest.raises(UnknownRelativeRule):
        add_rule(default_ruleset(BOB), "underride", "mine", RULE, before=".m.rule.message")


@pytest.mark.parametrize(
    ("kind", "rule_id", "rule"),
    [
        ("postcontent", "a", RULE),
        ("room", ".m.rule.mine", RULE),
        ("room", "a/b", RULE),
        ("room", "a\\b", RULE),
        ("room", "", RULE),
        ("room", "a" * 256, RULE),
        ("room", "a", {}),
        ("room", "a", {"actions": "notify"}),
        ("room", "a", {"actions": [5]}),
        ("room", "a", {"actions": [{"value": 5}]}),
        ("content", "a", {"actions": []}),
        ("content", "a", {"actions": [], "pattern": 5}),
        ("content", "a", {"actions": [], "pattern": "a" * (MAX_PATTERN + 1)}),
        ("override", "a", {"actions": [], "conditions": {}}),
        ("override", "a", {"actions": [], "conditions": [{"key": "type"}]}),
        ("override", "a", {"actions": [], "conditions": [{"kind": "event_match", "pattern": 5}]}),
    ],
)
def test_malformed_rule_is_refused(kind: str, rule_id: str, rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidPushRule):
        add_rule(default_ruleset(BOB), kind, rule_id, rule)


def test_unknown_conditions_and_actions_are_kept_for_clients_that_know_them() -> None:
    rule = {"actions": ["org.example.wink"], "conditions": [{"kind": "org.example.mood"}]}
    stored = get_rule(add_rule(default_ruleset(BOB), "override", "a", rule), "override", "a")
    assert stored["actions"] == rule["actions"]
    assert stored["conditions"] == rule["conditions"]


def test_historical_actions_come_back_as_they_were_given() -> None:
    ruleset = add_rule(default_ruleset(BOB), "room", "!a:x", {"actions": ["dont_notify"]})
    assert get_rule(ruleset, "room", "!a:x")["actions"] == ["dont_notify"]
    ruleset = set_actions(ruleset, "room", "!a:x", ["notify", "coalesce"])
    assert get_rule(ruleset, "room", "!a:x")["actions"] == ["notify", "coalesce"]


def test_predefined_rules_can_be_changed_but_not_deleted() -> None:
    ruleset = set_enabled(default_ruleset(BOB), "override", ".m.rule.master", True)
    ruleset = set_actions(ruleset, "underride", ".m.rule.message", [])
    assert get_rule(ruleset, "override", ".m.rule.master")["enabled"] is True
    assert get_rule(ruleset, "underride", ".m.rule.message")["actions"] == []
    with pytest.raises(UnknownPushRule):
        delete_rule(ruleset, "override", ".m.rule.master")


def test_deleted_rule_is_gone() -> None:
    ruleset = delete_rule(with_rooms("!a:x", "!b:x"), "room", "!a:x")
    assert ids(ruleset, "room") == ["!b:x"]
    with pytest.raises(UnknownPushRule):
        delete_rule(ruleset, "room", "!a:x")


def test_what_does_not_exist_cannot_be_changed() -> None:
    with pytest.raises(UnknownPushRule):
        set_enabled(default_ruleset(BOB), "room", "!a:x", True)
    with pytest.raises(UnknownPushRule):
        set_actions(default_ruleset(BOB), "postcontent", "a", [])


def test_editing_leaves_the_given_ruleset_alone() -> None:
    ruleset = with_rooms("!a:x")
    add_rule(ruleset, "room", "!b:x", RULE)
    set_enabled(ruleset, "room", "!a:x", False)
    delete_rule(ruleset, "room", "!a:x")
    assert ruleset == with_rooms("!a:x")


def test_stored_ruleset_gains_new_predefined_rules_and_loses_dropped_ones() -> None:
    stored = default_ruleset(BOB, legacy_mentions=True)
    stored = add_rule(stored, "override", "mine", {"actions": []})
    stored = set_enabled(stored, "override", ".m.rule.reaction", False)
    stored["override"] = [rule for rule in stored["override"] if rule["rule_id"] != ".m.rule.suppress_edits"]
    ruleset = with_predefined(stored, BOB)
    assert ids(ruleset, "override") == ["mine"]
    assert ruleset["override"][0]["rule_id"] == ".m.rule.master"
    assert get_rule(ruleset, "override", ".m.rule.reaction")["enabled"] is False
    assert get_rule(ruleset, "override", ".m.rule.suppress_edits")["enabled"] is True
    assert ruleset["content"] == []
    assert with_predefined(ruleset, BOB) == ruleset
