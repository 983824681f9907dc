"""The events that one state resolution works with, fetched as they are needed."""

from collections.abc import Callable, Iterable, Mapping

from homeserver.core.auth_errors import MissingEvents
from homeserver.core.events import Event

Events = Mapping[str, Event] | Callable[[str], Event | None]
"""Where events are looked up by id; None (or no entry) where an event is not at hand."""


class LoadedEvents(dict[str, Event]):
    """The events fetched so far, by id."""

    def __init__(self, source: Events) -> None:
        super().__init__()
        self._fetch = source if callable(source) else source.get

    def load(self, event_ids: Iterable[str]) -> None:
        """Fetches the events that are not there yet. Raises `MissingEvents` with all that cannot be had."""
        missing: list[str] = []
        for event_id in event_ids:
            if event_id not in self:
                event = self._fetch(event_id)
                if event is None:
                    missing.append(event_id)
                else:
                    self[event_id] = event
        if missing:
            raise MissingEvents(missing)

    def load_citing(self, event_id: str) -> Event:
        """The event, after fetching it and what it names in `auth_events`. Raises `MissingEvents`."""
        self.load((event_id,))
        event = self[event_id]
        self.load(event.auth_events)
        return event
