"""The users that sync here: which rooms they are in, how that changed lately, and for whom something waits."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver.core.events import MEMBER
from homeserver.runtime.bus import Hint
from homeserver.runtime.tasks import Tasks
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from storage import timeline
from storage.database import Database
from storage.streams import Stream
from storage.timeline import UserRoom

_MAX_CHANGES = 2_000


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """At `position` the user's membership in a room became `membership`; `before` is what it was."""

    position: int
    room_id: str
    membership: str
    before: str
    event_id: str | None


@dataclass(slots=True, eq=False)
class SyncUser:
    """A user's rooms. `changes` holds every change of a membership after `floor`, the oldest first.

    `joined`: room id → from which position on the user has been joined without a break, as far as is known: it may
    be later than the truth. `nids`: room id → room_nid of every room in `memberships`. `to_device_at`, `threads_at`:
    when a message or a followed thread was last news; it may be later than the truth.
    """

    user_id: str
    floor: int
    memberships: dict[str, str] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    senders: dict[str, str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    nids: dict[str, int] = field(default_factory=dict)
    joined: dict[str, int] = field(default_factory=dict)
    changes: list[MembershipChange] = field(default_factory=list)
    to_device_at: int = 0
    threads_at: int = 0

    def changes_between(self, after: int, upto: int) -> dict[str, list[MembershipChange]]:
        """The changes at positions of (after, upto] by room."""
        found: dict[str, list[MembershipChange]] = {}
        for change in reversed(self.changes):
            if change.position <= after:
                break
            if change.position <= upto:
                found.setdefault(change.room_id, []).insert(0, change)
        return found

    def set(self, room: UserRoom) -> None:
        """Take over a row."""
        room_id = room.room_id
        self.nids[room_id] = room.room_nid
        self.positions[room_id] = room.position
        self.senders[room_id] = room.sender
        if room.membership == "join":
            if self.memberships.get(room_id) != "join":
                self.joined[room_id] = room.position
        else:
            self.joined.pop(room_id, None)
        self.memberships[room_id] = room.membership
        if room.forgotten:
            self.forgotten.add(room_id)
        else:
            self.forgotten.discard(room_id)


class SyncUsers:
    """Loads users at first sight, follows their rooms from then on; who was not seen for longest is dropped."""

    def __init__(self, db: Database, notifier: Notifier, events: Events, tasks: Tasks, *, size: int = 20_000) -> None:
        self._db = db
        self._tasks = tasks
        self._notifier = notifier
        self._events = events
        self._size = size
        self._users: OrderedDict[str, SyncUser] = OrderedDict()
        self._loading: dict[str, asyncio.Future[SyncUser]] = {}
        self._changed: set[str] = set()
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self.forget_all)

    def cached(self, user_id: str) -> SyncUser | None:
        """The user if they are in memory."""
        return self._users.get(user_id)

    async def get(self, user_id: str, since: int | None) -> SyncUser:
        """The user, with all changes of memberships after `since`."""
        user = self._users.get(user_id)
        if user is None:
            user = await self._load_once(user_id)
        else:
            self._users.move_to_end(user_id)
        if since is not None and since < user.floor:
            await self._reach_back(user, since)
        return user

    def forget(self, user_id: str) -> None:
        """Read the user's rooms anew when they are asked for next."""
        self._changed.add(user_id)
        user = self._users.pop(user_id, None)
        if user is not None:
            for room_id in user.joined:
                self._notifier.unfollow(user_id, room_id)

    def forget_all(self) -> None:
        """Hints were lost."""
        self._changed.update(self._loading)
        for user_id in list(self._users):
            self.forget(user_id)

    async def _load_once(self, user_id: str) -> SyncUser:
        loading = self._loading.get(user_id)
        if loading is None:
            loading = self._loading[user_id] = self._tasks.start("rooms of a user", self._load(user_id))
        return await asyncio.shield(loading)

    async def _load(self, user_id: str) -> SyncUser:
        try:
            return await self._read(user_id)
        finally:
            # Not before: two that load the same user would miss what the other one took note of.
            self._loading.pop(user_id, None)

    async def _read(self, user_id: str) -> SyncUser:
        while True:
            self._changed.discard(user_id)
            async with self._db.read() as tx:
                rows = await timeline.rooms_of_user(tx, user_id)
            newest = max((row.position for row in rows), default=0)
            if user_id not in self._changed and newest <= self._notifier.position:
                break
            await asyncio.sleep(0)
        now = self._notifier.position
        user = SyncUser(user_id, now, to_device_at=now, threads_at=now)
        for row in rows:
            user.set(row)
        for room_id in user.joined:
            self._notifier.follow(user_id, room_id)
        self._users[user_id] = user
        while len(self._users) > self._size:
            oldest = next(iter(self._users))
            if self._notifier.is_waiting(oldest):
                self._users.move_to_end(oldest)
                break
            self.forget(oldest)
        return user

    async def _reach_back(self, user: SyncUser, since: int) -> None:
        """Read how memberships changed between `since` and the floor."""
        floor = user.floor
        late = {room_id: nid for room_id, nid in user.nids.items() if user.positions[room_id] > since}
        async with self._db.read() as tx:
            rows = await timeline.member_events_of(tx, user.user_id, late.values(), since)
        ids = [i for row in rows for i in (row.event_id, row.previous_id) if i is not None]
        stored = await self._events.get_many(ids)
        names = {nid: room_id for room_id, nid in late.items()}
        found = [
            MembershipChange(
                row.position,
                names[row.room_nid],
                _membership(stored.get(row.event_id or "")),
                _membership(stored.get(row.previous_id or "")),
                row.event_id,
            )
            for row in rows
            if row.position <= floor
        ]
        told = {change.room_id for change in found}
        for room_id in late:
            if room_id not in told and user.positions[room_id] <= floor:
                membership = user.memberships[room_id]
                before = "invite" if membership in ("leave", "ban") else "leave"
                found.append(MembershipChange(user.positions[room_id], room_id, membership, before, None))
        if user.floor == floor:
            user.changes[:0] = sorted(found, key=lambda change: change.position)
            user.floor = since

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS:
                if isinstance(hint.payload, StoredEvent) and hint.payload.changed:
                    self._on_state_change(hint.payload, hint.position)
            elif hint.stream == Stream.MEMBERSHIPS:
                for user_id in hint.keys:
                    self.forget(user_id)
            elif hint.stream == Stream.TO_DEVICE:
                for user_id in hint.keys:
                    user = self._users.get(user_id)
                    if user is not None:
                        user.to_device_at = hint.position
            elif hint.stream == Stream.THREAD_SUBSCRIPTIONS:
                for user_id in hint.keys:
                    user = self._users.get(user_id)
                    if user is not None:
                        user.threads_at = hint.position

    def _on_state_change(self, stored: StoredEvent, position: int) -> None:
        for (event_type, user_id), (event_id, _) in stored.changed.items():
            if event_type != MEMBER:
                continue
            self._changed.add(user_id)
            user = self._users.get(user_id)
            if user is None or user.positions.get(stored.event.room_id, 0) >= position:
                continue
            member = stored if event_id == stored.event_id else self._events.cached(event_id or "")
            if event_id is not None and member is None:
                self.forget(user_id)
            else:
                self._on_member_event(user, stored, member, position)

    def _on_member_event(self, user: SyncUser, stored: StoredEvent, member: StoredEvent | None, position: int) -> None:
        user_id, room_id = user.user_id, stored.event.room_id
        membership, before = _membership(member), user.memberships.get(room_id, "leave")
        sender = stored.event.sender if member is None else member.event.sender
        user.set(UserRoom(room_id, stored.room_nid, membership, position, sender, False))
        event_id = None if member is None else member.event_id
        user.changes.append(MembershipChange(position, room_id, membership, before, event_id))
        if len(user.changes) > _MAX_CHANGES:
            half = len(user.changes) // 2
            user.floor = user.changes[half - 1].position
            del user.changes[:half]
        if membership == "join":
            self._notifier.follow(user_id, room_id)
        else:
            self._notifier.unfollow(user_id, room_id)
        self._notifier.wake_users((user_id,))


def _membership(stored: StoredEvent | None) -> str:
    return "leave" if stored is None else stored.event.membership or "leave"
