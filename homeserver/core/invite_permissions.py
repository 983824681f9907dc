"""Whose invites a user wants, by their own configuration.

https://spec.matrix.org/v1.19/client-server-api/#invite-permission, and with lists of users and servers proposal 4155.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from homeserver.core.globs import glob_matcher

CONFIG: Final = "m.invite_permission_config"
EXPERIMENT: Final = "org.matrix.msc4380.invite_permission_config"
LISTS: Final = "org.matrix.msc4155.invite_permission_config"
TYPES: Final = (CONFIG, EXPERIMENT, LISTS)
"""The account data that invites depend on. `EXPERIMENT` stands for `CONFIG` where that is not there."""


class InvitePermission(Enum):
    """What happens to an invite: it is taken, or taken without being shown, or refused."""

    ALLOW = "allow"
    IGNORE = "ignore"
    BLOCK = "block"


_ORDER: Final = (
    ("allowed", InvitePermission.ALLOW),
    ("ignored", InvitePermission.IGNORE),
    ("blocked", InvitePermission.BLOCK),
)


class InvitePermissions:
    """Compiled from the contents of both kinds of account data; what is not as it should be is passed over."""

    def __init__(self, config: Mapping[str, Any], lists: Mapping[str, Any]) -> None:
        self._blocks_all = config.get("default_action") == "block"
        self._users = _compiled(config, lists, "users")
        self._servers = _compiled(config, lists, "servers")

    def of(self, sender: str) -> InvitePermission:
        """What happens to an invite by this user: what is said of the user counts before what is said of the server."""
        server = sender.partition(":")[2]
        for name, patterns in ((sender, self._users), (server, self._servers)):
            for pattern, permission in patterns:
                if glob_matcher(pattern)(name):
                    return permission
        return InvitePermission.BLOCK if self._blocks_all else InvitePermission.ALLOW


def _compiled(
    config: Mapping[str, Any], lists: Mapping[str, Any], kind: str
) -> tuple[tuple[str, InvitePermission], ...]:
    return tuple(
        (pattern, permission)
        for prefix, permission in _ORDER
        for content in (config, lists)
        for pattern in _strings(content.get(f"{prefix}_{kind}"))
    )


def _strings(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


ALL_INVITES: Final = InvitePermissions({}, {})
