"""Who is in a room that was joined without its members: what events that come say of it themselves."""

from homeserver.core.auth_rules import auth_events_of, auth_types_for
from homeserver.core.events import MEMBER, Event
from homeserver.services.events import Events
from homeserver.services.room_heads import HeadDraft
from homeserver.services.room_state import RoomState
from homeserver.services.snapshots import Entry, Snapshot
from storage.database import Write


class LentMembers:
    """Completes partial states, as far as one event needs it, from what the event cites in auth_events."""

    def __init__(self, events: Events, state: RoomState) -> None:
        self._events = events
        self._state = state

    async def added(self, tx: Write, draft: HeadDraft, event: Event, before: Snapshot) -> Snapshot:
        """`before` with those memberships that decide about the event and that it lacks, where the event cites them.

        What is known counts, whatever the event says. Whether the rest was true is seen when all members are known.
        """
        wanted = auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)
        lacking = {key for key in wanted if key[0] == MEMBER and before.get(key) is None}
        if not lacking:
            return before
        lent: dict[tuple[str, str], Entry | None] = {}
        for stored in (await self._events.get_many(auth_events_of(event), tx)).values():
            cited = stored.event
            if cited.is_state and cited.key in lacking and stored.rejected is None and cited.room_id == event.room_id:
                lent[cited.key] = (cited.event_id, stored.nid)
        return self._state.extend(tx, draft.room_nid, before, lent) if lent else before
