"""A media repository in a folder, with a clock that stands still and another server that is only a table."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeserver.config.outside_sections import Media as MediaConfig
from homeserver.errors import NotFound
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.media import MediaReader, RemoteFile
from homeserver.services.media_expiry import MediaExpiry
from homeserver.services.media_store import MediaStore
from homeserver.services.media_uploads import MediaUploads
from homeserver.services.thumbnails import Thumbnails
from storage.database import Database

HERE, ELSEWHERE = "here.test", "elsewhere.test"
ALICE, BOB = f"@alice:{HERE}", f"@bob:{HERE}"


async def in_pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@dataclass
class OtherServer:
    """Another server's media: id → bytes, content type, file name. While `gate` is set, it waits for it."""

    files: dict[str, tuple[bytes, str | None, str | None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def download(self, server_name: str, media_id: str, *, timeout_ms: int, max_bytes: int) -> RemoteFile:
        self.asked.append(f"{server_name}/{media_id}")
        if self.gate is not None:
            await self.gate.wait()
        if media_id not in self.files:
            raise NotFound
        data, content_type, file_name = self.files[media_id]
        return RemoteFile(in_pieces(data), content_type, file_name)


@dataclass
class MediaWorld:
    folder: Path
    database: Database
    clock: FrozenClock
    tasks: Tasks
    other: OtherServer
    config: MediaConfig
    store: MediaStore
    uploads: MediaUploads
    reader: MediaReader
    thumbnails: Thumbnails
    expiry: MediaExpiry

    async def upload(self, data: bytes, content_type: str | None = "text/plain", name: str | None = None) -> str:
        """Upload as alice; returns the media id."""
        uri = await self.uploads.upload(ALICE, in_pieces(data), content_type, name)
        return uri.rpartition("/")[2]

    def stored_files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def media_world(folder: Path, url: str, **config: Any) -> AsyncIterator[MediaWorld]:
    """An open repository; `config` are options of the config's media section."""
    database = await Database.open(url)
    clock, tasks, other = FrozenClock(), Tasks(), OtherServer()
    section = MediaConfig(**config)
    store = MediaStore(folder)
    uploads = MediaUploads(database, store, section, HERE, clock, SeededRandomness())
    reader = MediaReader(database, store, section, HERE, other, clock, tasks)
    thumbnails = Thumbnails(database, store, reader, section, tasks)
    expiry = MediaExpiry(database, store, section, HERE, clock, tasks)
    try:
        yield MediaWorld(folder, database, clock, tasks, other, section, store, uploads, reader, thumbnails, expiry)
    finally:
        thumbnails.close()
        await tasks.close()
        await database.close()


def picture(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """A picture whose left half is red and whose right half is blue."""
    from PIL import Image

    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    image = image.convert(mode)
    if "A" in mode:
        image.putalpha(100)
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def opened(data: bytes) -> Any:
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.load()
    return image
