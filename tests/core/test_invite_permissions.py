"""Whose invites a user wants."""

from typing import Any

import pytest

from homeserver.core.invite_permissions import ALL_INVITES, InvitePermission, InvitePermissions

ALLOW, IGNORE, BLOCK = InvitePermission.ALLOW, InvitePermission.IGNORE, InvitePermission.BLOCK
BOB = "@bob:evil.test"


@pytest.mark.parametrize(
    ("config", "lists", "expected"),
    [
        ({"default_action": "block"}, {}, BLOCK),
        ({"default_action": "allow"}, {}, ALLOW),
        ({"default_action": ["block"]}, {}, ALLOW),
        ({}, {"blocked_users": [BOB]}, BLOCK),
        ({}, {"ignored_users": ["@b?b:*"]}, IGNORE),
        ({}, {"blocked_servers": ["evil.*"]}, BLOCK),
        ({}, {"ignored_servers": ["evil.test"]}, IGNORE),
        ({}, {"blocked_servers": ["evil"]}, ALLOW),
        ({}, {"allowed_users": [BOB], "blocked_servers": ["*"]}, ALLOW),
        ({}, {"blocked_users": [BOB], "allowed_servers": ["evil.test"]}, BLOCK),
        ({}, {"allowed_users": [BOB], "ignored_users": [BOB], "blocked_users": [BOB]}, ALLOW),
        ({"default_action": "block"}, {"allowed_servers": ["evil.test"]}, ALLOW),
        ({}, {"blocked_users": None, "ignored_users": BOB, "blocked_servers": [5, None, {}]}, ALLOW),
    ],
)
def test_most_special_rule_decides(config: dict[str, Any], lists: dict[str, Any], expected: InvitePermission) -> None:
    assert InvitePermissions(config, lists).of(BOB) is expected


def test_without_configuration_every_invite_is_taken() -> None:
    assert ALL_INVITES.of(BOB) is ALLOW
