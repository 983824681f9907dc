"""Which rooms an answer looks at, and as what: decided at one moment, from memory.

Where the windows were looked through for the last answer and no room came or went since, only rooms with news can be
new in them. Proposal 4186, "Lists and subscriptions" and "Room results".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from homeserver.services.account_data import UserData
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.sliding_sync.connections import Connection, SentRoom
from homeserver.services.sliding_sync.request import SlidingSyncRequest
from homeserver.services.sliding_sync.required_state import RoomConfig, wants_all
from homeserver.services.sliding_sync.room_list import RoomList
from homeserver.services.sliding_sync.room_task import RoomTask
from homeserver.services.sliding_sync.user_lists import ListsOfUsers, UserLists
from homeserver.services.sync.users import MembershipChange, SyncUser


@dataclass(frozen=True, slots=True)
class Place:
    """What a request wants of one room: the combined config, and by which lists."""

    config: RoomConfig
    lists: tuple[str, ...]
    is_subscribed: bool


@dataclass(slots=True)
class Selection:
    """`tasks`: the rooms to look at. `changes`: what the client has of rooms that are not shown to it at present, None
    for nothing any more. `counts`: the length of each list."""

    upto: int
    counts: dict[str, int] = field(default_factory=dict)
    tasks: list[RoomTask] = field(default_factory=list)
    changes: dict[str, SentRoom | None] = field(default_factory=dict)


@dataclass(slots=True)
class Look:
    """One look at a user's rooms, for a request that goes on at `since` (0: begins) in a state of a connection.

    Rooms of `partial` whose members are not known yet are withheld where the client wants all of those.
    """

    request: SlidingSyncRequest
    user: SyncUser
    data: UserData
    lists: UserLists
    all_lists: ListsOfUsers
    connection: Connection | None
    state: int
    since: int
    upto: int
    partial: PartialRooms | None = None
    windows: Mapping[str, RoomList] = field(init=False)
    direct: frozenset[str] = field(init=False)
    memberships: Mapping[str, list[MembershipChange]] = field(init=False)

    def __post_init__(self) -> None:
        self.windows = {name: self.lists.lists[wanted.filter] for name, wanted in self.request.lists.items()}
        self.direct = self.lists.direct(self.data)
        self.memberships = {} if self.connection is None else self.user.changes_between(self.since, self.upto)

    def select(self, news: Iterable[str], is_settled: bool) -> Selection:
        """`news`: rooms with anything new since. `is_settled`: whether the windows were looked through before."""
        selection = Selection(self.upto, {name: len(rooms) for name, rooms in self.windows.items()})
        has_news = dict.fromkeys(news)
        has_news.update(dict.fromkeys(self.memberships))
        if self.partial is not None and self.connection is not None:
            has_news.update(dict.fromkeys(self.partial.whole_since(self.since, self.user.joined)))
        candidates = dict(has_news)
        for name, rooms in self.windows.items():
            wanted = self.request.lists[name]
            if is_settled and wanted.begins_at_the_top and rooms.changed_at <= self.since:
                continue
            for first, last in wanted.ranges if wanted.ranges is not None else ((0, len(rooms)),):
                candidates.update(dict.fromkeys(rooms.between(first, last)))
        candidates.update(dict.fromkeys(self.request.subscriptions))
        candidates.update(dict.fromkeys(self._changed_direct()))
        for room_id in candidates:
            self._consider(selection, room_id, room_id in has_news)
        return selection

    def place(self, room_id: str) -> Place | None:
        """What the request wants of a room; None where it matches nothing."""
        config = self.request.subscriptions.get(room_id)
        is_subscribed = config is not None
        names: list[str] = []
        for name, rooms in self.windows.items():
            rank = rooms.rank(room_id)
            wanted = self.request.lists[name]
            if rank is not None and wanted.covers(rank):
                names.append(name)
                config = wanted.config if config is None else config | wanted.config
        return None if config is None else Place(config, tuple(names), is_subscribed)

    def _changed_direct(self) -> Iterable[str]:
        row = self.data.rows.get(("", "m.direct"))
        if self.connection is None or row is None or row.position <= self.since:
            return ()
        sent = self.connection.sent_rooms(self.state)
        return [room_id for room_id, one in sent.items() if one.is_dm != (room_id in self.direct)]

    def _consider(self, selection: Selection, room_id: str, has_news: bool) -> None:
        membership = self.user.memberships.get(room_id)
        sent = None if self.connection is None else self.connection.sent(room_id, self.state)
        if membership is None or room_id in self.user.forgotten:
            if sent is not None:
                selection.changes[room_id] = None
            return
        told = self.memberships.get(room_id, ())
        place = self.place(room_id)
        is_listed = self.all_lists.is_listed(self.lists, self.user, self.data, room_id)
        if not is_listed and not (place and place.is_subscribed and self.lists.was_joined.get(room_id, False)):
            # A room that the user left: the client is told once, if it has the room.
            if sent is not None and sent.membership not in ("leave", "ban"):
                self._add(selection, room_id, membership, place or self._last_place(sent), sent)
                selection.changes[room_id] = None
            elif sent is not None:
                selection.changes[room_id] = None
            return
        if sent is not None and _is_another(sent, membership, told):
            sent = None
        if place is None or (membership == "join" and self._is_withheld(room_id, place)):
            self._pass_over(selection, room_id, sent, has_news)
        elif sent is None or has_news or sent.upto or self._wants_more(sent, place, room_id):
            self._add(selection, room_id, membership, place, sent)

    def _is_withheld(self, room_id: str, place: Place) -> bool:
        return self.partial is not None and self.partial.is_partial(room_id) and wants_all(place.config.required)

    def _pass_over(self, selection: Selection, room_id: str, sent: SentRoom | None, has_news: bool) -> None:
        """The room is not shown at present: note from where on the client lacks news."""
        if sent is None:
            if self.connection is not None and self.connection.sent(room_id, self.state) is not None:
                selection.changes[room_id] = None
        elif has_news and not sent.upto:
            selection.changes[room_id] = replace(sent, upto=self.since)

    def _wants_more(self, sent: SentRoom, place: Place, room_id: str) -> bool:
        if sent.membership != "join":
            return sent.membership in ("invite", "knock") and sent.is_dm != (room_id in self.direct)
        return (
            place.config.timeline_limit > sent.timeline_limit
            or place.config.required != sent.required
            or sent.is_dm != (room_id in self.direct)
        )

    def _last_place(self, sent: SentRoom) -> Place:
        limit = min(sent.timeline_limit, 20) or 1
        return Place(RoomConfig(limit, sent.required), (), False)

    def _add(self, selection: Selection, room_id: str, membership: str, place: Place, sent: SentRoom | None) -> None:
        user = self.user
        is_joined = membership == "join"
        was_joined = is_joined or self.lists.was_joined.get(room_id, sent is not None and sent.membership == "join")
        upto = self.upto if is_joined else user.positions[room_id]
        since = 0 if sent is None else min(sent.upto or self.since, upto)
        if sent is not None and not is_joined and sent.membership != "join":
            sent, since = None, 0
        selection.tasks.append(
            RoomTask(
                room_id,
                user.nids[room_id],
                membership,
                place.config,
                place.lists,
                place.is_subscribed,
                sent,
                since,
                upto,
                user.joined.get(room_id, upto + 1) if is_joined else upto + 1,
                room_id in self.direct,
                was_joined,
                sent is not None and self.partial is not None and self.partial.became_whole(room_id, since),
            )
        )


def _is_another(sent: SentRoom, membership: str, told: Iterable[MembershipChange]) -> bool:
    """Whether what the client has of the room is of no use for what it is now."""
    if membership == "join":
        return sent.membership != "join" or any(change.before != "join" for change in told)
    if membership in ("leave", "ban"):
        return sent.membership != "join" and bool(tuple(told))
    return sent.membership != membership or bool(tuple(told))
