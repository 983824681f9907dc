"""Whether a user may see events: the one way in which everything that is read on behalf of a user is filtered."""

from collections.abc import Sequence

from homeserver.core.events import MEMBER, StateKey
from homeserver.core.history_visibility import HISTORY_VISIBILITY, may_see_event, visibility_of
from homeserver.services.events import Events, StoredEvent
from homeserver.services.room_state import RoomState

_VISIBILITY_KEY: StateKey = (HISTORY_VISIBILITY, "")


class Visibility:
    """Asks core about events of one room, having gathered the state before them."""

    def __init__(self, events: Events, state: RoomState) -> None:
        self._events = events
        self._state = state

    async def memberships_of_visible(
        self, user_id: str, stored: Sequence[StoredEvent], *, is_joined: bool
    ) -> dict[str, str]:
        """For each of the events that the user may see: their membership after it (`unsigned.membership`), by event id.

        `is_joined`: whether the user is joined to the room now, or has been after these events.
        """
        accepted = [one for one in stored if one.is_accepted]
        if not accepted:
            return {}
        found: dict[str, str] = {}
        entries = [await self._entries(user_id, one) for one in accepted]
        needed = await self._events.get_many({event_id for pair in entries for event_id in pair if event_id})
        for one, (visibility_id, member_id) in zip(accepted, entries, strict=True):
            setting = needed.get(visibility_id or "")
            member = needed.get(member_id or "")
            membership = "leave" if member is None else member.event.membership or "leave"
            visibility = visibility_of(None if setting is None else setting.event.content)
            event = one.event
            if may_see_event(visibility, membership, is_joined, event, user_id):
                is_own = event.type == MEMBER and event.state_key == user_id
                found[one.event_id] = (event.membership or membership) if is_own else membership
        return found

    async def _entries(self, user_id: str, stored: StoredEvent) -> tuple[str | None, str | None]:
        """Event ids of the history visibility and of the user's member event in the state before the event.

        For history whose state is not known the room's visibility of today counts, and no membership.
        """
        if stored.snapshot_id is None:
            current = await self._state.current(stored.event.room_id)
            return current.get(_VISIBILITY_KEY), None
        snapshot = await self._state.snapshot(stored.snapshot_id)
        setting, member = snapshot.get(_VISIBILITY_KEY), snapshot.get((MEMBER, user_id))
        return None if setting is None else setting[0], None if member is None else member[0]
