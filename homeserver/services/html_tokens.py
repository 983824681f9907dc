"""The tags and texts of an HTML page, in one pass whose time grows with the page's length and no faster.

After https://html.spec.whatwg.org/#tokenization, as far as a reader of titles and descriptions needs it. What is never
closed (a comment, a script, a quoted attribute) goes on to the end of the page, as browsers have it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import Final

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)")
_SPACE = re.compile(r"[\s/]*+")
_NAME = re.compile(r"=?[^\s/>=]*+")
_EQUALS = re.compile(r"\s*+=\s*+")
_UNQUOTED = re.compile(r"[^\s>]*+")
# Inside of these, nothing is a tag but their own end.
_RAW: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "noscript", "template", "iframe", "svg", "xmp", "noframes")
}


@dataclass(frozen=True, slots=True)
class Tag:
    """A start or end tag; names are in lower case. `text` is what lies raw in it: the text of a title."""

    name: str
    is_end: bool
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""


def tokens(page: str) -> Iterator[Tag | str]:
    """Tags, and the texts between them (entities resolved), in the order of the page."""
    at, end = 0, len(page)
    while at < end:
        opening = page.find("<", at)
        if opening < 0:
            yield unescape(page[at:])
            return
        if opening > at:
            yield unescape(page[at:opening])
        found = _TAG.match(page, opening)
        if found is None:
            at = _after_other(page, opening)
            if at == opening + 1:
                yield "<"
            continue
        attributes, at = _attributes(page, found.end())
        name = found[2].lower()
        text = ""
        if not found[1] and name in _RAW:
            closing = _RAW[name].search(page, at)
            inner = page[at:] if closing is None else page[at : closing.start()]
            at = end if closing is None else closing.start()
            text = unescape(inner) if name == "title" else ""
        yield Tag(name, bool(found[1]), attributes, text)


def _after_other(page: str, opening: int) -> int:
    """Where a comment, a declaration or a lone `<` ends."""
    if page.startswith("<!--", opening):
        closing = page.find("-->", opening + 2)
        return len(page) if closing < 0 else closing + 3
    if page[opening + 1 : opening + 2] in ("!", "?", "/"):
        closing = page.find(">", opening)
        return len(page) if closing < 0 else closing + 1
    return opening + 1


def _attributes(page: str, at: int) -> tuple[dict[str, str], int]:
    """The attributes of a tag, and where it ends. The first of a name counts."""
    found: dict[str, str] = {}
    end = len(page)
    while True:
        at = _end_of(_SPACE, page, at)
        if at >= end:
            return found, end
        if page[at] == ">":
            return found, at + 1
        stop = _end_of(_NAME, page, at)
        name, at = page[at:stop].lower(), stop
        equals = _EQUALS.match(page, at)
        value = ""
        if equals is not None:
            value, at = _value(page, equals.end())
        found.setdefault(name, value)


def _value(page: str, at: int) -> tuple[str, int]:
    quote = page[at : at + 1]
    if quote and quote in "\"'":
        closing = page.find(quote, at + 1)
        if closing < 0:
            return "", len(page)
        return unescape(page[at + 1 : closing]), closing + 1
    stop = _end_of(_UNQUOTED, page, at)
    return unescape(page[at:stop]), stop


def _end_of(pattern: re.Pattern[str], page: str, at: int) -> int:
    found = pattern.match(page, at)
    return at if found is None else found.end()
