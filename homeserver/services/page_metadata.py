"""What a page says about itself: Open Graph (https://ogp.me/), Twitter cards, oEmbed links, else title and text."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin

from homeserver.services.html_tokens import Tag, tokens

_MAX_TEXT: Final = 500
_MAX_VALUE: Final = 1000
_MAX_PROPERTIES: Final = 50
# What a preview may say of its own page; og:image and the numbers are this server's to say.
_PREFIXES: Final = ("og:", "article:", "profile:", "book:", "video:", "music:")
_TWITTER: Final = {
    "twitter:title": "og:title",
    "twitter:description": "og:description",
    "twitter:image": "og:image",
    "twitter:image:src": "og:image",
}
_IMAGES: Final = ("og:image:secure_url", "og:image", "og:image:url")
_HEADINGS: Final = frozenset(("h1", "h2", "h3"))
_NO_CONTENT: Final = frozenset(("head", "nav", "header", "footer", "aside", "form", "button", "select"))


@dataclass(slots=True)
class Metadata:
    """`properties` are Open Graph's names and texts; URLs are absolute."""

    properties: dict[str, str] = field(default_factory=dict)
    image: str | None = None
    oembed: str | None = None


def metadata_of_html(page: str, url: str) -> Metadata:
    """Read a page that came from `url`."""
    reader = _Reader(url)
    for token in tokens(page):
        if isinstance(token, Tag):
            reader.tag(token)
        else:
            reader.text(token)
    return reader.result()


def add_oembed(found: Metadata, answer: Any, url: str) -> None:
    """Fill in what the page itself does not say from its oEmbed description: https://oembed.com/#section2.3"""
    if not isinstance(answer, dict):
        return
    names = {"title": "og:title", "provider_name": "og:site_name", "author_name": "og:article:author"}
    for name, target in names.items():
        _set_new(found.properties, target, answer.get(name))
    kind, picture = answer.get("type"), answer.get("thumbnail_url")
    if kind == "photo":
        picture = answer.get("url", picture)
    if kind == "video":
        found.properties.setdefault("og:type", "video.other")
    if kind == "rich" and isinstance(answer.get("html"), str):
        inner = metadata_of_html(answer["html"], url)
        _set_new(found.properties, "og:description", inner.properties.get("og:description"))
    if found.image is None and isinstance(picture, str) and picture:
        found.image = urljoin(url, picture)


class _Reader:
    """Collects while the page goes by."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._base = url
        self._said: dict[str, str] = {}
        self._title: str | None = None
        self._heading: list[str] = []
        self._description: str | None = None
        self._icon: str | None = None
        self._picture: str | None = None
        self._oembed: str | None = None
        self._texts: list[str] = []
        self._length = 0
        self._outside: list[str] = []
        self._in_heading = False
        self._readers: dict[str, Callable[[Tag], None]] = {
            "meta": self._meta,
            "link": self._link,
            "title": self._title_tag,
            "img": self._image,
            "base": self._base_tag,
            "body": self._body,
        }

    def tag(self, tag: Tag) -> None:
        if tag.name in _HEADINGS:
            self._in_heading = not tag.is_end
        if tag.name in _NO_CONTENT:
            self._nest(tag)
        elif not tag.is_end:
            read = self._readers.get(tag.name)
            if read is not None:
                read(tag)

    def text(self, text: str) -> None:
        if self._outside or self._length >= _MAX_TEXT:
            return
        line = _one_line(text)
        if not line:
            return
        if self._in_heading:
            self._heading.append(line)
            return
        self._texts.append(line)
        self._length += len(line) + 1

    def result(self) -> Metadata:
        said = {name: value for name, value in self._said.items() if name.startswith(_PREFIXES)}
        for name, other in _TWITTER.items():
            if name in self._said:
                said.setdefault(other, self._said[name])
        image = next((said[name] for name in _IMAGES if said.get(name)), None) or self._icon or self._picture
        properties = {name: value for name, value in said.items() if not name.startswith("og:image")}
        _set_new(properties, "og:title", self._title or " ".join(self._heading[:1]))
        _set_new(properties, "og:description", self._description or _shortened(" ".join(self._texts)))
        return Metadata(properties, None if image is None else self._absolute(image), self._oembed)

    def _nest(self, tag: Tag) -> None:
        if not tag.is_end:
            if len(self._outside) < 100:
                self._outside.append(tag.name)
        elif tag.name in self._outside:
            while self._outside.pop() != tag.name:
                pass

    def _meta(self, tag: Tag) -> None:
        name = (tag.attributes.get("property") or tag.attributes.get("name") or "").strip().lower()
        value = _one_line(tag.attributes.get("content", ""))[:_MAX_VALUE]
        if not name or not value:
            return
        if name == "description":
            self._description = self._description or value
        elif name.startswith((*_PREFIXES, "twitter:")) and len(self._said) < _MAX_PROPERTIES:
            self._said.setdefault(name[:100], value)

    def _link(self, tag: Tag) -> None:
        relations, target = tag.attributes.get("rel", "").lower().split(), tag.attributes.get("href", "")
        if not target:
            return
        if "alternate" in relations and tag.attributes.get("type", "").lower() == "application/json+oembed":
            self._oembed = self._oembed or self._absolute(target)
        if "image_src" in relations or "apple-touch-icon" in relations:
            self._icon = self._icon or target

    def _title_tag(self, tag: Tag) -> None:
        self._title = self._title or _one_line(tag.text)[:_MAX_VALUE]

    def _image(self, tag: Tag) -> None:
        source = tag.attributes.get("src", "")
        is_shown = bool(source) and not self._outside and not source.startswith("data:")
        if self._picture is None and is_shown and not _is_tiny(tag):
            self._picture = source

    def _base_tag(self, tag: Tag) -> None:
        if self._base == self._url and tag.attributes.get("href"):
            self._base = self._absolute(tag.attributes["href"]) or self._url

    def _body(self, tag: Tag) -> None:
        self._outside.clear()  # a head that was never closed ends here

    def _absolute(self, target: str) -> str | None:
        try:
            return urljoin(self._base, target.strip())
        except ValueError:
            return None


def _is_tiny(tag: Tag) -> bool:
    """Whether an image says that it is smaller than an icon: pixels that count visits."""
    sizes = [tag.attributes.get(name, "") for name in ("width", "height")]
    return any(size.isascii() and size.isdigit() and len(size) < 9 and int(size) <= 10 for size in sizes)


def _set_new(properties: dict[str, str], name: str, value: object) -> None:
    if isinstance(value, str) and (text := _one_line(value)[:_MAX_VALUE]):
        properties.setdefault(name, text)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\0", "")).strip()


def _shortened(text: str) -> str:
    """At most so many characters, cut between two words."""
    if len(text) <= _MAX_TEXT:
        return text
    cut = text[:_MAX_TEXT].rpartition(" ")[0] or text[:_MAX_TEXT]
    return cut + "…"
