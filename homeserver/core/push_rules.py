"""Push rules: which events a user is told about, and how.

Most users have the predefined rules and nothing else, so in a room of many members an event is looked at once
(`DefaultRules.shared`) and each of them costs a few set look-ups (`SharedVerdict.for_user`). A user with rules of their
own has them compiled once (`CompiledRules.compile`). Both give the same answer.

Source: https://spec.matrix.org/v1.19/client-server-api/#push-rules.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.events import Event
from homeserver.core.globs import glob_matcher, word_matcher
from homeserver.core.identifiers import localpart_of
from homeserver.core.predefined_push_rules import (
    LEGACY_MENTION_RULES,
    LOCALPART,
    POSTCONTENT,
    USER_ID,
    default_ruleset,
    rule_templates,
)
from homeserver.core.property_paths import split_path
from homeserver.core.push_conditions import (
    Condition,
    RoomContext,
    Subject,
    body_matches,
    body_names,
    compile_condition,
    never,
)

__all__ = ["CompiledRules", "DefaultRules", "RoomContext", "SharedVerdict", "Verdict", "default_ruleset"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the first matching rule asks for. `actions` is the rule's own list: not to be changed."""

    notify: bool
    highlight: bool
    sound: str | None
    actions: list[Any]

    @classmethod
    def of(cls, actions: object) -> "Verdict":
        """Read a rule's actions. `dont_notify`, `coalesce` and whatever is not understood are left out."""
        notify, highlight, sound = False, False, None
        kept: list[Any] = []
        for action in actions if isinstance(actions, list) else ():
            if action == "notify":
                notify = True
            elif isinstance(action, Mapping) and isinstance(action.get("set_tweak"), str):
                tweak, value = action["set_tweak"], action.get("value")
                if tweak == "highlight":
                    highlight = "value" not in action or value is True
                elif tweak == "sound":
                    sound = value if isinstance(value, str) else None
            else:
                continue
            kept.append(action)
        return cls(notify, notify and highlight, sound, kept)


# Of how many types of events the rules are kept that may apply to them: rooms hold what senders make up, too.
_KNOWN_TYPES: Final = 200
NOTHING: Final = Verdict(notify=False, highlight=False, sound=None, actions=[])


@dataclass(frozen=True, slots=True)
class _Rule:
    conditions: tuple[Condition, ...]
    verdict: Verdict

    def matches(self, subject: Subject, display_name: str | None) -> bool:
        return all(holds(subject, display_name) for holds in self.conditions)


class CompiledRules:
    """The rules of one user, in checking order."""

    __slots__ = ("_after", "_before", "_rooms", "_senders", "_user_id")

    def __init__(
        self,
        user_id: str,
        before: tuple[_Rule, ...],
        rooms: Mapping[str, Verdict],
        senders: Mapping[str, Verdict],
        after: tuple[_Rule, ...],
    ) -> None:
        self._user_id = user_id
        self._before = before  # override, content, postcontent
        self._rooms = rooms
        self._senders = senders
        self._after = after  # underride

    @classmethod
    def compile(cls, ruleset: Mapping[str, Any], user_id: str) -> "CompiledRules":
        """Compile a ruleset as clients see it. Rules that are disabled or malformed never match."""
        return cls(
            user_id,
            before=(
                *_conditional(ruleset, "override"),
                *_content(ruleset),
                *_conditional(ruleset, POSTCONTENT),
            ),
            rooms=_by_rule_id(ruleset, "room"),
            senders=_by_rule_id(ruleset, "sender"),
            after=tuple(_conditional(ruleset, "underride")),
        )

    def evaluate(self, event: Event, context: RoomContext, *, display_name: str | None) -> Verdict:
        """The verdict for this user, whose display name in the room is given. Nobody is told of their own events."""
        return self.evaluate_subject(Subject(event, context), display_name)

    def evaluate_subject(self, subject: Subject, display_name: str | None) -> Verdict:
        """As `evaluate`, for several users and one event: what they all ask for is worked out once."""
        event = subject.event
        if event.sender == self._user_id:
            return NOTHING
        for rule in self._before:
            if rule.matches(subject, display_name):
                return rule.verdict
        verdict = self._rooms.get(event.room_id) or self._senders.get(event.sender)
        if verdict is not None:
            return verdict
        for rule in self._after:
            if rule.matches(subject, display_name):
                return rule.verdict
        return NOTHING


def _enabled(ruleset: Mapping[str, Any], kind: str) -> Iterable[Mapping[str, Any]]:
    rules = ruleset.get(kind)
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, Mapping) and rule.get("enabled", True) is True:
            yield rule


def _conditional(ruleset: Mapping[str, Any], kind: str) -> Iterable[_Rule]:
    for rule in _enabled(ruleset, kind):
        conditions = rule.get("conditions", [])
        compiled: list[Condition] = [never]
        if isinstance(conditions, list):
            compiled = [compile_condition(condition) for condition in conditions]
        if rule.get("rule_id") in LEGACY_MENTION_RULES:
            compiled.insert(0, _has_no_mentions)
        yield _Rule(tuple(compiled), Verdict.of(rule.get("actions")))


def _content(ruleset: Mapping[str, Any]) -> Iterable[_Rule]:
    for rule in _enabled(ruleset, "content"):
        pattern = rule.get("pattern")
        if isinstance(pattern, str):
            guard = (_has_no_mentions,) if rule.get("rule_id") in LEGACY_MENTION_RULES else ()
            yield _Rule((*guard, body_matches(pattern)), Verdict.of(rule.get("actions")))


