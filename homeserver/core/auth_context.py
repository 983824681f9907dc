"""The state of a room as the authorization rules ask for it."""

from collections.abc import Mapping
from typing import NoReturn

from homeserver.core.auth_errors import AuthError
from homeserver.core.auth_rule_numbers import RuleNumbers, numbers_of
from homeserver.core.auth_selection import JOIN_RULES_KEY, POWER_LEVELS_KEY
from homeserver.core.events import Event, StateKey
from homeserver.core.identifiers import InvalidIdentifier, server_name_of
from homeserver.core.power_levels import Level, PowerLevels
from homeserver.core.room_versions import RoomVersion


class AuthContext:
    """One event about to be checked, the state it is checked against, and its room's create event."""

    __slots__ = ("create", "event", "numbers", "power_levels", "state", "version")

    def __init__(self, event: Event, state: Mapping[StateKey, Event], create: Event) -> None:
        self.event = event
        self.state = state
        self.create = create
        self.version: RoomVersion = event.room_version
        self.numbers: RuleNumbers = numbers_of(self.version)
        current = state.get(POWER_LEVELS_KEY)
        self.power_levels = PowerLevels(None if current is None else current.content, create)

    def membership(self, user_id: str) -> str:
        """A user's current membership; `leave` where the user has none."""
        member = self.state.get(("m.room.member", user_id))
        return "leave" if member is None else member.membership or "leave"

    def sender_level(self) -> Level:
        return self.power_levels.user(self.event.sender)

    def join_rule(self) -> object:
        """The current join rule; `invite` where there is none. Whatever the room's admins put there, so any JSON."""
        join_rules = self.state.get(JOIN_RULES_KEY)
        return "invite" if join_rules is None else join_rules.content.get("join_rule", "invite")


def reject(rule: str, reason: str) -> NoReturn:
    """Ends the check: the event is not allowed."""
    raise AuthError(rule, reason)


def domain_of(identifier: str) -> str:
    """The server part of an identifier, empty where there is none: such an identifier matches no server."""
    try:
        return server_name_of(identifier)
    except InvalidIdentifier:
        return ""
