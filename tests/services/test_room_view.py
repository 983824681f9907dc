"""Which events of a room a timeline shows, from memory."""

from homeserver.core.event_builder import EventDraft, build_event
from homeserver.core.filters import EventFilter
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signatures import generate_signing_key
from homeserver.services.events import StoredEvent
from homeserver.services.sync.room_log import RoomLog
from homeserver.services.sync.room_view import Span, view_timeline

ROOM, SENDER = "!room:here.example", "@alice:here.example"
NONE: frozenset[str] = frozenset()


def stored(position: int, *, depth: int | None = None, follows_gap: bool = False) -> StoredEvent:
    event = build_event(
        EventDraft("m.room.message", SENDER, {"body": str(position)}, ROOM),
        ROOM_VERSIONS["11"],
        prev_events=[],
        auth_events=[],
        depth=position if depth is None else depth,
        origin_server_ts=position,
        server_name="here.example",
        signing_key=generate_signing_key("1", bytes(32)),
    )
    return StoredEvent(event, position, 1, position, follows_gap=follows_gap)


def log_of(*events: StoredEvent) -> RoomLog:
    return RoomLog(ROOM, 0, 0, list(events), [event.position or 0 for event in events])


def test_a_timeline_starts_after_the_last_gap_and_is_limited() -> None:
    events = [stored(1), stored(2, follows_gap=True), stored(3), stored(4, follows_gap=True), stored(5)]
    span = Span(0, 5, is_full=False, is_new=False)
    view = view_timeline(log_of(*events), span, EventFilter(), NONE, NONE)
    assert view.events == (events[3], events[4])
    assert view.limited
    assert (view.prev_batch, view.start) == ("t4_4", 4)


def test_a_room_that_is_new_to_the_client_is_shown_by_depth() -> None:
    late = stored(4, depth=2)
    events = [stored(1), stored(2), stored(3), late]
    span, wanted = Span(0, 4, is_full=True, is_new=True), EventFilter(limit=2)
    view = view_timeline(log_of(*events), span, wanted, NONE, NONE)
    assert view.events == (late, events[2])
    assert (view.prev_batch, view.start) == ("t2_4", 3)
    view = view_timeline(log_of(*events), Span(0, 4, is_full=False, is_new=False), wanted, NONE, NONE)
    assert view.events == (events[2], late)
    assert (view.prev_batch, view.start) == ("s2_0", 3)


def test_a_gap_that_the_client_is_past_is_none() -> None:
    events = [stored(1), stored(2, follows_gap=True), stored(3)]
    view = view_timeline(log_of(*events), Span(2, 3, is_full=False, is_new=False), EventFilter(), NONE, NONE)
    assert view.events == (events[2],)
    assert not view.limited


def test_a_gap_counts_though_the_filter_hides_the_event_after_it() -> None:
    events = [stored(1), stored(2, follows_gap=True)]
    wanted = EventFilter.parse({"types": ["m.room.name"]})
    view = view_timeline(log_of(*events), Span(0, 2, is_full=False, is_new=False), wanted, NONE, NONE)
    assert view.events == ()
    assert view.limited
