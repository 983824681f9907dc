"""Changing a user's push rules. Every function returns a new ruleset and leaves the one it was given alone.

A ruleset is what clients see under `global`: a list of rules for each kind, most important first.

Source: https://spec.matrix.org/v1.19/client-server-api/#push-rules-api.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeserver.core.predefined_push_rules import KINDS, MASTER, POSTCONTENT, default_ruleset

MAX_PATTERN: Final = 1_024
"""The longest glob of a rule, in characters, so that no rule is slow on a long message."""
MAX_RULE_ID: Final = 255

Ruleset = Mapping[str, Sequence[Mapping[str, Any]]]
MutableRuleset = dict[str, list[dict[str, Any]]]


class PushRuleError(ValueError):
    """A change that cannot be made; the message says why."""


class UnknownPushRule(PushRuleError):
    """There is no such rule, or it is predefined where only the user's own will do."""


class InvalidPushRule(PushRuleError):
    """The kind, the id or the body of the rule is not what the specification asks for."""


class UnknownRelativeRule(PushRuleError):
    """The rule that `before` or `after` names is not one of the user's own of that kind."""


def get_rule(ruleset: Ruleset, kind: str, rule_id: str) -> Mapping[str, Any]:
    """The rule as clients see it. Raises UnknownPushRule."""
    for rule in ruleset.get(kind, ()):
        if rule["rule_id"] == rule_id:
            return rule
    raise UnknownPushRule(f"no {kind} rule {rule_id!r}")


def add_rule(
    ruleset: Ruleset,
    kind: str,
    rule_id: str,
    rule: Mapping[str, Any],
    before: str | None = None,
    after: str | None = None,
) -> MutableRuleset:
    """Create a rule or give one of the user's own new contents. `rule` is the request body: `actions` and, by kind,
    `conditions` or `pattern`.

    A new rule is enabled and the most important of the user's own, unless `before` (which wins) or `after` places it; a
    changed one stays where and as enabled as it is. Raises InvalidPushRule and UnknownRelativeRule.
    """
    _check_rule_id(kind, rule_id)
    result = _copy(ruleset)
    rules = result[kind]
    old = next((index for index, item in enumerate(rules) if item["rule_id"] == rule_id), None)
    new: dict[str, Any] = {"rule_id": rule_id, "default": False, "enabled": True, **_contents(kind, rule)}
    if old is not None:
        new["enabled"] = rules[old]["enabled"]
        if before is None and after is None:
            rules[old] = new
            return result
    if rule_id in (before, after):
        raise UnknownRelativeRule("a rule cannot be placed next to itself")
    if old is not None:
        del rules[old]
    rules.insert(_place(rules, before, after), new)
    return result


def delete_rule(ruleset: Ruleset, kind: str, rule_id: str) -> MutableRuleset:
    """Remove one of the user's own rules. Raises UnknownPushRule."""
    if get_rule(ruleset, kind, rule_id)["default"]:
        raise UnknownPushRule("predefined rules cannot be deleted")
    result = _copy(ruleset)
    result[kind] = [rule for rule in result[kind] if rule["rule_id"] != rule_id]
    return result


def set_enabled(ruleset: Ruleset, kind: str, rule_id: str, enabled: bool) -> MutableRuleset:
    """Enable or disable a rule, predefined or not. Raises UnknownPushRule."""
    return _change(ruleset, kind, rule_id, {"enabled": enabled})


def set_actions(ruleset: Ruleset, kind: str, rule_id: str, actions: object) -> MutableRuleset:
    """Give a rule, predefined or not, other actions. Raises UnknownPushRule and InvalidPushRule."""
    return _change(ruleset, kind, rule_id, {"actions": _actions(actions)})


