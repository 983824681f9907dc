"""Who is in a room that was joined without its members: what events that come say of it themselves."""

from homeserver.core.auth_errors import MissingEvents
from homeserver.core.auth_rules import auth_events_of, auth_types_for
from homeserver.core.events import MEMBER, Event, StateKey
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
        lent: dict[StateKey, Entry | None] = {
            key: entry for key, entry in (await self._cited(tx, event)).items() if before.get(key) is None
        }
        return self._state.extend(tx, draft.room_nid, before, lent) if lent else before

    async def resolved(self, tx: Write, draft: HeadDraft, event: Event, before: Snapshot) -> dict[StateKey, str]:
        """The memberships that decide about the event, where it cites others than those in `before`: what is known may
        come of events that should not have been let in."""
        cited = await self._cited(tx, event)
        other = {key: entry[0] for key, entry in cited.items() if (before.get(key) or entry)[0] != entry[0]}
        if not other:
            return {}
        state = before.state()
        try:
            found = await self._state.resolve(tx, draft.room_version, draft.room_nid, [state, {**state, **other}])
        except MissingEvents:
            return {}
        return {key: found[key] for key in other if key in found}

    async def _cited(self, tx: Write, event: Event) -> dict[StateKey, Entry]:
        wanted = auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)
        members = {key for key in wanted if key[0] == MEMBER}
        found: dict[StateKey, Entry] = {}
        for stored in (await self._events.get_many(auth_events_of(event), tx)).values():
            cited = stored.event
            if cited.is_state and cited.key in members and stored.rejected is None and cited.room_id == event.room_id:
                found[cited.key] = (cited.event_id, stored.nid)
        return found
