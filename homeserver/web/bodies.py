"""Reads request bodies: bounded, decompressed, parsed, and looked over for what no handler should have to expect."""

from collections.abc import AsyncIterator
from typing import Any, cast

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from homeserver.core.canonical_json import CanonicalJSONError, decode
from homeserver.errors import BadJson, NotJson, TooLarge, Unknown

# Deeper JSON could be read, but not written again: orjson stops at 254 levels, and answers wrap what they hold.
MAX_NESTING = 200


async def read_body(http: web.BaseRequest, limit: int) -> bytes:
    """The whole body, decompressed. Raises TooLarge over `limit` bytes, NotJson where its encoding is broken.

    ConnectionError where the client went away before the end.
    """
    length = http.content_length
    if length is not None and length > limit:
        raise TooLarge(f"The body is larger than {limit} bytes")
    content = http.content
    try:
        # aiohttp decompresses while we read, in pieces, so a small body that unpacks into a huge one ends here too.
        body = await content.readany()
        if content.at_eof():
            if len(body) > limit:
                raise TooLarge(f"The body is larger than {limit} bytes")
            return body
        pieces = [body]
        size = len(body)
        while not content.at_eof():
            if size > limit:
                raise TooLarge(f"The body is larger than {limit} bytes")
            piece = await content.readany()
            pieces.append(piece)
            size += len(piece)
    except (HttpProcessingError, RequestPayloadError, web.HTTPException) as error:
        raise NotJson("The body could not be decoded") from error
    if size > limit:
        raise TooLarge(f"The body is larger than {limit} bytes")
    return b"".join(pieces)


async def body_pieces(http: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it arrives, decompressed, for what is too large to be held.

    Raises Unknown where it is not encoded as it says; ConnectionError where the client went away before the end.
    """
    content = http.content
    try:
        while not content.at_eof():
            piece = await content.readany()
            if piece:
                yield piece
    except (HttpProcessingError, RequestPayloadError, web.HTTPException) as error:
        raise Unknown("The body could not be decoded") from error


def parse_client_json(body: bytes) -> Any:
    """The value of a client's body. Raises NotJson, BadJson (too deep)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"The body is not valid JSON: {error}") from None
    _check_nesting(body, value)
    return value


def parse_federation_json(body: bytes) -> Any:
    """The value of another server's body, integers of any size exact (they are part of what was signed)."""
    try:
        value = decode(body)
    except CanonicalJSONError as error:
        raise NotJson(f"The body is not valid JSON: {error}") from None
    _check_nesting(body, value)
    return value


def refuse_nul(body: bytes, value: Any) -> None:
    """Raises BadJson where a string holds U+0000, which PostgreSQL cannot store. Looks closely only where it may."""
    if b"\\u0000" in body and _holds_nul(value):
        raise BadJson("The body holds a NUL character")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return any("\0" in key or _holds_nul(item) for key, item in fields.items())
    return isinstance(value, list) and any(map(_holds_nul, cast("list[Any]", value)))


def _check_nesting(body: bytes, value: Any) -> None:
    if body.count(b"[") + body.count(b"{") > MAX_NESTING and _is_too_deep(value):
        raise BadJson(f"The body is nested more than {MAX_NESTING} levels deep")


def _is_too_deep(value: Any) -> bool:
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_NESTING):
        inside: list[Any] = []
        for outer in level:
            inside += outer.values() if type(outer) is dict else outer
        level = [inner for inner in inside if type(inner) is dict or type(inner) is list]
        if not level:
            return False
    return True


def require_shape(value: Any, *, array: bool) -> None:
    """Raises BadJson where the body is not the kind of value that was wanted."""
    if not isinstance(value, list if array else dict):
        raise BadJson(f"The body must be a JSON {'array' if array else 'object'}")
