"""Wakes whoever waits for an upload to a media id that was created before."""

import asyncio
from collections.abc import Sequence

from homeserver.runtime.bus import Hint
from storage.database import Database
from storage.streams import Stream


class Arrivals:
    """Events by media id; hints of every process set them."""

    def __init__(self, database: Database) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        database.on_commit.append(self._on_hints)

    def expect(self, media_id: str) -> asyncio.Event:
        """An event that is set when the upload ends. Ask for it before looking whether it has ended already."""
        event = asyncio.Event()
        self._waiting.setdefault(media_id, set()).add(event)
        return event

    def forget(self, media_id: str, event: asyncio.Event) -> None:
        """The event is not waited for any more."""
        events = self._waiting.get(media_id, set())
        events.discard(event)
        if not events:
            self._waiting.pop(media_id, None)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        if self._waiting:
            for hint in hints:
                if hint.stream == Stream.MEDIA:
                    for media_id in hint.keys:
                        for event in self._waiting.get(media_id, ()):
                            event.set()
