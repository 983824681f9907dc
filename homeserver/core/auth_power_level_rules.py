"""The rules for a change of power levels (rule 10 of room version 12): nobody gives or takes more than they have.

https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules. Numbers in comments are those of room version 12.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from homeserver.core.auth_context import AuthContext, reject
from homeserver.core.auth_selection import POWER_LEVELS_KEY
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.power_levels import Level, parse_level, privileged_creators

_PROPERTIES: Final = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")

Change = tuple[str, int | None, int | None]
"""(key, current value, new value); None where the value is absent."""


def check_power_levels(context: AuthContext) -> None:
    """Rule 10. Raises `AuthError`."""
    new = context.event.content
    # Rules 10.1 to 10.4
    _check_format(context, new)
    _check_creators(context, new)
    # Rule 10.5
    current = context.state.get(POWER_LEVELS_KEY)
    if current is None:
        return
    old = current.content
    sender_level = context.sender_level()
    _check_properties(context, old, new, sender_level)
    _check_entries(context, old, new, "events", sender_level)
    if context.version.limits_notification_power_levels:
        _check_entries(context, old, new, "notifications", sender_level)
    _check_users(context, old, new, sender_level)
    # Rule 10.11 (printed as a second 10.10)


def _check_format(context: AuthContext, content: Mapping[str, Any]) -> None:
    """Rules 10.1 to 10.3. Room versions 1 to 9 have only the third, yet values that are no levels at all (neither
    integers nor what those versions let stand for them) cannot be compared later on, so they are refused there too."""
    integers_only, numbers = context.version.integer_power_levels, context.numbers
    # Rule 10.1
    for name in _PROPERTIES:
        if name in content and parse_level(content[name], integers_only=integers_only) is None:
            reject(numbers.power_levels_integers, f"{name} is not a power level")
    # Rule 10.2
    rule = f"{numbers.power_levels}.2" if integers_only else numbers.power_levels_integers
    for name in ("events", "notifications"):
        if name in content and not _holds_levels(content[name], integers_only):
            reject(rule, f"{name} is not an object of power levels")
    # Rule 10.3
    users = content.get("users", {})
    if not _holds_levels(users, integers_only):
        reject(numbers.power_levels_users, "users is not an object of power levels")
    for user_id in users:
        if not is_valid_user_id(user_id):
            reject(numbers.power_levels_users, f"{user_id} in users is not a user id")


def _holds_levels(value: object, integers_only: bool) -> bool:
    return isinstance(value, Mapping) and all(
        parse_level(level, integers_only=integers_only) is not None for level in value.values()
    )


def _check_creators(context: AuthContext, content: Mapping[str, Any]) -> None:
    # Rule 10.4
    if not context.version.privileged_creators:
        return
    named = privileged_creators(context.create) & content.get("users", {}).keys()
    if named:
        reject(context.numbers.power_levels_creators, f"{min(named)} is a creator of the room, users may not name it")


def _check_properties(context: AuthContext, old: Mapping[str, Any], new: Mapping[str, Any], level: Level) -> None:
    # Rule 10.6
    rule = context.numbers.power_levels_properties
    for name, before, after in _changes(context, old, new, _PROPERTIES):
        # Rule 10.6.1
        if before is not None and before > level:
            reject(f"{rule}.1", f"{name} is {before}, above the sender's power level")
        # Rule 10.6.2
        if after is not None and after > level:
            reject(f"{rule}.2", f"{name} would be {after}, above the sender's power level")


def _check_entries(
    context: AuthContext, old: Mapping[str, Any], new: Mapping[str, Any], name: str, level: Level
) -> None:
    for key, before, after in _entry_changes(context, old, new, name):
        # Rule 10.7.1
        if before is not None and before > level:
            rule = f"{context.numbers.power_levels_events_old}.1"
            reject(rule, f"{key} in {name} is {before}, above the sender's power level")
        # Rule 10.8.1
        if after is not None and after > level:
            rule = f"{context.numbers.power_levels_events_new}.1"
            reject(rule, f"{key} in {name} would be {after}, above the sender's power level")


def _check_users(context: AuthContext, old: Mapping[str, Any], new: Mapping[str, Any], level: Level) -> None:
    for user_id, before, after in _entry_changes(context, old, new, "users"):
        # Rule 10.9.1
        if before is not None and before >= level and user_id != context.event.sender:
            rule = f"{context.numbers.power_levels_users_old}.1"
            reject(rule, f"the power level of {user_id} is {before}, not below the sender's")
        # Rule 10.10.1
        if after is not None and after > level:
            rule = f"{context.numbers.power_levels_users_new}.1"
            reject(rule, f"the power level of {user_id} would be {after}, above the sender's")


def _entry_changes(context: AuthContext, old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> Iterator[Change]:
    before, after = old.get(name), new.get(name)
    before = before if isinstance(before, Mapping) else {}
    after = after if isinstance(after, Mapping) else {}
    changed = [key for key in before.keys() | after.keys() if _differ(before.get(key), after.get(key))]
    # Sorted, so that the same offence is named every time.
    return _changes(context, before, after, sorted(changed))


def _changes(
    context: AuthContext, old: Mapping[str, Any], new: Mapping[str, Any], keys: Sequence[str]
) -> Iterator[Change]:
    integers_only = context.version.integer_power_levels
    for key in keys:
        if _differ(old.get(key), new.get(key)):
            before = parse_level(old.get(key), integers_only=integers_only)
            after = parse_level(new.get(key), integers_only=integers_only)
            if before != after:
                yield key, before, after


def _differ(before: object, after: object) -> bool:
    # Python holds true and 1 for equal; only one of them is a level.
    return before != after or type(before) is not type(after)
