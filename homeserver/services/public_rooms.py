"""The directory of published rooms.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from homeserver.core.canonical_json import decode
from homeserver.errors import InvalidParam, NotFound
from storage import rooms as storage_rooms
from storage.database import Database, Read
from storage.rooms import EVERY_NETWORK, Network

_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "m.room.name": ("name", "name"),
    "m.room.topic": ("topic", "topic"),
    "m.room.avatar": ("url", "avatar_url"),
    "m.room.canonical_alias": ("alias", "canonical_alias"),
    "m.room.join_rules": ("join_rule", "join_rule"),
    "m.room.create": ("type", "room_type"),
    "m.room.history_visibility": ("history_visibility", "history_visibility"),
    "m.room.guest_access": ("guest_access", "guest_access"),
}
MAX_LIMIT: Final = 500
# While a search goes through the rooms, how many it looks at at a time.
_PAGE: Final = 200
_TOKEN = re.compile(r"(f|b)(0|[1-9][0-9]{0,18})_(0|[1-9][0-9]{0,18})")


class RemoteDirectory(Protocol):
    """The directories of other servers."""

    async def public_rooms(self, server_name: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """What another server answers to the body of a POST publicRooms request."""
        ...


class NoRemoteDirectory:
    """For a server that does not federate."""

    async def public_rooms(self, server_name: str, query: Mapping[str, Any]) -> dict[str, Any]:
        raise NotFound("This server does not federate")


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """Which rooms are wanted: those with the text in name, topic or alias; of these types (None: ordinary rooms)."""

    search_term: str | None = None
    room_types: Sequence[str | None] | None = None

    @classmethod
    def parse(cls, value: Any) -> "RoomFilter":
        """From the `filter` of a request. Raises `InvalidParam`."""
        if value is None:
            return cls()
        term = value.get("generic_search_term") if isinstance(value, dict) else 0
        types = value.get("room_types") if isinstance(value, dict) else 0
        if not isinstance(term, str | None) or not isinstance(types, list | None):
            raise InvalidParam("The filter is not valid")
        return cls(term.casefold() if term else None, types)

    def allows(self, room: Mapping[str, Any]) -> bool:
        """Whether an entry of the directory is wanted."""
        if self.room_types is not None and room.get("room_type") not in self.room_types:
            return False
        if self.search_term is None:
            return True
        return any(self.search_term in room.get(name, "").casefold() for name in ("name", "topic", "canonical_alias"))

    @property
    def is_open(self) -> bool:
        return self.search_term is None and self.room_types is None


_ALL: Final = RoomFilter()


class PublicRooms:
    """Lists published rooms, the largest first."""

    def __init__(self, database: Database, remote: RemoteDirectory, *, server_name: str) -> None:
        self._database = database
        self._remote = remote
        self._server_name = server_name

    async def of_server(self, server_name: str | None, query: Mapping[str, Any]) -> dict[str, Any]:
        """The directory of this or another server; `query` is as the body of a POST request. Raises `InvalidParam`."""
        if server_name is not None and server_name != self._server_name:
            return await self._remote.public_rooms(server_name, query)
        limit, since = query.get("limit"), query.get("since")
        if not isinstance(limit, int | None) or isinstance(limit, bool) or not isinstance(since, str | None):
            raise InvalidParam("limit must be an integer and since a string")
        if limit is not None and limit < 0:
            raise InvalidParam("limit must not be negative")
        wanted = RoomFilter.parse(query.get("filter"))
        return await self.page(min(limit or 100, MAX_LIMIT), since, wanted, network_of(query))

    async def page(
        self, limit: int, since: str | None = None, wanted: RoomFilter = _ALL, network: Network | None = None
    ) -> dict[str, Any]:
        """A page of this server's directory: `chunk`, `next_batch`, `prev_batch`, `total_room_count_estimate`."""
        forwards, after = _parse(since)
        async with self._database.read() as tx:
            found = await self._find(tx, limit + 1, after, forwards, wanted, network)
            total = await storage_rooms.count_public_rooms(tx, network) if wanted.is_open else None
        has_more = len(found) > limit
        page = found[:limit] if forwards else found[:limit][::-1]
        answer: dict[str, Any] = {"chunk": [room for _, room in page]}
        if total is not None:
            answer["total_room_count_estimate"] = total
        if page and (has_more or not forwards):
            answer["next_batch"] = "f{}_{}".format(*page[-1][0])
        if page and after is not None and (has_more or forwards):
            answer["prev_batch"] = "b{}_{}".format(*page[0][0])
        return answer

    async def _find(
        self,
        tx: Read,
        count: int,
        after: tuple[int, int] | None,
        forwards: bool,
        wanted: RoomFilter,
        network: Network | None,
    ) -> list[tuple[tuple[int, int], dict[str, Any]]]:
        found: list[tuple[tuple[int, int], dict[str, Any]]] = []
        page = count if wanted.is_open else _PAGE
        while len(found) < count:
            rows = await storage_rooms.public_rooms(
                tx, after=after, forwards=forwards, limit=page, network=network
            )
            entries = await self._entries(tx, [row.room_nid for row in rows])
            for row in rows:
                after = (row.joined_count, row.room_nid)
                room = {"room_id": row.room_id, "num_joined_members": row.joined_count, **entries[row.room_nid]}
                if wanted.allows(room):
                    found.append((after, room))
            if len(rows) < page:
                break
        return found[:count]

    async def _entries(self, tx: Read, room_nids: Sequence[int]) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {nid: {} for nid in room_nids}
        if room_nids:
            for row in await storage_rooms.state_bodies(tx, room_nids, list(_TYPES)):
                field, name = _TYPES[row.type]
                value = decode(row.body)["content"].get(field)
                if isinstance(value, str):
                    found[row.room_nid][name] = value
        for room in found.values():
            room["world_readable"] = room.pop("history_visibility", None) == "world_readable"
            room["guest_can_join"] = room.pop("guest_access", None) == "can_join"
        return found


def instance_id(appservice_id: str, network_id: str) -> str:
    """What a network is called by those who ask for its directory (`third_party_instance_id`)."""
    return f"{appservice_id}|{network_id}"


def network_of(query: Mapping[str, Any]) -> Network | None:
    """Whose directory a request is about; None for this server's own. Raises `InvalidParam`."""
    every, instance = query.get("include_all_networks"), query.get("third_party_instance_id")
    if not isinstance(every, bool | None) or not isinstance(instance, str | None):
        raise InvalidParam("include_all_networks must be a boolean and third_party_instance_id a string")
    if instance:
        if every:
            raise InvalidParam("third_party_instance_id and include_all_networks exclude each other")
        appservice_id, _, network_id = instance.rpartition("|")
        return Network(appservice_id, network_id)
    return EVERY_NETWORK if every else None


def _parse(since: str | None) -> tuple[bool, tuple[int, int] | None]:
    if not since:
        return True, None
    match = _TOKEN.fullmatch(since)
    if match is None:
        raise InvalidParam("since is not a token of this server")
    return match[1] == "f", (int(match[2]), int(match[3]))
