"""The two orders in which state resolution version 2 applies events.

https://spec.matrix.org/v1.19/rooms/v2/#definitions
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush

from homeserver.core.auth_rules import auth_events_of
from homeserver.core.auth_selection import CREATE_KEY, JOIN_RULES_KEY, POWER_LEVELS_KEY
from homeserver.core.events import Event
from homeserver.core.power_levels import Level, PowerLevels
from homeserver.core.state_resolution_events import LoadedEvents


def is_power_event(event: Event) -> bool:
    """Whether an event may take away someone's ability to do something in the room.

    The create event counts as one, as on other servers: it is at the root of all, so it can only come first.
    """
    if event.type == "m.room.member":
        return event.membership in ("leave", "ban") and event.sender != event.state_key
    return event.state_key == "" and event.key in (POWER_LEVELS_KEY, JOIN_RULES_KEY, CREATE_KEY)


def power_events_with_chains(conflicted: AbstractSet[str], events: Mapping[str, Event]) -> dict[str, list[str]]:
    """Step 1 of the algorithm: the power events of the full conflicted set with those events of it that are in their
    auth chains. Each maps to the auth events that it cites in the result.

    A chain is followed through the full conflicted set only, as other servers do: an event whose connection to a power
    event leaves that set is not among them.
    """
    pending = [event_id for event_id in conflicted if is_power_event(events[event_id])]
    graph: dict[str, list[str]] = {}
    while pending:
        event_id = pending.pop()
        if event_id in graph:
            continue
        cited = {auth_id for auth_id in auth_events_of(events[event_id]) if auth_id in conflicted}
        graph[event_id] = list(cited)
        pending.extend(auth_id for auth_id in cited if auth_id not in graph)
    return graph


def reverse_topological_power_order(graph: Mapping[str, Iterable[str]], events: Mapping[str, Event]) -> list[str]:
    """The events of `graph` (id → ids of cited auth events in the graph), each after all that it cites, and otherwise
    the sender with the highest power level first, then by origin_server_ts, then by id.

    Kahn's algorithm with a heap: O((V + E) log V). `events` also has the auth events of all of them.
    """
    waiting_for: dict[str, int] = {}
    cited_by: dict[str, list[str]] = {}
    for event_id, cited in graph.items():
        count = 0
        for auth_id in cited:
            cited_by.setdefault(auth_id, []).append(event_id)
            count += 1
        waiting_for[event_id] = count
    ready = [_power_order(events[event_id], events) for event_id, count in waiting_for.items() if not count]
    heapify(ready)
    ordered: list[str] = []
    while ready:
        event_id = heappop(ready)[2]
        ordered.append(event_id)
        for later in cited_by.get(event_id, ()):
            waiting_for[later] -= 1
            if not waiting_for[later]:
                heappush(ready, _power_order(events[later], events))
    return ordered


def _power_order(event: Event, events: Mapping[str, Event]) -> tuple[Level, int, str]:
    return (-_sender_level(event, events), event.origin_server_ts, event.event_id)


def _sender_level(event: Event, events: Mapping[str, Event]) -> Level:
    """The sender's power level by the event's own auth events."""
    create: Event | None = event if event.type == "m.room.create" and event.room_version.privileged_creators else None
    power_levels: Event | None = None
    for auth_id in auth_events_of(event):
        auth_event = events[auth_id]
        if auth_event.state_key == "":
            if auth_event.type == "m.room.power_levels":
                power_levels = auth_event
            elif auth_event.type == "m.room.create":
                create = auth_event
    if create is None:
        return 0
    return PowerLevels(None if power_levels is None else power_levels.content, create).user(event.sender)


def power_levels_cited_by(event: Event, events: Mapping[str, Event]) -> str | None:
    """The id of the m.room.power_levels among the auth events of an event."""
    for auth_id in event.auth_events:
        auth_event = events[auth_id]
        if auth_event.type == "m.room.power_levels" and auth_event.state_key == "":
            return auth_id
    return None


class MainlineOrder:
    """Orders events by how recent a power levels event of the mainline they go back to.

    Positions are remembered, those of power levels outside the mainline too, so ordering n events walks every chain of
    power levels once.
    """

    def __init__(self, power_levels: str | None, events: LoadedEvents) -> None:
        """`power_levels` is the current m.room.power_levels, the start of the mainline. Raises `MissingEvents`."""
        self._events = events
        mainline: list[str] = []
        while power_levels is not None:
            mainline.append(power_levels)
            power_levels = power_levels_cited_by(events.load_citing(power_levels), events)
        self._positions = {event_id: position for position, event_id in enumerate(reversed(mainline), start=1)}

    def key(self, event: Event) -> tuple[int, int, str]:
        """What to sort by. Events that go back to no power levels of the mainline come first."""
        return (self._position(power_levels_cited_by(event, self._events)), event.origin_server_ts, event.event_id)

    def _position(self, power_levels: str | None) -> int:
        walked: list[str] = []
        while power_levels is not None and power_levels not in self._positions:
            walked.append(power_levels)
            power_levels = power_levels_cited_by(self._events.load_citing(power_levels), self._events)
        position = 0 if power_levels is None else self._positions[power_levels]
        for event_id in walked:
            self._positions[event_id] = position
        return position
