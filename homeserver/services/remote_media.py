"""`RemoteMedia` over federation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from os import SEEK_END
from typing import BinaryIO, Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from federation.outbound.media_parts import MAX_HEAD, InvalidParts, MediaPart, parse
from homeserver.errors import BadGateway, MatrixError, NotFound, NotYetUploaded, RemoteTooLarge
from homeserver.services.media import RemoteFile
from homeserver.services.media_names import file_name_in

_CHUNK: Final = 256 * 1024


class FederationMedia:
    """Downloads media from the server that it is named after; from the older endpoint where that has no other.

    Answers are put on the disk as they come, in a file of `spool`.
    """

    def __init__(self, client: FederationClient, spool: Callable[[], Awaitable[BinaryIO]]) -> None:
        self._client = client
        self._spool = spool

    async def download(self, server_name: str, media_id: str, *, timeout_ms: int, max_bytes: int) -> RemoteFile:
        """Raises NotFound, NotYetUploaded, RemoteTooLarge and BadGateway."""
        file = await self._spool()
        try:
            part = await self._download(server_name, media_id, timeout_ms, max_bytes, file)
            if part.size > max_bytes:
                raise RemoteTooLarge
        except FederationError as error:
            file.close()
            raise _refusal(error) from error
        except InvalidParts as error:
            file.close()
            raise BadGateway(f"{server_name} answered with something that is no media: {error}") from error
        except BaseException:
            file.close()
            raise
        return RemoteFile(_pieces(file, part), part.content_type, file_name_in(part.disposition))

    async def _download(
        self, server_name: str, media_id: str, timeout_ms: int, max_bytes: int, file: BinaryIO
    ) -> MediaPart:
        limit = max_bytes + MAX_HEAD
        try:
            answer = await self._client.download_media(
                server_name, media_id, max_bytes=limit, timeout_ms=timeout_ms, into=file
            )
        except FederationError as error:
            if not error.is_unrecognised:
                raise
            answer = await self._client.download_media_unsigned(
                server_name, media_id, max_bytes=limit, timeout_ms=timeout_ms, into=file
            )
            return _whole(answer.headers, file)
        part = await asyncio.to_thread(parse, answer.headers.get("content-type", ""), file)
        if part.location is None:
            return part
        file.seek(0)
        file.truncate()
        redirected = await self._client.fetch(server_name, part.location, max_bytes=limit, into=file)
        return _whole(redirected.headers, file)


def _whole(headers: Mapping[str, str], file: BinaryIO) -> MediaPart:
    size = file.seek(0, SEEK_END)
    return MediaPart(0, size, headers.get("content-type"), headers.get("content-disposition"), None)


async def _pieces(file: BinaryIO, part: MediaPart) -> AsyncIterator[bytes]:
    with file:
        file.seek(part.start)
        left = part.size
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(left, _CHUNK))):
            left -= len(piece)
            yield piece


def _refusal(error: FederationError) -> MatrixError:
    if error.errcode == "M_NOT_YET_UPLOADED":
        return NotYetUploaded(error.message)
    if error.errcode == "M_TOO_LARGE" or (error.kind == "malformed" and "larger" in error.message):
        return RemoteTooLarge(error.message)
    if error.kind == "refused":
        return NotFound("The media is not on its server")
    return BadGateway(f"{error.destination} could not be asked: {error.message}")
