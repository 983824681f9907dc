"""A user's rooms in lists, kept in order as things happen: a request looks only at what changed since the last one."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import orjson

from homeserver.core.invite_permissions import TYPES
from homeserver.services.account_data import IGNORED_USERS, TAGS, UserData
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events
from homeserver.services.notifier import Notifier
from homeserver.services.sliding_sync.request import ListFilter
from homeserver.services.sliding_sync.room_facts import RoomFacts, RoomFactsOfAll, stripped_facts
from homeserver.services.sliding_sync.room_list import RoomList
from homeserver.services.sync.room_log import RoomLogs
from homeserver.services.sync.users import SyncUser
from storage import timeline
from storage.database import Database

DIRECT = "m.direct"
_MAX_LISTS = 32
_HIDING_INVITES = (IGNORED_USERS, *TYPES)
_EMPTY = RoomFacts()


class UserLists:
    """The lists that one user's requests have asked for, as of `upto`."""

    def __init__(self, user: SyncUser, upto: int) -> None:
        self.user = user
        self.upto = upto
        self.lists: OrderedDict[ListFilter, RoomList] = OrderedDict()
        # Of rooms that the user was put out of: whether they had been in.
        self.was_joined: dict[str, bool] = {}
        # What stripped state says of rooms that this server is not in.
        self.stripped: dict[str, RoomFacts] = {}
        self.stripped_at = 0
        # The direct chats as of `upto`.
        self.placed_direct: frozenset[str] = frozenset()
        self._direct: tuple[int, frozenset[str]] = (-1, frozenset())

    def direct(self, data: UserData) -> frozenset[str]:
        """The rooms that the user's account data calls direct chats."""
        row = data.rows.get(("", DIRECT))
        position = 0 if row is None else row.position
        if self._direct[0] != position:
            content = {} if row is None else orjson.loads(row.content)
            self._direct = (position, _direct_rooms(content))
        return self._direct[1]


