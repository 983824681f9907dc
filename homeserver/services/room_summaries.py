"""What a room looks like from outside: name, topic, how to get in; and to whom it may be shown.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeserver.core.events import Event
from homeserver.core.room_versions import RoomVersion
from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHead, RoomHeads

SPACE: Final = "m.space"
CHILD: Final = "m.space.child"
_RESTRICTED: Final = frozenset({"restricted", "knock_restricted"})
_OPEN: Final = frozenset({"public", "knock", "knock_restricted"})
_TEXTS: Final = (
    ("m.room.name", "name", "name"),
    ("m.room.topic", "topic", "topic"),
    ("m.room.avatar", "url", "avatar_url"),
    ("m.room.canonical_alias", "alias", "canonical_alias"),
    ("m.room.create", "type", "room_type"),
    ("m.room.encryption", "algorithm", "encryption"),
)
_KEYS: Final = (
    *(kind for kind, _, _ in _TEXTS),
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
)
_ORDER = re.compile(r"[\x20-\x7e]{1,50}")


class RoomSummaries:
    """Sums up rooms that this server is in."""

    def __init__(self, events: Events, heads: RoomHeads, *, server_name: str) -> None:
        self._events = events
        self._heads = heads
        self._server_name = server_name

    async def resident_head(self, room_id: str) -> RoomHead | None:
        """The head of a room that this server is in, which alone knows what it looks like now."""
        head = await self._heads.get(room_id)
        return head if head is not None and head.hosts.get(self._server_name) else None

    async def of(self, head: RoomHead) -> dict[str, Any]:
        """The summary, as other servers may cache it: without anything that is of one user."""
        ids = {kind: head.state[kind, ""] for kind in _KEYS if (kind, "") in head.state}
        found = await self._events.get_many(ids.values())
        contents = {kind: found[event_id].shown.content for kind, event_id in ids.items() if event_id in found}
        return summary(head.room_id, head.room_version, contents, head.joined_count)

    async def children_of(self, head: RoomHead, *, suggested_only: bool = False) -> list[dict[str, Any]]:
        """The m.space.child events of a space in the order of its rooms; none for other rooms."""
        create = await self._events.get(head.state.get(("m.room.create", ""), ""))
        if create is None or create.event.content.get("type") != SPACE:
            return []
        ids = [event_id for (kind, _), event_id in head.state.items() if kind == CHILD]
        found = [stored.shown for stored in (await self._events.get_many(ids)).values()]
        events = [event for event in found if is_child(event.content, suggested_only=suggested_only)]
        return [
            {
                "type": CHILD,
                "state_key": event.state_key,
                "content": event.content,
                "sender": event.sender,
                "origin_server_ts": event.origin_server_ts,
            }
            for event in sorted(events, key=_order)
        ]

    # --- to whom

    async def may_user_see(self, head: RoomHead, room: Mapping[str, Any], user_id: str | None) -> bool:
        """Whether a user (None: anybody at all) may be shown a room, given its summary."""
        if user_id is not None and (user_id in head.joined or user_id in head.invited):
            return True
        return await self.is_open_to(room, user_id)

    async def is_open_to(self, room: Mapping[str, Any], user_id: str | None) -> bool:
        """The same by the summary alone, for a room that this server need not be in."""
        if room.get("join_rule") in _OPEN or room.get("world_readable") is True:
            return True
        if user_id is None or room.get("join_rule") not in _RESTRICTED:
            return False
        return any(user_id in head.joined for head in await self._heads_of(room))

    async def may_server_see(self, head: RoomHead, room: Mapping[str, Any], server_name: str) -> bool:
        """Whether somebody of another server could be shown the room."""
        if server_name in head.hosts or room["join_rule"] in _OPEN or room["world_readable"]:
            return True
        if any(user_id.endswith(":" + server_name) for user_id in head.invited):
            return True
        return room["join_rule"] in _RESTRICTED and any(
            server_name in other.hosts for other in await self._heads_of(room)
        )

    async def _heads_of(self, room: Mapping[str, Any]) -> list[RoomHead]:
        """The rooms whose members may join, as far as this server is in them."""
        heads = [await self.resident_head(room_id) for room_id in room.get("allowed_room_ids", ())]
        return [head for head in heads if head is not None]


def summary(
    room_id: str, version: RoomVersion | None, contents: Mapping[str, Mapping[str, Any]], joined: int
) -> dict[str, Any]:
    """A summary of state contents by type (of the empty state key)."""

    def value(kind: str, name: str) -> Any:
        return contents.get(kind, _EMPTY).get(name)

    room: dict[str, Any] = {
        "room_id": room_id,
        "num_joined_members": joined,
        "world_readable": value("m.room.history_visibility", "history_visibility") == "world_readable",
        "guest_can_join": value("m.room.guest_access", "guest_access") == "can_join",
    }
    for kind, name, field in _TEXTS:
        text = value(kind, name)
        if isinstance(text, str) and text:
            room[field] = text
    rule = value("m.room.join_rules", "join_rule")
    room["join_rule"] = rule if _is_possible(rule, version) else "invite"
    if version is not None:
        room["room_version"] = version.identifier
    if room["join_rule"] in _RESTRICTED:
        room["allowed_room_ids"] = list(_allowed(value("m.room.join_rules", "allow")))
    return room


_EMPTY: Final[Mapping[str, Any]] = {}


def is_child(content: Mapping[str, Any], *, suggested_only: bool = False) -> bool:
    """Whether an m.space.child event with this content makes its room a child."""
    via = content.get("via")
    if not isinstance(via, list) or not any(isinstance(server, str) for server in via):
        return False
    return not suggested_only or content.get("suggested") is True


def _is_possible(rule: Any, version: RoomVersion | None) -> bool:
    """Whether the room's version knows the join rule; those that it does not know let nobody in."""
    if rule == "public" or version is None:
        return isinstance(rule, str)
    known = {
        "invite": True,
        "private": True,
        "knock": version.knocking,
        "restricted": version.restricted_joins,
        "knock_restricted": version.knock_restricted_joins,
    }
    return isinstance(rule, str) and known.get(rule, False)


def _allowed(rules: Any) -> Iterable[str]:
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict) and rule.get("type") == "m.room_membership" and isinstance(rule.get("room_id"), str):
            yield rule["room_id"]


def _order(event: Event) -> tuple[bool, str, int, str]:
    """https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space"""
    order = event.content.get("order")
    is_valid = isinstance(order, str) and _ORDER.fullmatch(order) is not None
    return not is_valid, str(order) if is_valid else "", event.origin_server_ts, event.state_key or ""
