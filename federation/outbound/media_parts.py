"""Reads the answers of media endpoints: multipart/mixed of a JSON object and a file, or where the file is
(server-server-api §Content Repository)."""

from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Final

MAX_PARTS: Final = 8


class InvalidParts(ValueError):
    """The answer is not the multipart that it should be."""


@dataclass(frozen=True, slots=True)
class MediaPart:
    """The file, or the URL that it is at (`location`). The disposition is the whole header."""

    body: bytes
    content_type: str | None
    disposition: str | None
    location: str | None


def parse(content_type: str, body: bytes) -> MediaPart:
    """The second part of the answer. Raises `InvalidParts`."""
    boundary = _boundary(content_type)
    delimiter = b"\r\n--" + boundary
    # The first delimiter may stand at the very beginning, without its line break.
    pieces = (b"\r\n" + body).split(delimiter, MAX_PARTS)
    if len(pieces) < 4 or not pieces[-1].startswith(b"--"):
        raise InvalidParts("there are not two parts")
    head, gap, content = pieces[2].removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not gap:
        raise InvalidParts("a part has no end of its headers")
    headers = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
    return MediaPart(content, headers.get("Content-Type"), headers.get("Content-Disposition"), headers.get("Location"))


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise InvalidParts("not multipart/mixed")
    return boundary.encode("ascii", "replace")
