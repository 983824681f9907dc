"""What of a room's state is carried over into the room of another version that replaces it.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from homeserver.core.room_versions import RoomVersion

CARRIED_OVER: Final = (
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
)
_ADMIN: Final = 100
_MODERATOR: Final = 50
_NUMBERS: Final = ("ban", "kick", "redact", "invite", "events_default", "state_default", "users_default")
_MAPS: Final = ("users", "events", "notifications")


def create_content(
    old: Mapping[str, Any], version: RoomVersion, creator: str, additional: Collection[str], predecessor: dict[str, Any]
) -> dict[str, Any]:
    """The content of the new m.room.create, `old` being that of the old room."""
    content = {name: old[name] for name in ("type", "m.federate") if name in old}
    content |= {"room_version": version.identifier, "predecessor": predecessor}
    if not version.implicit_room_creator:
        content["creator"] = creator
    if version.additional_creators and additional:
        content["additional_creators"] = list(additional)
    return content


def join_rules(old: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """The join rules; those that the new version does not know become `invite`."""
    known = {
        "knock": version.knocking,
        "restricted": version.restricted_joins,
        "knock_restricted": version.knock_restricted_joins,
    }
    return dict(old) if known.get(str(old.get("join_rule")), True) else {"join_rule": "invite"}


def power_levels(
    old: Mapping[str, Any], version: RoomVersion, creator: str, additional: Collection[str], *, is_above_all: bool
) -> dict[str, Any]:
    """The power levels. Creators who stand above all levels must not be named; `is_above_all`: the one who upgrades did
    so in the old room, and becomes an ordinary admin where the new version has no such creators."""
    content = dict(old)
    for name in _NUMBERS:
        if name in content:
            content[name] = _integer(content[name])
    for name in _MAPS:
        values = content.get(name)
        if isinstance(values, dict):
            content[name] = {key: _integer(value) for key, value in values.items()}
    users = dict(content.get("users") or {}) if isinstance(content.get("users"), dict) else {}
    if version.privileged_creators:
        users = {user: level for user, level in users.items() if user != creator and user not in additional}
    elif is_above_all or not old:
        users[creator] = max([_ADMIN, *(level for level in users.values() if isinstance(level, int))])
    content["users"] = users
    return content


def restricted_power_levels(old: Mapping[str, Any]) -> dict[str, Any]:
    """The power levels of the old room afterwards: only those above the default may speak and invite."""
    default = _integer(old.get("users_default", 0))
    level = max(_MODERATOR, default + 1 if isinstance(default, int) else _MODERATOR)
    content = dict(old)
    for name in ("events_default", "invite"):
        before = _integer(content.get(name, 0))
        content[name] = max(level, before) if isinstance(before, int) else level
    return content


def _integer(value: Any) -> Any:
    """Old room versions allow numbers as text; the newer ones do not."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return value
    return value