class ListsOfUsers:
    """Makes lists, and brings them up to date."""

    def __init__(
        self,
        db: Database,
        notifier: Notifier,
        logs: RoomLogs,
        events: Events,
        facts: RoomFactsOfAll,
        *,
        size: int = 20_000,
    ) -> None:
        self._db = db
        self._notifier = notifier
        self._logs = logs
        self._events = events
        self._facts = facts
        self._users: BoundedCache[str, UserLists] = BoundedCache(size)
        notifier.on_reset.append(self._users.clear)

    async def up_to_date(
        self, user: SyncUser, data: UserData, filters: Iterable[ListFilter], others: Iterable[str] = ()
    ) -> UserLists:
        """The user's lists with these among them. They are current when this returns, until the next await.

        `others`: rooms of which it has to be known whether the user was in, though they may have left by themselves.
        """
        asked = [room_id for room_id in others if user.memberships.get(room_id) in ("leave", "ban")]
        wanted = list(dict.fromkeys(filters))
        while True:
            lists = self._current(user)
            changed = self._changed(lists, user, data)
            new = [one for one in wanted if one not in lists.lists]
            rooms = user.memberships.keys() if new else changed
            unknown = [room_id for room_id in asked if room_id not in lists.was_joined]
            if unknown:
                await self._read_put_out(lists, user, unknown)
                continue
            if await self._read_missing(lists, user, wanted, rooms):
                continue
            self._apply(lists, user, data, changed, wanted)
            for one in new:
                self._build(lists, user, data, one)
            for one in wanted:
                lists.lists.move_to_end(one)
            while len(lists.lists) > max(_MAX_LISTS, len(wanted)):
                lists.lists.popitem(last=False)
            return lists

    def _current(self, user: SyncUser) -> UserLists:
        lists = self._users.get(user.user_id)
        upto = self._notifier.position
        if lists is None or lists.user is not user or lists.upto < max(user.floor, self._logs.floor):
            lists = UserLists(user, upto)
            self._users.put(user.user_id, lists)
        return lists

    def _changed(self, lists: UserLists, user: SyncUser, data: UserData) -> set[str]:
        """Rooms that may stand elsewhere since the lists were brought up to date."""
        after, upto = lists.upto, self._notifier.position
        if after == upto:
            return set()
        changed = set(self._logs.changed_since(after, user.joined))
        for room_id, told in user.changes_between(after, upto).items():
            changed.add(room_id)
            if any("join" in (change.membership, change.before) for change in told):
                lists.was_joined[room_id] = True
        for row in data.changed(after, upto):
            if row.room_id:
                if row.type == TAGS:
                    changed.add(row.room_id)
            elif row.type == DIRECT:
                changed |= lists.placed_direct ^ lists.direct(data)
            elif row.type in _HIDING_INVITES:
                changed.update(room_id for room_id, membership in user.memberships.items() if membership == "invite")
        return changed & user.memberships.keys()

    async def _read_missing(
        self, lists: UserLists, user: SyncUser, wanted: Sequence[ListFilter], rooms: Iterable[str]
    ) -> bool:
        """Read what is needed to place rooms; whether anything had to be read."""
        lacking: dict[str, int] = {}
        put_out: list[str] = []
        newest_outside = 0
        for room_id in rooms:
            membership = user.memberships[room_id]
            if membership in ("leave", "ban"):
                if user.senders[room_id] != user.user_id and room_id not in lists.was_joined:
                    put_out.append(room_id)
                continue
            if self._facts.get(room_id) is None:
                lacking[room_id] = user.nids[room_id]
            if membership != "join":
                newest_outside = max(newest_outside, user.positions[room_id])
        if lacking:
            await self._facts.load(lacking)
        if put_out:
            await self._read_put_out(lists, user, put_out)
        spaces = {space for one in wanted for space in one.spaces or () if space in user.joined}
        unread = [space for space in spaces if self._facts.children(space) is None]
        for space in unread:
            await self._facts.load_children(space)
        needs_stripped = newest_outside > lists.stripped_at
        if needs_stripped:
            await self._read_stripped(lists, user)
        return bool(lacking or put_out or unread or needs_stripped)

    async def _read_stripped(self, lists: UserLists, user: SyncUser) -> None:
        # Other requests of the user may read this at the same time, and use what is there meanwhile.
        position = self._notifier.position
        async with self._db.read() as tx:
            kept = await timeline.stripped_states(tx, user.user_id)
        if position > lists.stripped_at:
            lists.stripped_at = position
            lists.stripped = {room_id: stripped_facts(orjson.loads(state)) for room_id, state in kept.items()}

    async def _read_put_out(self, lists: UserLists, user: SyncUser, rooms: Sequence[str]) -> None:
        names = {user.nids[room_id]: room_id for room_id in rooms}
        async with self._db.read() as tx:
            rows = await timeline.member_events_of(tx, user.user_id, names, 0)
        stored = await self._events.get_many([row.event_id for row in rows if row.event_id is not None])
        for room_id in rooms:
            lists.was_joined.setdefault(room_id, False)  # what happened meanwhile is known already
        for row in rows:
            member = stored.get(row.event_id or "")
            if member is not None and member.event.membership == "join":
                lists.was_joined[names[row.room_nid]] = True

    def _apply(
        self, lists: UserLists, user: SyncUser, data: UserData, changed: set[str], asked: Sequence[ListFilter]
    ) -> None:
        if changed:
            for wanted, rooms in list(lists.lists.items()):
                if wanted.spaces is not None and not changed.isdisjoint(wanted.spaces):
                    del lists.lists[wanted]
                    if wanted in asked:
                        self._build(lists, user, data, wanted)
                    continue
                for room_id in changed:
                    self._place(lists, user, data, wanted, rooms, room_id)
        lists.upto = self._notifier.position
        lists.placed_direct = lists.direct(data)

    def _build(self, lists: UserLists, user: SyncUser, data: UserData, wanted: ListFilter) -> None:
        rooms = lists.lists[wanted] = RoomList(self._notifier.position)
        for room_id in user.memberships:
            self._place(lists, user, data, wanted, rooms, room_id)

    def _place(
        self, lists: UserLists, user: SyncUser, data: UserData, wanted: ListFilter, rooms: RoomList, room_id: str
    ) -> None:
        now = self._notifier.position
        if not self.is_listed(lists, user, data, room_id) or not self._matches(lists, user, data, wanted, room_id):
            rooms.remove(room_id, now)
            return
        facts = self._facts.get(room_id)
        if user.memberships[room_id] == "join" and facts is not None:
            rooms.put(room_id, facts.last, now)
        else:
            rooms.put(room_id, user.positions[room_id], now)

    def is_listed(self, lists: UserLists, user: SyncUser, data: UserData, room_id: str) -> bool:
        """Whether the room belongs to the user's rooms: not one that they left themselves, or declined."""
        membership = user.memberships.get(room_id)
        if membership is None or room_id in user.forgotten:
            return False
        if membership == "invite":
            return data.shows_invites_by(user.senders[room_id])
        if membership in ("leave", "ban"):
            return user.senders[room_id] != user.user_id and lists.was_joined.get(room_id, False)
        return True

    def _matches(self, lists: UserLists, user: SyncUser, data: UserData, wanted: ListFilter, room_id: str) -> bool:
        if wanted is NO_FILTER or wanted == NO_FILTER:
            return True
        if wanted.is_invited is not None and wanted.is_invited != (user.memberships[room_id] == "invite"):
            return False
        if wanted.is_dm is not None and wanted.is_dm != (room_id in lists.direct(data)):
            return False
        return (
            self._matches_facts(wanted, self._facts_of(lists, user, room_id))
            and _matches_tags(wanted, data, room_id)
            and self._matches_spaces(wanted, user, room_id)
        )

    def _facts_of(self, lists: UserLists, user: SyncUser, room_id: str) -> RoomFacts:
        facts = self._facts.get(room_id) or _EMPTY
        if not facts.has_type and user.memberships[room_id] != "join":
            return lists.stripped.get(room_id, facts)
        return facts

    def _matches_facts(self, wanted: ListFilter, facts: RoomFacts) -> bool:
        if wanted.is_encrypted is not None and facts.is_encrypted != wanted.is_encrypted:
            return False
        if wanted.name_like is not None and wanted.name_like not in facts.name.casefold():
            return False
        if wanted.room_types is None and not wanted.not_room_types:
            return True
        if not facts.has_type or facts.room_type in wanted.not_room_types:
            return False
        return wanted.room_types is None or facts.room_type in wanted.room_types

    def _matches_spaces(self, wanted: ListFilter, user: SyncUser, room_id: str) -> bool:
        if wanted.spaces is None:
            return True
        return any(room_id in (self._facts.children(space) or ()) for space in wanted.spaces if space in user.joined)


NO_FILTER = ListFilter()


def _matches_tags(wanted: ListFilter, data: UserData, room_id: str) -> bool:
    if wanted.tags is None and not wanted.not_tags:
        return True
    row = data.rows.get((room_id, TAGS))
    tags = None if row is None else orjson.loads(row.content).get("tags")
    names = frozenset(tags) if isinstance(tags, dict) else frozenset[str]()
    if not names.isdisjoint(wanted.not_tags):
        return False
    return wanted.tags is None or not names.isdisjoint(wanted.tags)


def _direct_rooms(content: object) -> frozenset[str]:
    if not isinstance(content, Mapping):
        return frozenset()
    lists = (rooms for rooms in content.values() if isinstance(rooms, list))
    return frozenset(room_id for rooms in lists for room_id in rooms if isinstance(room_id, str))
