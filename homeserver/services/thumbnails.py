"""Thumbnails: made when first asked for, in a few sizes, and kept.

https://spec.matrix.org/v1.19/client-server-api/#thumbnails
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from homeserver.config.outside_sections import Media as MediaConfig
from homeserver.errors import RemoteTooLarge, TooLarge, Unknown
from homeserver.runtime.tasks import Tasks
from homeserver.services.media import DEFAULT_TIMEOUT_MS, MediaFile, MediaReader
from homeserver.services.media_once import Once
from homeserver.services.media_store import MediaStore, StoredFile
from homeserver.services.thumbnail_images import NotAPicture, TooManyPixels, make_thumbnail
from homeserver.services.thumbnail_sizes import Method, Target, target_for
from storage import media as index
from storage.database import Database, Write
from storage.media import ThumbnailRow

_THREADS: Final = 2
"""Pictures that are decoded at the same time: each may take some hundred MB."""
_ENDINGS: Final = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}


@dataclass(frozen=True, slots=True)
class ThumbnailRequest:
    """What a client would like at least, in pixels. Thumbnails are always still pictures."""

    width: int
    height: int
    method: Method = "scale"


class Thumbnails:
    """Thumbnails of this server's media and of other servers'."""

    def __init__(
        self, database: Database, store: MediaStore, reader: MediaReader, config: MediaConfig, tasks: Tasks
    ) -> None:
        self._db = database
        self._store = store
        self._reader = reader
        self._config = config
        self._under_way: Once[tuple[str, str, Target], ThumbnailRow] = Once("thumbnail", tasks)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnail")

    def close(self) -> None:
        """Begin no more of them; what is being made ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def require(
        self,
        server_name: str,
        media_id: str,
        wanted: ThumbnailRequest,
        *,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        allow_remote: bool = True,
    ) -> MediaFile:
        """A thumbnail of `mxc://<server_name>/<media_id>`; the file itself where it is no larger than asked for.

        Raises as `MediaReader.require`, Unknown where the file is no picture, and TooLarge or RemoteTooLarge where it
        has too many pixels.
        """
        source = await self._reader.require(server_name, media_id, timeout_ms=timeout_ms, allow_remote=allow_remote)
        target = target_for(self._config.thumbnails, wanted.width, wanted.height, wanted.method)
        row = await self._made(server_name, media_id, target)
        if row is None:
            row = await self._make(server_name, media_id, source, target)
        name = f"thumbnail.{_ENDINGS[row.content_type]}"
        return MediaFile(self._store.path_of(row.stored_as), row.size, row.stored_as, row.content_type, name)

    async def require_local(
        self, media_id: str, wanted: ThumbnailRequest, *, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> MediaFile:
        """A thumbnail of this server's own media: all that other servers may ask for. Raises as `require`."""
        return await self.require(self._reader.server_name, media_id, wanted, timeout_ms=timeout_ms)

    async def _make(self, server_name: str, media_id: str, source: MediaFile, target: Target) -> ThumbnailRow:
        try:
            return await self._under_way(
                (server_name, media_id, target), lambda: self._make_and_keep(server_name, media_id, source, target)
            )
        except NotAPicture:
            raise Unknown("No thumbnail can be made of this media") from None
        except TooManyPixels:
            kind = TooLarge if self._reader.is_local(server_name) else RemoteTooLarge
            raise kind(f"Pictures of more than {self._config.max_pixels} pixels get no thumbnail") from None

    async def _made(self, server_name: str, media_id: str, target: Target) -> ThumbnailRow | None:
        async with self._db.read() as tx:
            row = await index.thumbnail_of(tx, server_name, media_id, target.width, target.height, target.method)
        return row if row is not None and self._store.path_of(row.stored_as).is_file() else None

    async def _make_and_keep(self, server_name: str, media_id: str, source: MediaFile, target: Target) -> ThumbnailRow:
        # Who asks may have looked before it was made for somebody else.
        present = await self._made(server_name, media_id, target)
        if present is not None:
            return present
        picture = await asyncio.get_running_loop().run_in_executor(
            self._threads, make_thumbnail, source.path, target, self._config.max_pixels
        )
        # What shows the whole picture unchanged is kept as another name of its file.
        stored = StoredFile(source.digest, source.size)
        if picture.data is not None:
            stored = await self._store.keep(picture.data)
        row = ThumbnailRow(
            origin=server_name,
            media_id=media_id,
            width=target.width,
            height=target.height,
            method=target.method,
            content_type=picture.content_type,
            size=stored.size,
            stored_as=stored.name,
        )

        async def keep(tx: Write) -> None:
            index.put_thumbnail(tx, row)

        await self._db.write(keep)
        return row
