"""The names that media goes by: its id, its content type, its file name, and how these are told in headers."""

import re
from typing import Final
from urllib.parse import quote, unquote

from homeserver.core.identifiers import is_valid_server_name
from homeserver.errors import InvalidParam

UNKNOWN_TYPE: Final = "application/octet-stream"
MAX_FILE_NAME: Final = 512
"""Characters. Percent-encoded, as headers need it, a longer name would not fit in one."""

_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CONTENT_TYPE = re.compile(
    rf'{_WORD}/{_WORD}(?:[ \t]*;[ \t]*{_WORD}=(?:{_WORD}|"[^"\\\x00-\x1f\x7f-\uffff]*"))*[ \t]*;?'
)
_PARAMETER = re.compile(rf';\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')
# Types that browsers show without running anything.
# https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content
_INLINE_TYPES: Final = frozenset(
    ["application/json", "application/ld+json", "text/css", "text/csv", "text/plain"]
    + [f"image/{name}" for name in ("apng", "avif", "gif", "jpeg", "png", "webp")]
    + [f"video/{name}" for name in ("mp4", "ogg", "quicktime", "webm")]
    + [f"audio/{name}" for name in ("aac", "flac", "mp4", "mpeg", "ogg", "wav", "wave", "webm")]
    + [f"audio/{name}" for name in ("x-flac", "x-pn-wav", "x-wav")]
)


def check_media_id(media_id: str) -> None:
    """Raises InvalidParam for what cannot be the id of any media: it never gets near a path or a URL."""
    if _MEDIA_ID.fullmatch(media_id) is None:
        raise InvalidParam("A media id consists of the characters A-Z, a-z, 0-9, _ and -")


def check_mxc(server_name: str, media_id: str) -> None:
    """Raises InvalidParam unless `mxc://<server_name>/<media_id>` is an mxc:// URI.

    https://spec.matrix.org/v1.19/client-server-api/#content-repo-security-considerations
    """
    if not is_valid_server_name(server_name):
        raise InvalidParam("This is not a valid server name")
    check_media_id(media_id)


def clean_content_type(text: str | None) -> str:
    """`text` where it is a content type, else `application/octet-stream`."""
    text = "" if text is None else text.strip()
    return text if len(text) <= 255 and _CONTENT_TYPE.fullmatch(text) else UNKNOWN_TYPE


def check_file_name(name: str | None) -> str | None:
    """A file name as it was given for an upload, None for an empty one. Raises InvalidParam where it is too long."""
    if not name:
        return None
    if len(name) > MAX_FILE_NAME:
        raise InvalidParam(f"The file name is longer than {MAX_FILE_NAME} characters")
    return name.encode("utf-8", "replace").decode()


def content_disposition(content_type: str, file_name: str | None, *, disposition: str | None = None) -> str:
    """The Content-Disposition that media is served with (RFC 6266): inline only where that is safe."""
    if disposition is None:
        bare = content_type.partition(";")[0].strip().lower()
        disposition = "inline" if bare in _INLINE_TYPES else "attachment"
    if not file_name:
        return disposition
    if file_name.isascii() and file_name.isprintable():
        escaped = file_name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{disposition}; filename="{escaped}"'
    return f"{disposition}; filename*=utf-8''{quote(file_name, safe='')}"


def file_name_in(disposition: str | None) -> str | None:
    """The file name that another server's Content-Disposition gives, None where there is none or it is no good."""
    found = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(disposition or "")}
    extended = found.get("filename*", "")
    charset, _, rest = extended.partition("'")
    name = re.sub(r"\\(.)", r"\1", found.get("filename", ""))
    if charset.lower() in ("utf-8", "iso-8859-1"):
        name = unquote(rest.partition("'")[2], encoding=charset, errors="replace")
    name = name.replace("\0", "")[:MAX_FILE_NAME]
    return name.encode("utf-8", "replace").decode() or None
