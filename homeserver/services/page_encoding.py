"""The text of a page that comes as bytes in whatever encoding: https://encoding.spec.whatwg.org/"""

import codecs
import re
from typing import Final

_BYTE_ORDER_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# Where a page may say itself how it is encoded: https://html.spec.whatwg.org/#prescan-a-byte-stream-to-determine-its-encoding
_PRESCAN_BYTES: Final = 4096
_IN_PAGE = re.compile(
    rb"""<meta\b[^>]{0,512}?charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]{1,40})|<\?xml\b[^>]{0,256}?encoding\s*=\s*["']([a-zA-Z0-9_:.-]{1,40})""",
    re.IGNORECASE,
)
# Python has more codecs than the web has encodings, and some are no encodings of text at all.
_OF_THE_WEB: Final = frozenset(
    (
        "utf-8", "utf-16-le", "utf-16-be", "utf-16", "cp866", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5",
        "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-10", "iso8859-13", "iso8859-14", "iso8859-15", "iso8859-16",
        "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "cp874", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254",
        "cp1255", "cp1256", "cp1257", "cp1258", "gbk", "gb18030", "big5", "big5hkscs", "euc_jp", "iso2022_jp",
        "shift_jis", "cp932", "euc_kr", "cp949",
    )
)
_MEANT: Final = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}


def text_of(body: bytes, charset: str | None) -> str:
    """Decode a page: by its byte order mark, the `charset` of its header, what it says itself, UTF-8, Windows-1252."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    for name in (charset, _said_in_page(body)):
        encoding = _known(name)
        if encoding is not None:
            return body.decode(encoding, "replace")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(body)  # a character that was cut in two is left out
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _said_in_page(body: bytes) -> str | None:
    found = _IN_PAGE.search(body[:_PRESCAN_BYTES])
    if found is None:
        return None
    name = (found[1] or found[2]).decode("ascii").lower()
    return "utf-8" if name.startswith("utf-16") else name  # it was read as ASCII, so it is not UTF-16


def _known(name: str | None) -> str | None:
    if not name:
        return None
    try:
        found = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        return None
    found = _MEANT.get(found, found)
    return found if found in _OF_THE_WEB else None
