"""Who may see an event: the history visibility of the room where the event stands in it.

All of this is about the state of the room *before* the event; what the event itself changes is taken from the event.

Source: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-5.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeserver.core.events import Event

HISTORY_VISIBILITY: Final = "m.room.history_visibility"
_VISIBILITIES: Final = frozenset({"world_readable", "shared", "invited", "joined"})


def visibility_of(content: Mapping[str, Any] | None) -> str:
    """What the content of an m.room.history_visibility event says: `shared` where it is absent or not understood."""
    value = None if content is None else content.get("history_visibility")
    return value if isinstance(value, str) and value in _VISIBILITIES else "shared"


def may_see_event(visibility: str, membership_at_event: str, joined_later: bool, event: Event, user_id: str) -> bool:
    """Whether a user may see an event.

    `visibility` and `membership_at_event` are those of the state before the event (`leave` for a user without a
    membership); `joined_later` says whether the user is joined now or was at any point after the event. A user's own
    member events are always visible, or a rejected invite would never leave the user's list of rooms.
    """
    if event.type == "m.room.member" and event.state_key == user_id:
        return True
    if _allows(visibility, membership_at_event, joined_later):
        return True
    changed = _visibility_after(event)
    return changed is not None and _allows(changed, membership_at_event, joined_later)


def _allows(visibility: str, membership: str, joined_later: bool) -> bool:
    if visibility == "world_readable" or membership == "join":
        return True
    if visibility == "invited":
        return membership == "invite"
    return visibility != "joined" and joined_later


def server_may_see_event(
    visibility: str,
    memberships_at_event: Iterable[tuple[str, str]],
    server_name: str,
    event: Event | None = None,
) -> bool:
    """Whether an event may be handed to another server that takes part in the room.

    `memberships_at_event` are (user id, membership) pairs of the state before the event; only those of the server's own
    users matter. With `event` given, what it changes counts too: a server may see the event that made its last user
    join or leave, and events that change the visibility by the visibility before or after.
    """
    if _may_server_see(visibility, memberships_at_event := list(memberships_at_event), server_name):
        return True
    if event is None:
        return False
    member = event.type == "m.room.member" and event.state_key is not None
    if member and _is_of(event.state_key or "", server_name):
        return True
    changed = _visibility_after(event)
    return changed is not None and _may_server_see(changed, memberships_at_event, server_name)


def _may_server_see(visibility: str, memberships: Iterable[tuple[str, str]], server_name: str) -> bool:
    if visibility not in ("invited", "joined"):
        return True
    enough = ("join",) if visibility == "joined" else ("join", "invite")
    return any(membership in enough and _is_of(user_id, server_name) for user_id, membership in memberships)


def _is_of(user_id: str, server_name: str) -> bool:
    return user_id.partition(":")[2] == server_name


def _visibility_after(event: Event) -> str | None:
    """The visibility that the event sets, None for an event that sets none."""
    if event.type == HISTORY_VISIBILITY and event.state_key == "":
        return visibility_of(event.content)
    return None
