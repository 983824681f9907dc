"""How rooms look that this server is not in: others are asked, and what they say is believed for a while."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.identifiers import is_valid_room_id, is_valid_server_name
from homeserver.runtime.clock import Clock
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.room_summaries import CHILD, is_child

log = logging.getLogger(__name__)

_ASKED: Final = 3
_BELIEVED_S: Final = 300.0
_TEXTS: Final = (
    "name",
    "topic",
    "avatar_url",
    "canonical_alias",
    "room_type",
    "encryption",
    "room_version",
    "join_rule",
)


@dataclass(frozen=True, slots=True)
class RemoteRoom:
    """A room with its `children_state`, and what was said of its children: room id → summary, without theirs."""

    room: Mapping[str, Any]
    children: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inaccessible: frozenset[str] = frozenset()


class RemoteSummaries(Protocol):
    """Knows rooms of other servers."""

    async def get(self, room_id: str, via: Sequence[str]) -> RemoteRoom | None:
        """The room, as one of these servers sees it; None where none of them would say."""
        ...


class NoRemoteSummaries:
    """For a server that does not federate."""

    async def get(self, room_id: str, via: Sequence[str]) -> RemoteRoom | None:
        return None


class FederationSummaries:
    """Asks servers in turn. Only answers are kept: who was refused may be let in a moment later."""

    def __init__(self, client: FederationClient, clock: Clock, *, server_name: str, size: int = 2_000) -> None:
        self._client = client
        self._clock = clock
        self._server_name = server_name
        self._known: BoundedCache[tuple[str, str], tuple[float, RemoteRoom]] = BoundedCache(size)

    async def get(self, room_id: str, via: Sequence[str]) -> RemoteRoom | None:
        servers = [server for server in via if server != self._server_name and is_valid_server_name(server)]
        for server in list(dict.fromkeys(servers))[:_ASKED]:
            # By who said it: users name the servers, and one must not put words into the mouth of another.
            known = self._known.get((server, room_id))
            if known is not None and known[0] > self._clock.monotonic():
                return known[1]
            try:
                answer = await self._client.hierarchy(server, room_id, suggested_only=False)
            except FederationError as error:
                log.info("%s says nothing of %s: %s", server, room_id, error)
                continue
            found = _read(answer, room_id)
            if found is not None:
                self._known.put((server, room_id), (self._clock.monotonic() + _BELIEVED_S, found))
                return found
        return None


def _read(answer: Mapping[str, Any], room_id: str) -> RemoteRoom | None:
    """What of an answer makes sense."""
    room = _checked(answer.get("room"))
    if room is None or room["room_id"] != room_id:
        return None
    children = answer.get("children")
    checked = [_checked(child) for child in children] if isinstance(children, list) else []
    closed = answer.get("inaccessible_children")
    named = {child["state_key"] for child in room["children_state"]}
    return RemoteRoom(
        room,
        {child["room_id"]: child for child in checked if child is not None and child["room_id"] in named},
        frozenset(one for one in closed if isinstance(one, str)) if isinstance(closed, list) else frozenset(),
    )


def _checked(room: Any) -> dict[str, Any] | None:
    if not isinstance(room, dict) or not isinstance(room.get("room_id"), str) or not is_valid_room_id(room["room_id"]):
        return None
    members = room.get("num_joined_members")
    checked: dict[str, Any] = {
        "room_id": room["room_id"],
        "num_joined_members": members if type(members) is int and members >= 0 else 0,
        "world_readable": room.get("world_readable") is True,
        "guest_can_join": room.get("guest_can_join") is True,
        "join_rule": "public",
    }
    checked.update({name: room[name] for name in _TEXTS if isinstance(room.get(name), str)})
    allowed = room.get("allowed_room_ids")
    if isinstance(allowed, list) and allowed:
        checked["allowed_room_ids"] = [one for one in allowed if isinstance(one, str)]
    children = room.get("children_state")
    checked["children_state"] = [c for c in children if _is_child(c)] if isinstance(children, list) else []
    return checked


def _is_child(event: Any) -> bool:
    if not isinstance(event, dict) or event.get("type") != CHILD or not isinstance(event.get("content"), dict):
        return False
    if not isinstance(event.get("sender"), str) or type(event.get("origin_server_ts")) is not int:
        return False
    return isinstance(event.get("state_key"), str) and is_child(event["content"])
