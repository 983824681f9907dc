"""Redactions: which ones count, and what becomes of the events that they redact.

https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
"""

from collections.abc import Sequence
from dataclasses import replace

from homeserver.core.auth_selection import CREATE_KEY, POWER_LEVELS_KEY
from homeserver.core.events import MEMBER, Event
from homeserver.core.power_levels import PowerLevels
from homeserver.services.events import Events, StoredEvent
from homeserver.services.room_heads import HeadDraft
from homeserver.services.room_state import RoomState
from storage import events as storage_events
from storage.database import Write
from storage.tables import event_relations, memberships
from storage.tables import events as events_table


class Redactions:
    """Applies redactions to stored events, in whichever order the two arrive."""

    def __init__(self, events: Events, state: RoomState) -> None:
        self._events = events
        self._state = state

    async def apply(self, tx: Write, draft: HeadDraft, redaction: StoredEvent) -> None:
        """An accepted redaction arrived: redact its target, if that is here and may be redacted by it."""
        redacts = redaction.event.redacts
        target = None if redacts is None else await self._events.get(redacts, tx)
        if target is not None and target.room_nid == draft.room_nid and await self._counts(tx, redaction, target):
            self._redact(tx, draft, target, redaction.event)

    async def look_for(self, tx: Write, draft: HeadDraft, event: Event) -> tuple[StoredEvent | None, list[str]]:
        """The event where it is stored already, and the ids of redactions that came before it."""
        event_id = event.event_id
        found = self._events.cached(event_id, tx)
        if found is not None and not found.outlier:
            return found, []
        if found is None and tx.may_assume and _is_newest(draft, event):
            return None, []
        is_stored, redaction_ids = await storage_events.traces_of(tx, event_id)
        return (await self._events.get(event_id, tx) if is_stored and found is None else found), redaction_ids

    async def apply_earlier(
        self, tx: Write, draft: HeadDraft, target: StoredEvent, redaction_ids: Sequence[str]
    ) -> None:
        """An event arrived that may have been redacted before it came."""
        for event_id in redaction_ids:
            redaction = await self._events.get(event_id, tx)
            if redaction is None or redaction.room_nid != draft.room_nid or not redaction.is_accepted:
                continue
            if await self._counts(tx, redaction, target):
                self._redact(tx, draft, target, redaction.event)
                return

    async def _counts(self, tx: Write, redaction: StoredEvent, target: StoredEvent) -> bool:
        event = redaction.event
        if event.room_version.redaction_auth_rule:
            # Who may redact was decided when the redaction was authorised.
            return True
        if event.sender.partition(":")[2] == target.event.sender.partition(":")[2]:
            return True
        ids = [await self._state.entry_before(redaction, key, tx) for key in (CREATE_KEY, POWER_LEVELS_KEY)]
        found = await self._events.get_many([event_id for event_id in ids if event_id is not None], tx)
        create, power_levels = (found.get(event_id or "") for event_id in ids)
        if create is None:
            return False
        levels = PowerLevels.of(None if power_levels is None else power_levels.event.content, create.event)
        return levels.user(event.sender) >= levels.redact

    def _redact(self, tx: Write, draft: HeadDraft, target: StoredEvent, redaction: Event) -> None:
        if target.redacted_because is not None:
            return
        tx.update(events_table, {"event_nid": target.nid}, redacted_by=redaction.event_id)
        # Without its content it relates to nothing.
        tx.delete(event_relations, event_nid=target.nid)
        event_id = target.event_id
        self._events.forget_elsewhere(tx, event_id, with_successors=target.event.is_state)
        current = draft.get(target.event.key) if target.event.is_state else None
        if target.event.type == MEMBER and current is not None and current[1] == target.nid:
            key = {"room_nid": draft.room_nid, "user_id": target.event.state_key}
            tx.update(memberships, key, display_name=None, avatar_url=None)

        def keep() -> None:
            stored = self._events.cached(event_id) or target
            self._events.put(replace(stored, redacted_because=redaction, client_json={}))
            if target.event.is_state:
                self._events.redact_in_successors(target.event.redacted())

        tx.after_commit(keep)


def _is_newest(draft: HeadDraft, event: Event) -> bool:
    """Whether the event builds on all that the room has here, of which nothing can have cited it then: its id is a hash
    over all of that. If it was stored before, it was without effect: rejected, soft-failed or an outlier.
    """
    extremities = draft.extremities.keys()
    hashed = event.room_version.event_id_format != "opaque"
    return hashed and bool(extremities) and extremities <= set(event.prev_events)