def _by_rule_id(ruleset: Mapping[str, Any], kind: str) -> dict[str, Verdict]:
    return {
        rule["rule_id"]: Verdict.of(rule.get("actions"))
        for rule in _enabled(ruleset, kind)
        if isinstance(rule.get("rule_id"), str)
    }


def _has_no_mentions(subject: Subject, _display_name: str | None) -> bool:
    # A sender that fills `m.mentions` says all there is to say: the body is not searched for names.
    return "m.mentions" not in subject.content


UserPredicate = Callable[[str, str | None], bool]
"""Whether what is left of a rule holds for a user id and the user's display name in the room."""
_Probe = Callable[[Subject], UserPredicate | None]
"""Reads from an event what a condition compares users with; None where no user can match."""


class SharedVerdict:
    """What the predefined rules say of one event, for everybody who changed nothing about them."""

    __slots__ = ("_candidates", "_sender", "base")

    def __init__(self, base: Verdict, candidates: tuple[tuple[UserPredicate, Verdict], ...], sender: str) -> None:
        self.base = base
        self._candidates = candidates
        self._sender = sender

    def for_user(self, user_id: str, display_name: str | None = None) -> Verdict:
        """The verdict for a user: the base verdict, unless a rule names the user or the user sent the event."""
        for holds, verdict in self._candidates:
            if holds(user_id, display_name):
                return verdict if user_id != self._sender else NOTHING
        return self.base if user_id != self._sender else NOTHING


@dataclass(frozen=True, slots=True)
class _SharedRule:
    of_type: Callable[[str], bool] | None
    conditions: tuple[Condition, ...]
    probe: _Probe | None
    verdict: Verdict


class DefaultRules:
    """The predefined rules, compiled for all users at once. Build one for a process."""

    __slots__ = ("_rules", "_rules_by_type")

    def __init__(self, *, legacy_mentions: bool = False, thread_subscriptions: bool = False) -> None:
        self._rules_by_type: dict[str, tuple[_SharedRule, ...]] = {}
        templates = rule_templates(legacy_mentions=legacy_mentions, thread_subscriptions=thread_subscriptions)
        kinds = ("override", "content", POSTCONTENT, "underride")
        self._rules = tuple(_share(rule) for kind in kinds for rule in templates.get(kind, ()) if rule["enabled"])

    def shared(self, event: Event, context: RoomContext) -> SharedVerdict:
        """Look at an event once, for all users."""
        return self.shared_subject(Subject(event, context))

    def shared_subject(self, subject: Subject) -> SharedVerdict:
        """As `shared`, where users with rules of their own are evaluated on the same subject."""
        candidates: list[tuple[UserPredicate, Verdict]] = []
        base = NOTHING
        for rule in self._rules_for(subject.event.type):
            for holds in rule.conditions:
                if not holds(subject, None):
                    break
            else:
                if rule.probe is None:
                    base = rule.verdict
                    break
                predicate = rule.probe(subject)
                if predicate is not None:
                    candidates.append((predicate, rule.verdict))
        return SharedVerdict(base, tuple(candidates), subject.event.sender)

    def _rules_for(self, event_type: str) -> tuple[_SharedRule, ...]:
        """Those that are not of another type of event: most are of one, and most events of a few."""
        found = self._rules_by_type.get(event_type)
        if found is None:
            folded = event_type.lower()
            found = tuple(rule for rule in self._rules if rule.of_type is None or rule.of_type(folded))
            if len(self._rules_by_type) >= _KNOWN_TYPES:
                self._rules_by_type.clear()
            self._rules_by_type[event_type] = found
        return found


def _share(rule: Mapping[str, Any]) -> _SharedRule:
    """Split a predefined rule into what is the same for everybody and the one condition that names the user."""
    conditions: list[Condition] = [_has_no_mentions] if rule["rule_id"] in LEGACY_MENTION_RULES else []
    probe: _Probe | None = _probe_localpart if rule.get("pattern") == LOCALPART else None
    of_type = None
    for condition in rule.get("conditions", []):
        if condition["kind"] == "contains_display_name":
            probe = _probe_display_name
        elif condition.get("value") == USER_ID:
            probe = _probe_contains(split_path(condition["key"]))
        elif condition.get("pattern") == USER_ID:
            probe = _probe_match(split_path(condition["key"]))
        elif condition.get("key") == "type":
            of_type = glob_matcher(condition["pattern"].lower())
        else:
            conditions.append(compile_condition(condition))
    return _SharedRule(of_type, tuple(conditions), probe, Verdict.of(rule["actions"]))


def _probe_contains(names: tuple[str, ...]) -> _Probe:
    def probe(subject: Subject) -> UserPredicate | None:
        value = subject.get(names)
        users = frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()
        return (lambda user_id, _: user_id in users) if users else None

    return probe


def _probe_match(names: tuple[str, ...]) -> _Probe:
    def probe(subject: Subject) -> UserPredicate | None:
        value = subject.get(names)
        if not isinstance(value, str):
            return None
        folded = value.lower()
        return lambda user_id, _: glob_matcher(user_id.lower())(folded)

    return probe


def _probe_display_name(subject: Subject) -> UserPredicate | None:
    body = subject.body
    return None if body is None else lambda _, display_name: body_names(body, display_name)


def _probe_localpart(subject: Subject) -> UserPredicate | None:
    body = subject.body
    return None if body is None else lambda user_id, _: word_matcher(localpart_of(user_id).lower())(body)
