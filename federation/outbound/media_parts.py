"""Reads the answers of media endpoints: multipart/mixed of a JSON object and a file, or where the file is
(server-server-api §Content Repository).

The answer lies on the disk: files may be larger than what memory there is.
"""

from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import BinaryIO, Final

MAX_HEAD: Final = 64 * 1024
"""Bytes before the file: the JSON object, and the headers of both parts."""
_CHUNK: Final = 256 * 1024


class InvalidParts(ValueError):
    """The answer is not the multipart that it should be."""


@dataclass(frozen=True, slots=True)
class MediaPart:
    """Where in the answer the file lies, or the URL that it is at (`location`). The disposition is the whole header."""

    start: int
    end: int
    content_type: str | None
    disposition: str | None
    location: str | None

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self.end - self.start


def parse(content_type: str, file: BinaryIO) -> MediaPart:
    """The second part of the answer in `file`. Raises `InvalidParts`. Reads the file: call it in a thread."""
    delimiter = b"\r\n--" + _boundary(content_type)
    file.seek(0)
    # The first delimiter may stand at the very beginning, without its line break.
    head = b"\r\n" + file.read(MAX_HEAD)
    first = head.find(delimiter)
    second = head.find(delimiter, first + 1)
    end_of_headers = head.find(b"\r\n\r\n", second + 1)
    if first < 0 or second < 0 or end_of_headers < 0:
        raise InvalidParts("there are not two parts")
    headers = BytesHeaderParser().parsebytes(head[second + len(delimiter) : end_of_headers].lstrip() + b"\r\n\r\n")
    start = end_of_headers + 4 - 2
    # An empty file may end where its headers do.
    end = _find(file, delimiter + b"--", start - 2)
    if end < 0:
        raise InvalidParts("the second part has no end")
    return MediaPart(
        start, max(start, end), headers.get("Content-Type"), headers.get("Content-Disposition"), headers.get("Location")
    )


def _find(file: BinaryIO, wanted: bytes, start: int) -> int:
    file.seek(start)
    kept, at = b"", start
    while piece := file.read(_CHUNK):
        window = kept + piece
        found = window.find(wanted)
        if found >= 0:
            return at + found
        kept = window[-(len(wanted) - 1) :]
        at += len(window) - len(kept)
    return -1


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise InvalidParts("not multipart/mixed")
    return boundary.encode("ascii", "replace")
