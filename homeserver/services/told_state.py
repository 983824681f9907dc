"""What another server told of a room that a user was invited to or has knocked on, as kept for the user's clients.

https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from collections.abc import Iterable
from typing import Any, Final

from homeserver.core.events import CREATE, MEMBER, Event
from homeserver.services.client_events import stripped_membership

_SHAPE: Final = {"type": str, "state_key": str, "sender": str, "content": dict}


def shown_outside(membership: Event, told: Iterable[object]) -> list[dict[str, Any]]:
    """The stripped state of what was told, then the invite or knock itself: clients look for it there."""
    entries = [entry for entry in map(_strip, told) if entry is not None]
    own = (MEMBER, membership.state_key)
    others = (entry for entry in entries if (entry["type"], entry["state_key"]) != own)
    return [*others, stripped_membership(membership)]


def _strip(entry: object) -> dict[str, Any] | None:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), kind) for name, kind in _SHAPE.items()):
        return None
    shown = {name: entry[name] for name in _SHAPE}
    timestamp = entry.get("origin_server_ts")
    if entry["type"] == CREATE and type(timestamp) is int:
        shown["origin_server_ts"] = timestamp
    return shown
