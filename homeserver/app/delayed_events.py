"""Delayed events: scheduling them, and sending them in time."""

from dataclasses import dataclass

from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading, RoomWriting
from homeserver.services import delayed_events
from homeserver.services.delayed_event_posting import DelayedEventPosting
from homeserver.services.delayed_event_sender import DelayedEventSender, Limit


@dataclass(frozen=True, slots=True)
class DelayedEvents:
    """What clients ask, and what works in the background."""

    service: delayed_events.DelayedEvents
    sender: DelayedEventSender


def build_delayed_events(base: Foundation, reading: RoomReading, writing: RoomWriting, limit: Limit) -> DelayedEvents:
    """Needs the rooms to write; `limit` is what sending at once is limited by."""
    database, events, heads, rooms = base.database, reading.events, reading.heads, base.config.rooms
    posting = DelayedEventPosting(database, writing.send_event, writing.membership, writing.directory, base.clock)
    return DelayedEvents(
        delayed_events.DelayedEvents(
            database,
            events,
            heads,
            writing.idempotency,
            posting,
            base.clock,
            base.randomness,
            max_delay_ms=round(rooms.max_event_delay * 1000),
            max_scheduled=rooms.max_delayed_events,
        ),
        DelayedEventSender(
            database, events, heads, posting, limit, base.clock, base.tasks, process_name=base.process_name
        ),
    )
