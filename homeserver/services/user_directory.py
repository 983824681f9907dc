"""Finding people by their names.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from homeserver.core.search_words import Term, begin_with, terms_of, words_of
from homeserver.services.search_index import SearchIndex
from storage import profiles, rooms
from storage import user_directory as storage
from storage.database import Database, Read
from storage.user_directory import RoomName

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 50
# How many people are looked at for one answer, and how many accounts that are in no room.
_CANDIDATES: Final = 300
_OUTSIDERS: Final = 5_000
_PATIENCE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the searcher may see them."""

    user_id: str
    display_name: str | None = None
    avatar_url: str | None = None
    is_near: bool = False

    def body(self) -> dict[str, Any]:
        """As in the answer: without what is not known."""
        known = {"user_id": self.user_id, "display_name": self.display_name, "avatar_url": self.avatar_url}
        return {name: value for name, value in known.items() if value is not None}


class UserDirectory:
    """Shows people who share a room with the searcher or are in a public one; `search_all`: everybody. The searchers
    themselves are among those in public rooms."""

    def __init__(
        self, database: Database, index: SearchIndex, *, server_name: str, search_all: bool
    ) -> None:
        self._database = database
        self._index = index
        self._suffix = ":" + server_name
        self._search_all = search_all

    async def search(self, searcher: str, search_term: str, limit: int) -> dict[str, Any]:
        """The people whose ids or names hold words that begin with those of the term: `results` and `limited`."""
        terms = terms_of(search_term)
        limit = max(0, min(limit, MAX_LIMIT))
        if not terms:
            return {"results": [], "limited": False}
        await self._index.be_fresh(_PATIENCE_S)
        async with self._database.read() as tx:
            found = await storage.matching(tx, self._database.engine, terms, _CANDIDATES)
            people = await self._seen_by(tx, searcher, found)
            if self._search_all:
                outsiders = await storage.accounts_without_entry(tx, _OUTSIDERS)
                people += [Person(user_id, name) for user_id, name in outsiders.items()]
        people = [person for person in people if _is_meant(person, terms)]
        people.sort(key=lambda person: (not person.is_near, person.display_name is None, person.user_id))
        return {"results": [person.body() for person in people[:limit]], "limited": len(people) > limit}

    async def _seen_by(self, tx: Read, searcher: str, candidates: Sequence[str]) -> list[Person]:
        """Those of the candidates whom the searcher may find, with what the searcher may know of them."""
        others = [user_id for user_id in candidates if user_id != searcher]  # nobody shares a room with themselves
        shared = await storage.shared_names(tx, searcher, others)
        near = {entry.user_id for entry in shared}
        strangers = [user_id for user_id in candidates if user_id not in near]
        public = await _in_public(tx, await storage.names_of(tx, strangers))
        visible: dict[str, RoomName] = {}
        for entry in (*shared, *public):
            if entry.user_id not in visible or entry.display_name:
                visible[entry.user_id] = entry
        local = await profiles.profiles_of(tx, [user_id for user_id in candidates if user_id.endswith(self._suffix)])
        people: list[Person] = []
        for user_id in candidates:
            if user_id not in visible and not self._search_all:
                continue
            if user_id.endswith(self._suffix):
                profile = local.get(user_id, {})
                name, avatar = _text(profile.get("displayname")), _text(profile.get("avatar_url"))
            else:
                entry = visible.get(user_id)
                name, avatar = (None, None) if entry is None else (entry.display_name, entry.avatar_url)
            people.append(Person(user_id, name, avatar, user_id in near))
        return people


async def _in_public(tx: Read, names: Sequence[RoomName]) -> list[RoomName]:
    """The names of rooms that are listed, that anybody may join, or whose history anybody may read."""
    public = {entry.room_nid for entry in names if entry.is_listed}
    nids = list({entry.room_nid for entry in names} - public)
    bodies = await rooms.state_bodies(tx, nids, ("m.room.join_rules", "m.room.history_visibility")) if nids else ()
    public.update(row.room_nid for row in bodies if _is_open(orjson.loads(row.body).get("content")))
    return [entry for entry in names if entry.room_nid in public]


def _is_open(content: object) -> bool:
    if not isinstance(content, dict):
        return False
    return content.get("join_rule") == "public" or content.get("history_visibility") == "world_readable"


def _is_meant(person: Person, terms: Sequence[Term]) -> bool:
    """Whether what the searcher may see of the person matches: the index knows other names, too."""
    return begin_with(words_of(f"{person.user_id} {person.display_name or ''}"), terms)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