def with_predefined(
    ruleset: Ruleset, user_id: str, *, legacy_mentions: bool = False, thread_subscriptions: bool = False
) -> MutableRuleset:
    """A stored ruleset brought to this version's predefined rules: what is new is added, what is gone is dropped.

    The user's own rules keep their order, predefined ones what the user changed about them. Raises InvalidIdentifier.
    """
    result: MutableRuleset = {}
    templates = default_ruleset(user_id, legacy_mentions=legacy_mentions, thread_subscriptions=thread_subscriptions)
    for kind, predefined in templates.items():
        stored = ruleset.get(kind, ())
        changed = {rule["rule_id"]: rule for rule in stored if rule.get("default")}
        for rule in predefined:
            if rule["rule_id"] in changed:
                rule.update({key: changed[rule["rule_id"]][key] for key in ("enabled", "actions")})
        own = [dict(rule) for rule in stored if not rule.get("default")]
        # The master rule comes before the user's own, all other predefined rules after them.
        first = 1 if predefined and predefined[0]["rule_id"] == MASTER else 0
        result[kind] = [*predefined[:first], *own, *predefined[first:]]
    return result


def _change(ruleset: Ruleset, kind: str, rule_id: str, changes: Mapping[str, Any]) -> MutableRuleset:
    changed = {**get_rule(ruleset, kind, rule_id), **changes}
    result = _copy(ruleset)
    result[kind] = [changed if rule["rule_id"] == rule_id else rule for rule in result[kind]]
    return result


def _copy(ruleset: Ruleset) -> MutableRuleset:
    kinds = (*KINDS, POSTCONTENT) if POSTCONTENT in ruleset else KINDS
    return {kind: [dict(rule) for rule in ruleset.get(kind, ())] for kind in kinds}


def _place(rules: Sequence[Mapping[str, Any]], before: str | None, after: str | None) -> int:
    """Where to insert among the rules of a kind."""
    relative = before if before is not None else after
    if relative is None:
        return 1 if rules and rules[0]["rule_id"] == MASTER else 0
    for index, rule in enumerate(rules):
        if rule["rule_id"] == relative and not rule["default"]:
            return index if before is not None else index + 1
    raise UnknownRelativeRule(f"before/after rule not found: {relative}")


def _check_rule_id(kind: str, rule_id: str) -> None:
    if kind not in KINDS:
        raise InvalidPushRule(f"no kind of push rule is called {kind!r}")
    if rule_id.startswith("."):
        raise InvalidPushRule("ids that start with a dot are reserved for predefined rules")
    if not rule_id or "/" in rule_id or "\\" in rule_id:
        raise InvalidPushRule("an id is not empty and holds neither slashes nor backslashes")
    if len(rule_id) > MAX_RULE_ID:
        raise InvalidPushRule(f"an id has at most {MAX_RULE_ID} characters")


def _contents(kind: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    contents: dict[str, Any] = {"actions": _actions(rule.get("actions"))}
    if kind == "content":
        contents["pattern"] = _pattern(rule.get("pattern"))
    elif kind in ("override", "underride"):
        contents["conditions"] = _conditions(rule.get("conditions"))
    return contents


def _actions(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidPushRule("actions is not a list")
    for action in value:
        if isinstance(action, Mapping):
            if not isinstance(action.get("set_tweak"), str):
                raise InvalidPushRule("an action that is an object names its tweak in set_tweak")
        elif not isinstance(action, str):
            raise InvalidPushRule("an action is a string or an object")
    # Historical ones (`dont_notify`, `coalesce`) are given back as they came; who evaluates rules ignores them.
    return list(value)


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidPushRule("pattern is not a string")
    if len(value) > MAX_PATTERN:
        raise InvalidPushRule(f"a pattern has at most {MAX_PATTERN} characters")
    return value


def _conditions(value: object) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidPushRule("conditions is not a list")
    for condition in value:
        if not isinstance(condition, Mapping) or not isinstance(condition.get("kind"), str):
            raise InvalidPushRule("a condition is an object with a kind")
        if "pattern" in condition:
            _pattern(condition["pattern"])
    return value
