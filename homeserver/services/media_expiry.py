"""Forgets what nobody needs: media ids that never got their upload, and other servers' media that nobody asks for."""

import logging
from typing import Final

from homeserver.config.outside_sections import Media as MediaConfig
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.media_store import MediaStore
from storage import media as index
from storage.database import Database, Write
from storage.media import MediaRow

log = logging.getLogger(__name__)

_EVERY_S: Final = 3600.0
_AT_ONCE: Final = 200
_GRACE_S: Final = 3600.0
"""A file younger than this may belong to an upload whose row is still on its way."""
_UPLOAD_S: Final = 24 * 3600.0
"""No upload takes so long."""


class MediaExpiry:
    """Goes over the media every hour. Several processes may do so at the same time."""

    def __init__(
        self, database: Database, store: MediaStore, config: MediaConfig, server_name: str, clock: Clock, tasks: Tasks
    ) -> None:
        self._db = database
        self._store = store
        self._config = config
        self._server_name = server_name
        self._clock = clock
        self._tasks = tasks

    def start(self) -> None:
        """Begin."""
        self._tasks.loop("media expiry", self.run, every_s=_EVERY_S, clock=self._clock)

    async def run(self) -> None:
        """Go over all of it once."""
        now = self._clock.now_ms()
        # As long again as they were valid, so that a client is told for a while that its id is known, but too old.
        await self._forget_unused(now - int(2 * self._config.upload_lifetime * 1000))
        if self._config.remote_lifetime is not None:
            await self._forget_remote(now - int(self._config.remote_lifetime * 1000))
        await self._store.remove_unfinished(unless_newer_than=now / 1000 - _UPLOAD_S)

    async def _forget_unused(self, before_ms: int) -> None:
        while True:
            async with self._db.read() as tx:
                rows = await index.unused_ids(tx, self._server_name, before_ms, _AT_ONCE)
            for row in rows:
                await self._delete(row, None)
            if len(rows) < _AT_ONCE:
                return

    async def _forget_remote(self, before_ms: int) -> None:
        while True:
            async with self._db.read() as tx:
                rows = await index.unasked_remote(tx, self._server_name, before_ms, _AT_ONCE)
            for row in rows:
                await self._delete(row, before_ms)
            if len(rows) < _AT_ONCE:
                return

    async def _delete(self, row: MediaRow, unless_asked_since: int | None) -> None:
        async def forget(tx: Write) -> list[str]:
            """The files that nothing refers to any more."""
            files = {thumbnail.stored_as for thumbnail in await index.thumbnails_of(tx, row.origin, row.media_id)}
            if not await index.delete(tx, row.origin, row.media_id, unless_asked_since=unless_asked_since):
                return []
            if row.stored_as is not None:
                files.add(row.stored_as)
            return [file for file in files if not await index.is_in_use(tx, file)]

        for file in await self._db.write(forget):
            await self._store.remove(file, unless_newer_than=self._clock.now_ms() / 1000 - _GRACE_S)
        log.debug("forgot media %s of %s", row.media_id, row.origin)
