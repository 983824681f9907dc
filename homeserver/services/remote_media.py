"""`RemoteMedia` over federation."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from federation.outbound.media_parts import InvalidParts, MediaPart, parse
from homeserver.errors import BadGateway, MatrixError, NotFound, NotYetUploaded, RemoteTooLarge
from homeserver.services.media import RemoteFile
from homeserver.services.media_names import file_name_in

_CHUNK: Final = 256 * 1024
_FRAME: Final = 64 * 1024
"""Bytes of an answer that are not the file's."""


class FederationMedia:
    """Downloads media from the server that it is named after; from the older endpoint where that has no other."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def download(self, server_name: str, media_id: str, *, timeout_ms: int, max_bytes: int) -> RemoteFile:
        """Raises NotFound, NotYetUploaded, RemoteTooLarge and BadGateway."""
        try:
            part = await self._download(server_name, media_id, timeout_ms, max_bytes)
        except FederationError as error:
            raise _refusal(error) from error
        except InvalidParts as error:
            raise BadGateway(f"{server_name} answered with something that is no media: {error}") from error
        if len(part.body) > max_bytes:
            raise RemoteTooLarge
        return RemoteFile(_pieces(part.body), part.content_type, file_name_in(part.disposition))

    async def _download(self, server_name: str, media_id: str, timeout_ms: int, max_bytes: int) -> MediaPart:
        try:
            answer = await self._client.download_media(
                server_name, media_id, max_bytes=max_bytes + _FRAME, timeout_ms=timeout_ms
            )
        except FederationError as error:
            if not error.is_unrecognised:
                raise
            answer = await self._client.download_media_unsigned(
                server_name, media_id, max_bytes=max_bytes + _FRAME, timeout_ms=timeout_ms
            )
            return _whole(answer.headers, answer.body)
        part = parse(answer.headers.get("content-type", ""), answer.body)
        if part.location is None:
            return part
        redirected = await self._client.fetch(server_name, part.location, max_bytes=max_bytes + _FRAME)
        return _whole(redirected.headers, redirected.body)


def _whole(headers: Mapping[str, str], body: bytes) -> MediaPart:
    return MediaPart(body, headers.get("content-type"), headers.get("content-disposition"), None)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), _CHUNK):
        yield body[at : at + _CHUNK]


def _refusal(error: FederationError) -> MatrixError:
    if error.errcode == "M_NOT_YET_UPLOADED":
        return NotYetUploaded(error.message)
    if error.errcode == "M_TOO_LARGE" or (error.kind == "malformed" and "larger" in error.message):
        return RemoteTooLarge(error.message)
    if error.kind == "refused":
        return NotFound("The media is not on its server")
    return BadGateway(f"{error.destination} could not be asked: {error.message}")
