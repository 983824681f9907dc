"""Events that other processes wrote, read by their positions in the log."""

from collections.abc import Sequence

from homeserver.runtime.bus import Hint
from homeserver.services.events import Events
from homeserver.services.notifier import Notifier
from storage import timeline
from storage.database import Database
from storage.streams import Stream


class EventHints:
    """Gives the notifier the data of hints that came without."""

    def __init__(self, db: Database, notifier: Notifier, events: Events) -> None:
        self._db = db
        self._events = events
        notifier.load_events = self.load

    async def load(self, after: int, upto: int) -> Sequence[Hint]:
        """The EVENTS hints of the positions (after, upto]."""
        async with self._db.read() as tx:
            rows = await timeline.events_between(tx, after, upto)
            changes = await timeline.changes_between(tx, after, upto)
        found = await self._events.get_many([event_id for _, _, event_id in rows])
        # Whoever shows what they redact, looks for it in memory.
        await self._events.get_many([stored.event.redacts for stored in found.values() if stored.event.redacts])
        hints: list[Hint] = []
        for position, room_id, event_id in rows:
            stored = found.get(event_id)
            if stored is None:
                continue
            for change in changes.get(position, ()):
                stored.changed[change.type, change.state_key] = (change.event_id, change.previous_id)
            keys = (room_id, *(key for kind, key in stored.changed if kind == "m.room.member"))
            hints.append(Hint(Stream.EVENTS, position, keys, stored))
        return hints
