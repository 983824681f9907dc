"""Who is online: merged over a user's devices, changed by what they do and by time passing.

Nothing runs for users who are offline: one task sleeps until the next moment at which somebody may become idle or
offline. Who is there when a server of one process stops is there when it is back, and offline if they do not return in
time. https://spec.matrix.org/v1.19/client-server-api/#presence
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from homeserver.config.account_sections import Presence as PresenceConfig
from homeserver.errors import InvalidParam
from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.events import StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sync.users import SyncUsers
from storage import memberships
from storage import presence as storage
from storage.database import Database, Write
from storage.presence import PresenceRow
from storage.streams import Stream

ONLINE, UNAVAILABLE, OFFLINE = "online", "unavailable", "offline"
STATES = (ONLINE, UNAVAILABLE, OFFLINE)
_PRESENT = {ONLINE: 2, UNAVAILABLE: 1, OFFLINE: 0}
_MAX_KNOWN = 50_000
_MAX_STATUS = 1_000
# The stamp of what was so before this process: no news to anybody.
_BEFORE = 1


@dataclass(frozen=True, slots=True)
class PresenceState:
    """What others see. `last_active_at` in milliseconds since the epoch, 0 for unknown; `stamp` says when it
    changed."""

    user_id: str
    state: str = OFFLINE
    status_msg: str | None = None
    last_active_at: int = 0
    currently_active: bool = False
    stamp: int = 0


@dataclass(slots=True)
class _Device:
    state: str
    last_sync: float
    syncing: int = 0


@dataclass(slots=True)
class _LocalUser:
    """A local user who is not offline, or was not a moment ago, as this process sees them. `seen` is how it last saw
    them: state, status message, whether active."""

    devices: dict[str, _Device] = field(default_factory=dict)
    last_active: float = 0.0  # on the monotonic clock
    last_active_at: int = 0
    status_msg: str | None = None
    is_due: bool = False
    seen: tuple[str, str | None, bool] | None = None


class Presence:
    """Local users by what they do, others by what their servers say."""

    def __init__(
        self,
        db: Database,
        notifier: Notifier,
        bus: Bus,
        users: SyncUsers,
        heads: RoomHeads,
        clock: Clock,
        tasks: Tasks,
        config: PresenceConfig,
    ) -> None:
        self._db = db
        self._notifier = notifier
        self._bus = bus
        self._sync_users = users
        self._heads = heads
        self._clock = clock
        self._tasks = tasks
        self._config = config
        self._states: OrderedDict[str, PresenceState] = OrderedDict()  # the newest change last
        self._local: dict[str, _LocalUser] = {}
        self._due: list[tuple[float, str]] = []
        self._sleeper: asyncio.Task[None] | None = None
        notifier.listeners.append(self._on_hints)

    @property
    def is_enabled(self) -> bool:
        return self._config.enabled

    async def start(self) -> None:
        """Take up who was there when the server stopped. Other processes would not tell whom they have now."""
        if not self._config.enabled or self._db.is_shared:
            return
        async with self._db.read() as tx:
            rows = await storage.of_those_present(tx)
        found = [
            PresenceState(row.user_id, row.state, row.status_msg, row.last_active_at, stamp=_BEFORE) for row in rows
        ]
        self._states.update((state.user_id, state) for state in found[:_MAX_KNOWN])
        if found:
            self._tasks.start("presence ends", self._miss(found))

    async def stop(self) -> None:
        """Keep who is there."""
        states = [state for user_id in self._local if (state := self._states.get(user_id)) is not None]

        async def operation(tx: Write) -> None:
            for state in states:
                storage.put(tx, PresenceRow(state.user_id, state.state, state.status_msg, state.last_active_at))

        if states and not self._db.is_shared:
            await self._db.write(operation)

    async def _miss(self, before: Sequence[PresenceState]) -> None:
        """Those who do not come back after the start are offline."""
        await self._clock.sleep(self._config.offline_after)
        for state in before:
            if self._states.get(state.user_id) is state:
                gone = PresenceState(state.user_id, OFFLINE, state.status_msg, state.last_active_at)
                self._publish(gone, is_local=True)
                await self._store(gone)

    # --- local users

    @contextmanager
    def syncing(self, user_id: str, device_id: str, state: str) -> Iterator[None]:
        """While a device of a local user is in a /sync with that `set_presence`; `offline` does not count."""
        if not self._config.enabled or state == OFFLINE:
            yield
            return
        user = self._local_user(user_id)
        device = user.devices.get(device_id)
        now = self._clock.monotonic()
        if device is None:
            device = user.devices[device_id] = _Device(state, now)
        if (state == ONLINE and device.state != ONLINE) or not user.last_active_at:
            self._note_active(user)
        device.state = state
        device.syncing += 1
        self._update(user_id, user)
        try:
            yield
        finally:
            device.syncing -= 1
            device.last_sync = self._clock.monotonic()

    def active(self, user_id: str) -> None:
        """A local user did something: sent an event or a receipt, typed."""
        user = self._local.get(user_id)
        if user is None or not self._config.enabled:
            return
        self._note_active(user)
        self._update(user_id, user)

    async def set(self, user_id: str, device_id: str, state: str, status_msg: str | None) -> None:
        """A local user says how they are; raises InvalidParam."""
        if state not in STATES:
            raise InvalidParam(f"presence is one of {', '.join(STATES)}")
        if status_msg is not None and len(status_msg) > _MAX_STATUS:
            raise InvalidParam(f"status_msg has at most {_MAX_STATUS} characters")
        if not self._config.enabled:
            return
        user = self._local_user(user_id)
        user.status_msg = status_msg
        if state == OFFLINE:
            user.devices.clear()
        else:
            device = user.devices.setdefault(device_id, _Device(state, 0.0))
            device.state, device.last_sync = state, self._clock.monotonic()
            if state == ONLINE:
                self._note_active(user)
        self._update(user_id, user)
        await self._store(self._states.get(user_id) or PresenceState(user_id, state, status_msg))

    async def get(self, user_id: str) -> PresenceState:
        """How the user is; offline where nothing is known."""
        known = self._states.get(user_id)
        if known is not None:
            return known
        async with self._db.read() as tx:
            row = (await storage.of_users(tx, [user_id])).get(user_id)
        if row is None:
            return PresenceState(user_id)
        return PresenceState(user_id, OFFLINE, row.status_msg, row.last_active_at)

    # --- users of other servers

    def receive(
        self,
        user_id: str,
        state: str,
        *,
        status_msg: str | None = None,
        last_active_ago_ms: int | None = None,
        currently_active: bool = False,
    ) -> None:
        """Another server says how one of its users is."""
        if not self._config.enabled or state not in STATES:
            return
        now = self._clock.now_ms()
        at = 0 if last_active_ago_ms is None else max(now - last_active_ago_ms, 0)
        self._publish(PresenceState(user_id, state, status_msg, at, currently_active), is_local=False)

    # --- reading

    def present(self) -> list[str]:
        """Everybody who is known to be there."""
        return [state.user_id for state in self._states.values() if state.state != OFFLINE]

    def changed_since(self, stamp: int, user_id: str) -> list[PresenceState]:
        """What changed after the stamp about users whom this one shares a room with (and the user)."""
        found: list[PresenceState] = []
        for state in reversed(self._states.values()):
            if state.stamp <= stamp:
                break
            if state.user_id == user_id or self.share_a_room(user_id, state.user_id):
                found.append(state)
        return found

    def of_newcomers(self, user_ids: Set[str], upto: int) -> list[PresenceState]:
        """How those are whom somebody has just come to share a room with, where that is not news after the stamp
        `upto`. Who is offline need not be told of."""
        few, many = sorted((user_ids, self._states.keys()), key=len)
        states = (self._states[user_id] for user_id in few if user_id in many)
        return [state for state in states if state.state != OFFLINE and state.stamp <= upto]

    async def may_see(self, user_id: str, other_id: str) -> bool:
        """Whether a local user shares a room with somebody; from the database where it must be."""
        user = await self._sync_users.get(user_id, None)
        if self.share_a_room(user_id, other_id):
            return True
        async with self._db.read() as tx:
            return not user.joined.keys().isdisjoint(await memberships.joined_room_ids(tx, other_id))

    def share_a_room(self, user_id: str, other_id: str) -> bool:
        """Whether two users are in one room; `user_id` syncs here. Only looks into memory."""
        user, other = self._sync_users.cached(user_id), self._sync_users.cached(other_id)
        if user is None:
            return False
        if other is not None:
            return not user.joined.keys().isdisjoint(other.joined)
        return any((h := self._heads.cached(room_id)) is not None and other_id in h.joined for room_id in user.joined)

    def content_of(self, state: PresenceState) -> dict[str, Any]:
        """The content of an m.presence event."""
        content: dict[str, Any] = {"presence": state.state}
        if state.status_msg is not None:
            content["status_msg"] = state.status_msg
        if state.last_active_at:
            content["last_active_ago"] = max(self._clock.now_ms() - state.last_active_at, 0)
        if state.state == ONLINE:
            content["currently_active"] = state.currently_active
        return content

    def event(self, state: PresenceState) -> bytes:
        """An m.presence event as JSON text."""
        return orjson.dumps({"type": "m.presence", "sender": state.user_id, "content": self.content_of(state)})

    # ---

    def _local_user(self, user_id: str) -> _LocalUser:
        user = self._local.get(user_id)
        if user is None:
            known = self._states.get(user_id)
            user = self._local[user_id] = _LocalUser(status_msg=None if known is None else known.status_msg)
        return user

    def _note_active(self, user: _LocalUser) -> None:
        user.last_active = self._clock.monotonic()
        user.last_active_at = self._clock.now_ms()

    def _update(self, user_id: str, user: _LocalUser) -> None:
        """Tell others if what they see changed; look again when time alone may change it."""
        now = self._clock.monotonic()
        state = self._merged(user, now)
        is_active = state == ONLINE and now - user.last_active < self._config.active_for
        known = self._states.get(user_id)
        seen, told = (state, user.status_msg, is_active), None if known is None else _looks(known)
        is_news = seen != told and seen != user.seen
        user.seen = seen
        if known is None or known.stamp == _BEFORE or is_news or _is_more(seen, known):
            now_told = PresenceState(user_id, state, user.status_msg, user.last_active_at, is_active)
            self._publish(now_told, is_local=True)
            if state == OFFLINE and known is not None:
                self._tasks.start("presence is kept", self._store(now_told))
        if state == OFFLINE:
            self._local.pop(user_id, None)
        elif not user.is_due:
            user.is_due = True
            heapq.heappush(self._due, (now + self._next_look(user, now), user_id))
            if self._sleeper is None or self._sleeper.done():
                self._sleeper = self._tasks.start("presence ends", self._look_when_due())

    def _merged(self, user: _LocalUser, now: float) -> str:
        for device_id in [i for i, d in user.devices.items() if self._is_gone(d, now)]:
            del user.devices[device_id]
        states = {device.state for device in user.devices.values()}
        if ONLINE in states and now - user.last_active < self._config.idle_after:
            return ONLINE
        return UNAVAILABLE if states else OFFLINE

    def _is_gone(self, device: _Device, now: float) -> bool:
        return not device.syncing and now - device.last_sync >= self._config.offline_after

    def _next_look(self, user: _LocalUser, now: float) -> float:
        marks = [user.last_active + self._config.active_for, user.last_active + self._config.idle_after]
        marks += [d.last_sync + self._config.offline_after for d in user.devices.values() if not d.syncing]
        later = [mark - now for mark in marks if mark > now]
        return max(min(later, default=self._config.offline_after), 0.5)

    async def _look_when_due(self) -> None:
        while self._due:
            at, user_id = self._due[0]
            left = at - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(min(left, 5.0))  # somebody may be due earlier meanwhile
                continue
            heapq.heappop(self._due)
            user = self._local.get(user_id)
            if user is not None:
                user.is_due = False
                self._update(user_id, user)

    def _publish(self, state: PresenceState, *, is_local: bool) -> None:
        payload = {
            "state": state.state,
            "status_msg": state.status_msg,
            "last_active_at": state.last_active_at,
            "currently_active": state.currently_active,
            "is_local": is_local,
        }
        self._bus.publish([Hint(Stream.PRESENCE, 0, (state.user_id,), payload)])

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS and isinstance(hint.payload, StoredEvent) and hint.payload.is_local:
                self.active(hint.payload.event.sender)
            if hint.stream != Stream.PRESENCE or not isinstance(hint.payload, dict):
                continue
            user_id, told = hint.keys[0], hint.payload
            self._states[user_id] = PresenceState(
                user_id,
                told["state"],
                told["status_msg"],
                told["last_active_at"],
                told["currently_active"],
                self._notifier.stamp(),
            )
            self._states.move_to_end(user_id)
            self._insist(self._states[user_id])
            if len(self._states) > _MAX_KNOWN:
                self._states.popitem(last=False)
            for room_id in self._rooms_of(user_id):
                self._notifier.wake_room(room_id)

    def _insist(self, told: PresenceState) -> None:
        """A process tells what it sees of a user: who sees more of them says so. Only who sees more, or the processes
        would not come to an end."""
        user = self._local.get(told.user_id)
        if user is not None:
            user.status_msg = told.status_msg
            if user.seen is not None and _is_more(user.seen, told):
                self._update(told.user_id, user)

    def _rooms_of(self, user_id: str) -> Iterable[str]:
        user = self._sync_users.cached(user_id)
        if user is not None:
            return user.joined
        heads: Callable[[str], Any] = self._heads.cached
        return [r for r in self._notifier.followed_rooms() if (h := heads(r)) is not None and user_id in h.joined]

    async def _store(self, state: PresenceState) -> None:
        async def operation(tx: Write) -> None:
            storage.put(tx, PresenceRow(state.user_id, state.state, state.status_msg, state.last_active_at))

        await self._db.write(operation)


def _looks(state: PresenceState) -> tuple[str, str | None, bool]:
    """What others see of it at once."""
    return (state.state, state.status_msg, state.currently_active)


def _is_more(seen: tuple[str, str | None, bool], told: PresenceState) -> bool:
    """Whether a process sees more of a user than is told."""
    state, _, is_active = seen
    return (_PRESENT[state], is_active) > (_PRESENT[told.state], told.currently_active)
