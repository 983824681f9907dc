"""Whose devices a client has to look at again, and whose it can forget.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from homeserver.core.events import MEMBER
from homeserver.runtime.bus import Hint
from homeserver.services.events import StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sync.room_sections import RoomDraft
from homeserver.services.sync.sources import DeviceListChanges
from homeserver.services.sync.users import SyncUser, SyncUsers
from storage.streams import Stream

_MAX_KNOWN = 20_000


class DeviceLists:
    """Changes of devices from memory; older ones from their log."""

    def __init__(self, notifier: Notifier, users: SyncUsers, heads: RoomHeads, changes: DeviceListChanges) -> None:
        self._notifier = notifier
        self._users = users
        self._heads = heads
        self._changes = changes
        self._latest: OrderedDict[str, int] = OrderedDict()
        self._floor = notifier.position
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._reset)

    async def changed(
        self, user: SyncUser, since: int, upto: int, drafts: Iterable[RoomDraft], left_rooms: Sequence[str]
    ) -> dict[str, Any]:
        """The `device_lists` of an incremental answer; empty where nothing changed."""
        candidates = self._between(since, upto)
        if since < self._floor:
            candidates.update(await self._changes.between(since, self._floor))
        changed = await self._sharing(user, candidates) | (candidates & {user.user_id})
        gone: set[str] = set()
        for draft in drafts:
            if draft.span.is_new:
                head = self._heads.cached(draft.room_id)
                if head is not None:
                    changed.update(head.joined)
                continue
            for stored in draft.member_changes():
                _note_member(stored, changed, gone)
        for room_id in left_rooms:
            head = self._heads.cached(room_id)
            if head is not None:
                gone.update(head.joined)
        gone -= await self._sharing(user, gone) | {user.user_id}
        changed -= gone
        found: dict[str, Any] = {}
        if changed:
            found["changed"] = sorted(changed)
        if gone:
            found["left"] = sorted(gone)
        return found

    def _between(self, since: int, upto: int) -> set[str]:
        found: set[str] = set()
        for other in reversed(self._latest):
            if self._latest[other] <= since:
                break
            if self._latest[other] <= upto:
                found.add(other)
        return found

    async def _sharing(self, user: SyncUser, others: Collection[str]) -> set[str]:
        """Those of the others who are in a room that the user is in; from the database where memory cannot tell."""
        found: set[str] = set()
        unclear: list[str] = []
        for other_id in others:
            share = self._share(user, other_id)
            if share is None:
                unclear.append(other_id)
            elif share:
                found.add(other_id)
        return found | await self._changes.sharing_rooms(user.user_id, unclear) if unclear else found

    def _share(self, user: SyncUser, other_id: str) -> bool | None:
        """Whether the two are in one room; None where that is not in memory."""
        other = self._users.cached(other_id)
        if other is not None:
            return not user.joined.keys().isdisjoint(other.joined)
        heads = [self._heads.cached(room_id) for room_id in user.joined]
        if any(head is not None and other_id in head.joined for head in heads):
            return True
        return None if None in heads else False

    def _reset(self) -> None:
        self._latest.clear()
        self._floor = self._notifier.position

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream != Stream.DEVICE_LISTS:
                continue
            for other in hint.keys:
                self._latest[other] = hint.position
                self._latest.move_to_end(other)
                if len(self._latest) > _MAX_KNOWN:
                    _, self._floor = self._latest.popitem(last=False)
                self._wake(other)

    def _wake(self, other: str) -> None:
        self._notifier.wake_users((other,))
        user = self._users.cached(other)
        if user is not None:
            for room_id in user.joined:
                self._notifier.wake_room(room_id)
            return
        for room_id in list(self._notifier.followed_rooms()):
            head = self._heads.cached(room_id)
            if head is None or other in head.joined:
                self._notifier.wake_room(room_id)


def _note_member(stored: StoredEvent, changed: set[str], gone: set[str]) -> None:
    event = stored.event
    if event.type != MEMBER or event.state_key is None:
        return
    before = None if stored.replaces is None else stored.replaces.membership
    if event.membership == "join" and before != "join":
        changed.add(event.state_key)
    elif event.membership != "join" and before == "join":
        gone.add(event.state_key)
