"""The push rules that every user has from the start.

`legacy_mentions` adds the three rules that look for mentions in the body of a message. Version 1.17 of the
specification removed them; older clients and bridges that do not fill `m.mentions` still count on them.
`thread_subscriptions` adds the two rules of proposal 4306, by which threads notify those who follow them.
The rules of polls are those of proposal 3930, by the names that clients know them by.

Source: https://spec.matrix.org/v1.19/client-server-api/#predefined-rules.
"""

from collections.abc import Mapping
from typing import Any, Final

from homeserver.core.identifiers import localpart_of

KINDS: Final = ("override", "content", "room", "sender", "underride")
"""The kinds of rules in the order in which they are checked."""
POSTCONTENT: Final = "postcontent"
"""Checked after `content`: the rules of proposal 4306, where the server has them. Users have none of their own."""

MASTER: Final = ".m.rule.master"
LEGACY_MENTION_RULES: Final = frozenset(
    {".m.rule.contains_display_name", ".m.rule.roomnotif", ".m.rule.contains_user_name"}
)

USER_ID: Final = "\0user_id"
"""Stands in the table below for the id of the user whose rules they are. No identifier holds a NUL."""
LOCALPART: Final = "\0localpart"

_NOTIFY: Final = "notify"
_HIGHLIGHT: Final = {"set_tweak": "highlight"}

JSONObject = dict[str, Any]


def _sound(name: str) -> JSONObject:
    return {"set_tweak": "sound", "value": name}


def _match(key: str, pattern: str) -> JSONObject:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _rule(
    name: str, conditions: list[JSONObject], actions: list[Any], *, enabled: bool = True, prefix: str = "m"
) -> JSONObject:
    return {
        "rule_id": f".{prefix}.rule.{name}",
        "default": True,
        "enabled": enabled,
        "conditions": conditions,
        "actions": actions,
    }


def _poll(name: str, event_type: str, actions: list[Any], *more: JSONObject) -> JSONObject:
    conditions = [*more, _match("type", f"org.matrix.msc3381.poll.{event_type}")]
    return _rule(name, conditions, actions, prefix="org.matrix.msc3930")


def _thread(name: str, subscribed: bool, actions: list[Any]) -> JSONObject:
    conditions = [{"kind": "io.element.msc4306.thread_subscription", "subscribed": subscribed}]
    return _rule(name, conditions, actions, prefix="io.element.msc4306")


_OF_ONE_TO_ONE: Final = {"kind": "room_member_count", "is": "2"}
_MAY_NOTIFY_ROOM: Final = {"kind": "sender_notification_permission", "key": "room"}

_OVERRIDE: Final = [
    _rule("master", [], [], enabled=False),
    _rule("suppress_notices", [_match("content.msgtype", "m.notice")], []),
    _rule(
        "invite_for_me",
        [_match("type", "m.room.member"), _match("content.membership", "invite"), _match("state_key", USER_ID)],
        [_NOTIFY, _sound("default")],
    ),
    _rule("member_event", [_match("type", "m.room.member")], []),
    _rule(
        "is_user_mention",
        [{"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": USER_ID}],
        [_NOTIFY, _sound("default"), _HIGHLIGHT],
    ),
    _rule("contains_display_name", [{"kind": "contains_display_name"}], [_NOTIFY, _sound("default"), _HIGHLIGHT]),
    _rule(
        "is_room_mention",
        [{"kind": "event_property_is", "key": r"content.m\.mentions.room", "value": True}, _MAY_NOTIFY_ROOM],
        [_NOTIFY, _HIGHLIGHT],
    ),
    _rule("roomnotif", [_match("content.body", "@room"), _MAY_NOTIFY_ROOM], [_NOTIFY, _HIGHLIGHT]),
    _rule("tombstone", [_match("type", "m.room.tombstone"), _match("state_key", "")], [_NOTIFY, _HIGHLIGHT]),
    _rule("reaction", [_match("type", "m.reaction")], []),
    _rule("room.server_acl", [_match("type", "m.room.server_acl"), _match("state_key", "")], []),
    _rule(
        "suppress_edits",
        [{"kind": "event_property_is", "key": r"content.m\.relates_to.rel_type", "value": "m.replace"}],
        [],
    ),
    _poll("poll_response", "response", []),
]
_CONTENT: Final = [
    {
        "rule_id": ".m.rule.contains_user_name",
        "default": True,
        "enabled": True,
        "pattern": LOCALPART,
        "actions": [_NOTIFY, _sound("default"), _HIGHLIGHT],
    }
]
_UNDERRIDE: Final = [
    _rule("call", [_match("type", "m.call.invite")], [_NOTIFY, _sound("ring")]),
    _rule(
        "encrypted_room_one_to_one",
        [_OF_ONE_TO_ONE, _match("type", "m.room.encrypted")],
        [_NOTIFY, _sound("default")],
    ),
    _rule("room_one_to_one", [_OF_ONE_TO_ONE, _match("type", "m.room.message")], [_NOTIFY, _sound("default")]),
    _rule("message", [_match("type", "m.room.message")], [_NOTIFY]),
    _rule("encrypted", [_match("type", "m.room.encrypted")], [_NOTIFY]),
    _poll("poll_start_one_to_one", "start", [_NOTIFY, _sound("default")], _OF_ONE_TO_ONE),
    _poll("poll_start", "start", [_NOTIFY]),
    _poll("poll_end_one_to_one", "end", [_NOTIFY, _sound("default")], _OF_ONE_TO_ONE),
    _poll("poll_end", "end", [_NOTIFY]),
]
_POSTCONTENT: Final = [
    _thread("unsubscribed_thread", False, []),
    _thread("subscribed_thread", True, [_NOTIFY, _sound("default")]),
]
_ALL: Final[Mapping[str, list[JSONObject]]] = {
    "override": _OVERRIDE,
    "content": _CONTENT,
    POSTCONTENT: _POSTCONTENT,
    "room": [],
    "sender": [],
    "underride": _UNDERRIDE,
}


def rule_templates(*, legacy_mentions: bool = False, thread_subscriptions: bool = False) -> dict[str, list[JSONObject]]:
    """The predefined rules by kind, with USER_ID and LOCALPART not filled in. Shared: not to be changed."""
    return {
        kind: [rule for rule in rules if legacy_mentions or rule["rule_id"] not in LEGACY_MENTION_RULES]
        for kind, rules in _ALL.items()
        if kind != POSTCONTENT or thread_subscriptions
    }


def default_ruleset(
    user_id: str, *, legacy_mentions: bool = False, thread_subscriptions: bool = False
) -> dict[str, list[JSONObject]]:
    """The ruleset of a user who changed nothing, as clients see it: a fresh object. Raises InvalidIdentifier."""
    names = {USER_ID: user_id, LOCALPART: localpart_of(user_id)}
    templates = rule_templates(legacy_mentions=legacy_mentions, thread_subscriptions=thread_subscriptions)
    return {kind: [_fill(rule, names) for rule in rules] for kind, rules in templates.items()}


def _fill(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
