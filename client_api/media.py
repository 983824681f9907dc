"""Uploads, downloads and thumbnails.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""

from typing import Any, cast

from client_api.media_responses import serve
from homeserver.errors import MissingParam, NotFound
from homeserver.services.media import DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, MediaReader
from homeserver.services.media_uploads import MediaUploads
from homeserver.services.thumbnail_sizes import Method
from homeserver.services.thumbnails import ThumbnailRequest, Thumbnails
from homeserver.web.bodies import body_pieces
from homeserver.web.request import Query, Request
from homeserver.web.responses import Raw

_MAX_PIXELS = 1 << 24


class MediaHandlers:
    """The content repository. `legacy`: answer the endpoints that need no access token."""

    def __init__(self, uploads: MediaUploads, reader: MediaReader, thumbnails: Thumbnails, *, legacy: bool) -> None:
        self._uploads = uploads
        self._reader = reader
        self._thumbnails = thumbnails
        self._legacy = legacy

    async def config(self, request: Request) -> dict[str, Any]:
        return {"m.upload.size": self._uploads.max_size}

    async def upload(self, request: Request) -> dict[str, Any]:
        self._uploads.check_size(request.http.content_length)
        uri = await self._uploads.upload(
            request.user.user_id,
            body_pieces(request.http),
            request.http.headers.get("Content-Type"),
            request.query.str_("filename"),
        )
        return {"content_uri": uri}

    async def create(self, request: Request) -> dict[str, Any]:
        uri, expires_at = await self._uploads.create(request.user.user_id)
        return {"content_uri": uri, "unused_expires_at": expires_at}

    async def upload_to(self, request: Request) -> dict[str, Any]:
        self._uploads.check_size(request.http.content_length)
        await self._uploads.upload_to(
            request.user.user_id,
            request.path["serverName"],
            request.path["mediaId"],
            body_pieces(request.http),
            request.http.headers.get("Content-Type"),
            request.query.str_("filename"),
        )
        return {}

    async def download(self, request: Request) -> Raw:
        return await self._download(request, private=True, allow_remote=True)

    async def thumbnail(self, request: Request) -> Raw:
        return await self._thumbnail(request, private=True, allow_remote=True)

    async def legacy_download(self, request: Request) -> Raw:
        return await self._download(request, private=False, allow_remote=self._allow_remote(request))

    async def legacy_thumbnail(self, request: Request) -> Raw:
        return await self._thumbnail(request, private=False, allow_remote=self._allow_remote(request))

    async def _download(self, request: Request, *, private: bool, allow_remote: bool) -> Raw:
        file = await self._reader.require(
            request.path["serverName"],
            request.path["mediaId"],
            timeout_ms=_timeout_ms(request.query),
            allow_remote=allow_remote,
        )
        return serve(file, request.http.headers, private=private, file_name=request.path.get("fileName"))

    async def _thumbnail(self, request: Request, *, private: bool, allow_remote: bool) -> Raw:
        file = await self._thumbnails.require(
            request.path["serverName"],
            request.path["mediaId"],
            _wanted(request.query),
            timeout_ms=_timeout_ms(request.query),
            allow_remote=allow_remote,
        )
        return serve(file, request.http.headers, private=private, inline=True)

    def _allow_remote(self, request: Request) -> bool:
        """Raises NotFound where the operator has closed the endpoints that need no access token."""
        if not self._legacy:
            raise NotFound("This server serves media only to those who log in: /_matrix/client/v1/media")
        request.query.bool_("allow_redirect")  # it may be given; this server never redirects
        return request.query.bool_("allow_remote", True)


def _timeout_ms(query: Query) -> int:
    return query.int_("timeout_ms", DEFAULT_TIMEOUT_MS, maximum=MAX_TIMEOUT_MS)


def _wanted(query: Query) -> ThumbnailRequest:
    """The size that is asked for. Raises MissingParam, InvalidParam."""
    query.bool_("animated")  # a preference only: thumbnails here are still pictures
    method = cast("Method", query.choice("method", ("crop", "scale"), "scale"))
    return ThumbnailRequest(_pixels(query, "width"), _pixels(query, "height"), method)


def _pixels(query: Query, name: str) -> int:
    number = query.int_(name, minimum=1, maximum=_MAX_PIXELS)
    if number is None:
        raise MissingParam(f"The query parameter {name!r} is missing")
    return number
