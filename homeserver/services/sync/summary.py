"""Room summaries: heroes and counts. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync"""

from collections.abc import Set
from typing import Any

from homeserver.core.events import MEMBER
from homeserver.services.sync.room_view import RoomNow

_HEROES = 5
_ENOUGH = 20


def summary_of(head: RoomNow, user_id: str) -> dict[str, Any]:
    """The summary of a room as it is now."""
    return {
        "m.joined_member_count": len(head.joined),
        "m.invited_member_count": len(head.invited),
        "m.heroes": heroes_of(head, user_id),
    }


def heroes_of(head: RoomNow, user_id: str) -> list[str]:
    """Up to five other members after whom a room without a name is called."""
    found = _some(head.joined, user_id)
    if len(found) < _HEROES:
        found += _some(head.invited, user_id)
    if not found:
        # Nobody is left: those who were there before.
        found = sorted(key[1] for key in head.state if key[0] == MEMBER and key[1] != user_id)
    return found[:_HEROES]


def _some(members: Set[str], user_id: str) -> list[str]:
    if len(members) <= _ENOUGH:
        return sorted(member for member in members if member != user_id)
    found: list[str] = []
    for member in members:
        if member != user_id:
            found.append(member)
            if len(found) == _HEROES:
                break
    return found
