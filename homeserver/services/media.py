"""Finds the file of a media id: this server's own, or another server's, fetched when first asked for and kept.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from homeserver.config.outside_sections import Media as MediaConfig
from homeserver.errors import NotFound, NotYetUploaded, RemoteTooLarge, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from homeserver.services.media_arrivals import Arrivals
from homeserver.services.media_names import UNKNOWN_TYPE, check_media_id, check_mxc, clean_content_type
from homeserver.services.media_once import Once
from homeserver.services.media_store import MediaStore
from storage import media as index
from storage.database import Database, Write
from storage.media import MediaRow

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_MS: Final = 20_000
MAX_TIMEOUT_MS: Final = 60_000
"""Nobody waits longer than this for an upload, whatever they ask for."""
_TOUCH_PAUSE_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file that can be served as it is. `size` is in bytes; `digest` is the SHA-256 of the bytes, hex."""

    path: Path
    size: int
    digest: str
    content_type: str
    file_name: str | None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What another server answers for one of its media: its bytes, piece by piece, and what they are.

    Whoever takes it reads `pieces` to the end or closes it (`aclose`).
    """

    pieces: AsyncIterator[bytes]
    content_type: str | None = None
    file_name: str | None = None


class RemoteMedia(Protocol):
    """Fetches media of other servers."""

    async def download(self, server_name: str, media_id: str, *, timeout_ms: int, max_bytes: int) -> RemoteFile:
        """The media, which the other server may wait `timeout_ms` for.

        Raises NotFound, NotYetUploaded, RemoteTooLarge (where it is known in advance) and BadGateway.
        """
        ...


class MediaReader:
    """Media by its id. What is quarantined is not found."""

    def __init__(
        self,
        database: Database,
        store: MediaStore,
        config: MediaConfig,
        server_name: str,
        remote: RemoteMedia | None,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self._db = database
        self._store = store
        self._config = config
        self._server_name = server_name
        self._remote = remote
        self._clock = clock
        self._tasks = tasks
        self._arrivals = Arrivals(database)
        self._fetches: Once[tuple[str, str], MediaRow] = Once("media fetch", tasks)

    @property
    def server_name(self) -> str:
        """This server's name, which its own media goes by."""
        return self._server_name

    def is_local(self, server_name: str) -> bool:
        """Whether media of this name is this server's own."""
        return server_name == self._server_name

    async def require(
        self, server_name: str, media_id: str, *, timeout_ms: int = DEFAULT_TIMEOUT_MS, allow_remote: bool = True
    ) -> MediaFile:
        """The file of `mxc://<server_name>/<media_id>`, fetched from its server where need be.

        Raises InvalidParam, NotFound, NotYetUploaded (nothing came within `timeout_ms`), RemoteTooLarge, BadGateway.
        """
        check_mxc(server_name, media_id)
        if self.is_local(server_name):
            return await self.require_local(media_id, timeout_ms=timeout_ms)
        row = await self._row(server_name, media_id)
        if row is None:
            if not allow_remote or self._remote is None:
                raise NotFound("This server does not have the media")
            remote, timeout_ms = self._remote, min(timeout_ms, MAX_TIMEOUT_MS)
            row = await self._fetches(
                (server_name, media_id), lambda: self._fetch(remote, server_name, media_id, timeout_ms)
            )
        return self._file(row)

    async def require_local(self, media_id: str, *, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> MediaFile:
        """The file of this server's own media: all that other servers may ask for. Raises as `require`."""
        check_media_id(media_id)
        row = await self._row(self._server_name, media_id)
        if row is not None and row.stored_as is None:
            row = await self._wait(row, min(timeout_ms, MAX_TIMEOUT_MS))
        if row is None:
            raise NotFound("There is no such media")
        return self._file(row)

    async def _row(self, server_name: str, media_id: str) -> MediaRow | None:
        async with self._db.read() as tx:
            return await index.media_of(tx, server_name, media_id)

    async def _wait(self, row: MediaRow, timeout_ms: int) -> MediaRow | None:
        """The media once its upload has ended."""
        if row.created_at + self._config.upload_lifetime * 1000 <= self._clock.now_ms():
            return None
        if timeout_ms <= 0:
            raise NotYetUploaded
        arrival = self._arrivals.expect(row.media_id)
        try:
            current = await self._row(row.origin, row.media_id)
            if current is not None and current.stored_as is None:
                # However it ends, a look into the database finds what a hint that was lost did not tell.
                with suppress(TimeoutError):
                    await asyncio.wait_for(arrival.wait(), timeout_ms / 1000)
                current = await self._row(row.origin, row.media_id)
        finally:
            self._arrivals.forget(row.media_id, arrival)
        if current is not None and current.stored_as is None:
            raise NotYetUploaded
        return current

    def _file(self, row: MediaRow) -> MediaFile:
        if row.quarantined or row.stored_as is None or row.size is None or row.sha256 is None:
            raise NotFound("There is no such media")
        path = self._store.path_of(row.stored_as)
        if not path.is_file():
            log.error("the file of media %s of %s is missing: %s", row.media_id, row.origin, path)
            raise NotFound("The file of this media is missing")
        now = self._clock.now_ms()
        if now - (row.last_access_at or row.created_at) > _TOUCH_PAUSE_MS:
            self._tasks.start("media touch", self._touch(row, now))
        return MediaFile(path, row.size, row.sha256, row.content_type or UNKNOWN_TYPE, row.upload_name)

    async def _touch(self, row: MediaRow, now_ms: int) -> None:
        async def note(tx: Write) -> None:
            index.touch(tx, row.origin, row.media_id, now_ms)

        await self._db.write(note)

    async def _fetch(self, remote: RemoteMedia, server_name: str, media_id: str, timeout_ms: int) -> MediaRow:
        # Who asks may have looked before an earlier fetch was done.
        present = await self._row(server_name, media_id)
        if present is not None:
            return present
        limit = self._config.max_upload_size
        answer = await remote.download(server_name, media_id, timeout_ms=timeout_ms, max_bytes=limit)
        try:
            stored = await self._store.receive(answer.pieces, limit)
        except TooLarge:
            raise RemoteTooLarge(f"The media is larger than the {limit} bytes that this server fetches") from None
        finally:
            close = getattr(answer.pieces, "aclose", None)
            if close is not None:
                await close()
        now = self._clock.now_ms()
        row = MediaRow(
            origin=server_name,
            media_id=media_id,
            content_type=clean_content_type(answer.content_type),
            upload_name=answer.file_name,
            size=stored.size,
            sha256=stored.name,
            created_at=now,
            last_access_at=now,
            user_id=None,
            quarantined=False,
            stored_as=stored.name,
        )

        async def keep(tx: Write) -> MediaRow:
            present = await index.media_of(tx, server_name, media_id)  # another process may have been quicker
            if present is not None:
                return present
            index.put(tx, row)
            return row

        row = await self._db.write(keep)
        log.info("fetched media %s of %s, %d bytes", media_id, server_name, stored.size)
        return row
