"""Events that are stored for what they authorise, outside of the timeline: state and auth chains from other servers."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from homeserver.core.auth_errors import AuthError
from homeserver.core.auth_rules import auth_events_of, auth_state_of, check_auth, check_state_independent
from homeserver.core.events import Event
from homeserver.core.room_versions import RoomVersion
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.events import Events
from homeserver.services.import_room import ImportRoom
from homeserver.services.persist_event import authorising_first
from homeserver.services.received_events import Received, parse, verify
from homeserver.services.room_heads import RoomHeads
from storage.database import Database, Read, Write

log = logging.getLogger(__name__)

YIELD_EVERY: Final = 50
"""Events judged before others get their turn on the loop."""


class MissingAuthEvents(Exception):
    """What authorises an event is not stored, so nothing can be said about it. `event_ids`: what lacks."""

    def __init__(self, event_ids: set[str]) -> None:
        super().__init__(", ".join(sorted(event_ids)))
        self.event_ids = frozenset(event_ids)


class Outliers:
    """Checks events against their own auth events (step 4) and stores them as outliers."""

    def __init__(
        self, database: Database, heads: RoomHeads, events: Events, imports: ImportRoom, signatures: EventSignatures
    ) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._imports = imports
        self._signatures = signatures

    async def take_in(
        self,
        room_id: str,
        version: RoomVersion,
        pdus: Sequence[object],
        wanted: Collection[str],
        told_by: str | None = None,
    ) -> None:
        """Stores those of the PDUs of a known room that are new and pass steps 1 to 3; what fails step 4, as rejected.

        What is authorised by events that nobody sent is left out, and so is what is neither `wanted` nor authorises,
        be it through others, what is. `told_by`: as in `EventSignatures.failures`.
        """
        received = await self.check(room_id, version, pdus, wanted, told_by)
        new, rejected = await self.judge(received.events)
        if not new:
            return

        async def store(tx: Write) -> None:
            draft = await self._heads.draft(tx, room_id)
            if draft is not None:
                await self._imports.outliers(tx, draft, new, rejected)

        await self._database.write(store)

    async def check(
        self,
        room_id: str,
        version: RoomVersion,
        pdus: Sequence[object],
        wanted: Collection[str] | None = None,
        told_by: str | None = None,
    ) -> Received:
        """Steps 1 to 3 for those of the PDUs that are not stored yet; of what fails, or nobody asked for, only the ids
        are in it."""
        received = parse(pdus, version, room_id)
        if wanted is not None:
            received.events = _chain_of(wanted, received.events)
        known = await self._events.which_are_stored(event.event_id for event in received.events)
        received.events = [event for event in received.events if event.event_id not in known]
        received = await verify(received, self._signatures, told_by)
        for event_id, reason in received.dropped:
            log.info("dropped event %s of %s: %s", event_id, room_id, reason)
        return received

    async def known(self, event_ids: Sequence[str]) -> dict[str, Event]:
        """Those of the events that are stored and not rejected."""
        stored = await self._events.get_many(event_ids)
        return {event_id: one.event for event_id, one in stored.items() if one.rejected is None}

    async def judge(self, events: Sequence[Event]) -> tuple[list[Event], dict[str, str]]:
        """Step 4 for many events that may authorise each other: those with something to go by, each after what
        authorises it, and why some of them are rejected, by id."""
        by_id = {event.event_id: event for event in events}
        outside = {auth_id for event in events for auth_id in auth_events_of(event) if auth_id not in by_id}
        stored = await self._events.get_many(outside)
        known = {event_id: one.event for event_id, one in stored.items()}
        refused = {event_id for event_id, one in stored.items() if one.rejected is not None}
        judged: list[Event] = []
        rejected: dict[str, str] = {}
        for count, event in enumerate(authorising_first(events), 1):
            if not count % YIELD_EVERY:
                await asyncio.sleep(0)
            if missing := [auth_id for auth_id in auth_events_of(event) if auth_id not in known]:
                log.info("dropped event %s of %s: auth events missing: %s", event.event_id, event.room_id, missing)
                continue
            known[event.event_id] = event
            judged.append(event)
            reason = refusal_by_auth_events(event, known, refused)
            if reason is not None:
                refused.add(event.event_id)
                rejected[event.event_id] = reason
                log.info("rejected event %s of %s: %s", event.event_id, event.room_id, reason)
        return judged, rejected

    async def rejection(self, event: Event, tx: Read | None = None) -> str | None:
        """Step 4 for one event: why its auth events do not allow it. Raises `MissingAuthEvents`."""
        ids = auth_events_of(event)
        found = await self._events.get_many(ids, tx)
        if missing := set(ids) - found.keys():
            raise MissingAuthEvents(missing)
        refused = {event_id for event_id, stored in found.items() if stored.rejected is not None}
        return refusal_by_auth_events(event, {event_id: stored.event for event_id, stored in found.items()}, refused)


def _chain_of(wanted: Collection[str], events: Sequence[Event]) -> list[Event]:
    """Those of the events that are wanted, or authorise them, in the order in which they came."""
    by_id = {event.event_id: event for event in events}
    pending = [event_id for event_id in wanted if event_id in by_id]
    chain = set(pending)
    while pending:
        following = {i for i in auth_events_of(by_id[pending.pop()]) if i in by_id} - chain
        chain |= following
        pending += following
    return [event for event in events if event.event_id in chain]


def refusal_by_auth_events(event: Event, known: Mapping[str, Event], rejected: set[str]) -> str | None:
    """Why the auth events of an event, all of which are `known`, do not allow it; None where they do."""
    try:
        check_state_independent(event, [known[event_id] for event_id in event.auth_events], rejected=rejected)
        check_auth(event, auth_state_of(event, known, rejected))
    except AuthError as error:
        return f"step 4, rule {error.rule}: {error.reason}"
    return None
