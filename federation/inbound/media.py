"""Media of this server for other servers, as multipart/mixed: a JSON object, then the file."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, cast

from homeserver.errors import MissingParam
from homeserver.runtime.random import Randomness
from homeserver.services.media import DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, MediaFile, MediaReader
from homeserver.services.media_names import content_disposition
from homeserver.services.thumbnail_sizes import Method
from homeserver.services.thumbnails import ThumbnailRequest, Thumbnails
from homeserver.web.request import Query, Request
from homeserver.web.responses import Raw

_CHUNK: Final = 256 * 1024
_MAX_PIXELS: Final = 1 << 24


class MediaHandlers:
    """server-server-api §Content Repository"""

    def __init__(self, reader: MediaReader, thumbnails: Thumbnails, randomness: Randomness) -> None:
        self._reader = reader
        self._thumbnails = thumbnails
        self._randomness = randomness

    async def download(self, request: Request) -> Raw:
        file = await self._reader.require_local(request.path["mediaId"], timeout_ms=_timeout_ms(request.query))
        return self._multipart(file)

    async def thumbnail(self, request: Request) -> Raw:
        query = request.query
        query.bool_("animated")  # a preference only: thumbnails here are still pictures
        method = cast("Method", query.choice("method", ("crop", "scale"), "scale"))
        wanted = ThumbnailRequest(_pixels(query, "width"), _pixels(query, "height"), method)
        media_id = request.path["mediaId"]
        return self._multipart(
            await self._thumbnails.require_local(media_id, wanted, timeout_ms=_timeout_ms(query))
        )

    def _multipart(self, file: MediaFile) -> Raw:
        boundary = self._randomness.alphanumeric(32)
        disposition = content_disposition(file.content_type, file.file_name)
        head = (
            f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n"
            f"--{boundary}\r\nContent-Type: {file.content_type}\r\nContent-Disposition: {disposition}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        length = len(head) + file.size + len(tail)
        return Raw(
            _pieces(head, file.path, tail), f"multipart/mixed; boundary={boundary}", {"Content-Length": str(length)}
        )


async def _pieces(head: bytes, path: Path, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _CHUNK):
            yield piece
    yield tail


def _timeout_ms(query: Query) -> int:
    return query.int_("timeout_ms", DEFAULT_TIMEOUT_MS, maximum=MAX_TIMEOUT_MS)


def _pixels(query: Query, name: str) -> int:
    number = query.int_(name, minimum=1, maximum=_MAX_PIXELS)
    if number is None:
        raise MissingParam(f"The query parameter {name!r} is missing")
    return number
