"""How a file is served: safely, cacheably, and in part where only a part is wanted."""

import re
from collections.abc import Mapping
from typing import Final

from homeserver.services.media import MediaFile
from homeserver.services.media_names import content_disposition
from homeserver.web.responses import Raw

# Files come from anybody: a browser that opens one must not run it, guess at it, or tell it where it was linked from.
# https://spec.matrix.org/v1.19/client-server-api/#content-repository
_SAFE: Final = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
        "style-src 'unsafe-inline'; object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}
# What is under an id never changes; that it may be taken away again is why caches ask after a day.
_CACHE: Final = "max-age=86400, immutable"
_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII)


def serve(
    file: MediaFile, asked: Mapping[str, str], *, private: bool, file_name: str | None = None, inline: bool = False
) -> Raw:
    """The answer for a file, given the headers of the request (RFC 9110 §13.1.2, §14.2).

    `private`: it was asked for with an access token, so shared caches must not keep it. `file_name` replaces the
    file's own; `inline` is for types that are known to be safe.
    """
    tag = f'"{file.digest}"'
    headers = {
        **_SAFE,
        "ETag": tag,
        "Cache-Control": f"{'private' if private else 'public'}, {_CACHE}",
    }
    if _names(asked.get("If-None-Match"), tag):
        return Raw(b"", "", headers, "not_modified")
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Disposition"] = content_disposition(
        file.content_type, file_name or file.file_name, disposition="inline" if inline else None
    )
    part = _part(asked.get("Range"), file.size) if asked.get("If-Range", tag) == tag else None
    if part is None:
        return Raw(file.path, file.content_type, headers)
    offset, length = part
    if length <= 0:
        return Raw(b"", "", headers | {"Content-Range": f"bytes */{file.size}"}, "range_not_satisfiable")
    headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{file.size}"
    return Raw(file.path, file.content_type, headers, "partial_content", offset, length)


def _names(condition: str | None, tag: str) -> bool:
    """Whether an If-None-Match names this entity tag; weak ones count."""
    if condition is None:
        return False
    return condition.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in condition.split(",")]


def _part(wanted: str | None, size: int) -> tuple[int, int] | None:
    """Offset and length of the part that a Range header asks for; no length: there is no such part.

    None where all of it is to be sent: no range, several, or one that is not understood.
    """
    match = _RANGE.fullmatch(wanted or "")
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return (max(size - int(last), 0), min(int(last), size)) if last else None
    if last and int(last) < int(first):
        return None
    end = min(int(last), size - 1) if last else size - 1
    return int(first), end - int(first) + 1
