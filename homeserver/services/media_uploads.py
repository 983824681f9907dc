"""Uploads: at once, or first an id and the file later.

https://spec.matrix.org/v1.19/client-server-api/#content-repo-client-behaviour
"""

from collections.abc import AsyncIterator
from typing import Final

from homeserver.config.outside_sections import Media as MediaConfig
from homeserver.errors import CannotOverwriteMedia, Forbidden, LimitExceeded, NotFound, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.media_names import check_file_name, check_mxc, clean_content_type
from homeserver.services.media_store import MediaStore, StoredFile
from storage import media as index
from storage.database import Database, Write
from storage.media import MediaRow

_ID_LENGTH: Final = 24


class MediaUploads:
    """Takes files from this server's users."""

    def __init__(
        self,
        database: Database,
        store: MediaStore,
        config: MediaConfig,
        server_name: str,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._db = database
        self._store = store
        self._config = config
        self._server_name = server_name
        self._clock = clock
        self._random = randomness

    @property
    def max_size(self) -> int:
        """The largest file that is taken, in bytes."""
        return self._config.max_upload_size

    def check_size(self, announced: int | None) -> None:
        """Raises TooLarge where the client says beforehand that it will send too much."""
        if announced is not None and announced > self.max_size:
            raise TooLarge(f"Files may be at most {self.max_size} bytes large")

    async def upload(
        self, user_id: str, pieces: AsyncIterator[bytes], content_type: str | None, file_name: str | None
    ) -> str:
        """Keep a file; returns its mxc:// URI. Raises TooLarge, InvalidParam (the file name)."""
        file_name = check_file_name(file_name)
        stored = await self._store.receive(pieces, self.max_size)
        row = self._row(self._random.alphanumeric(_ID_LENGTH), user_id, stored, content_type, file_name)

        async def keep(tx: Write) -> None:
            index.put(tx, row)

        await self._db.write(keep)
        return self._uri(row.media_id)

    async def create(self, user_id: str) -> tuple[str, int]:
        """An mxc:// URI to upload to later, and until when (ms since the epoch). Raises LimitExceeded."""
        media_id = self._random.alphanumeric(_ID_LENGTH)
        now = self._clock.now_ms()
        lifetime = self._lifetime_ms

        async def keep(tx: Write) -> None:
            pending = await index.count_pending(tx, self._server_name, user_id, now - lifetime)
            if pending >= self._config.max_pending_uploads:
                oldest = await index.oldest_pending(tx, self._server_name, user_id, now - lifetime)
                raise LimitExceeded(
                    f"You have {pending} media ids that wait for their upload: use these first",
                    retry_after_ms=max(1, (oldest or now) + lifetime - now),
                )
            await index.put_pending(tx, self._server_name, media_id, user_id, now)

        await self._db.write(keep)
        return self._uri(media_id), now + lifetime

    async def check_pending(self, user_id: str, server_name: str, media_id: str) -> None:
        """Whether the user may upload to this id, before anything of the file is read.

        Raises InvalidParam, NotFound (never created, or expired), Forbidden (somebody else's), CannotOverwriteMedia.
        """
        check_mxc(server_name, media_id)
        async with self._db.read() as tx:
            row = await index.media_of(tx, server_name, media_id) if server_name == self._server_name else None
        if row is None or row.user_id is None:
            raise NotFound("No such media id was created here")
        if row.user_id != user_id:
            raise Forbidden("This media id was created by somebody else")
        if row.stored_as is not None:
            raise CannotOverwriteMedia
        if row.created_at + self._lifetime_ms <= self._clock.now_ms():
            raise NotFound("This media id has expired")

    async def upload_to(
        self,
        user_id: str,
        server_name: str,
        media_id: str,
        pieces: AsyncIterator[bytes],
        content_type: str | None,
        file_name: str | None,
    ) -> None:
        """Keep the file of an id that was created before. Raises as `check_pending` and `upload`."""
        await self.check_pending(user_id, server_name, media_id)
        file_name = check_file_name(file_name)
        stored = await self._store.receive(pieces, self.max_size)
        row = self._row(media_id, user_id, stored, content_type, file_name)

        async def keep(tx: Write) -> None:
            if not await index.complete(tx, row):
                raise CannotOverwriteMedia

        await self._db.write(keep)

    @property
    def _lifetime_ms(self) -> int:
        return int(self._config.upload_lifetime * 1000)

    def _uri(self, media_id: str) -> str:
        return f"mxc://{self._server_name}/{media_id}"

    def _row(
        self, media_id: str, user_id: str, stored: StoredFile, content_type: str | None, file_name: str | None
    ) -> MediaRow:
        now = self._clock.now_ms()
        return MediaRow(
            origin=self._server_name,
            media_id=media_id,
            content_type=clean_content_type(content_type),
            upload_name=file_name,
            size=stored.size,
            sha256=stored.name,
            created_at=now,
            last_access_at=now,
            user_id=user_id,
            quarantined=False,
            stored_as=stored.name,
        )
