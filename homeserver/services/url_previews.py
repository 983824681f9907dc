"""Previews of what people link to. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url"""

import asyncio
import hashlib
import io
import json
import struct
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from yarl import URL

from homeserver.config.outside_sections import UrlPreviews as PreviewConfig
from homeserver.errors import BadGateway, InvalidParam, Unrecognized
from homeserver.runtime.clock import Clock
from homeserver.runtime.page_fetcher import Page, PageFailure, PageFetcher, is_fetchable
from homeserver.runtime.tasks import Tasks
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.media_once import Once
from homeserver.services.media_store import MediaStore
from homeserver.services.page_encoding import text_of
from homeserver.services.page_metadata import Metadata, add_oembed, metadata_of_html
from storage import media as index
from storage.database import Database, Write
from storage.media import MediaRow

Preview = dict[str, Any]
_PAGES: Final = frozenset(("text/html", "application/xhtml+xml"))
_ACCEPT: Final = "text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.5"
# What a page says of itself stands near its beginning; the rest is read only so far.
_MAX_HTML: Final = 2 << 20
_MAX_OEMBED: Final = 1 << 18
_MAX_URL: Final = 8192
_CACHED: Final = 1000
_BROKEN: Final = (OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, struct.error)


@dataclass(frozen=True, slots=True)
class _Cached:
    preview: Preview
    until: float


class UrlPreviews:
    """Looks at pages for this server's users; what it found is kept in memory for a while, by URL and language."""

    def __init__(
        self,
        database: Database,
        store: MediaStore,
        fetcher: PageFetcher,
        config: PreviewConfig,
        server_name: str,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self._database = database
        self._store = store
        self._fetcher = fetcher
        self._config = config
        self._server_name = server_name
        self._clock = clock
        self._once: Once[tuple[str, str], Preview] = Once("url preview", tasks)
        self._cache: BoundedCache[tuple[str, str], _Cached] = BoundedCache(_CACHED)

    async def of(self, url: str, language: str = "") -> Preview:
        """Open Graph's names and values, `og:image` as an mxc:// URI; empty where the URL is neither page nor picture.

        Raises Unrecognized (previews are off), InvalidParam (no http or https URL), BadGateway.
        """
        if not self._config.enabled:
            raise Unrecognized("This server makes no previews of URLs")
        key = (_checked(url), language[:100])
        cached = self._cache.get(key)
        if cached is not None and cached.until > self._clock.monotonic():
            return cached.preview
        preview = await self._once(key, lambda: self._look(*key))
        self._cache.put(key, _Cached(preview, self._clock.monotonic() + self._config.cache_lifetime))
        return preview

    async def close(self) -> None:
        """End the connections."""
        await self._fetcher.close()

    async def _look(self, url: str, language: str) -> Preview:
        try:
            page = await self._fetcher.fetch(
                url, accept=_ACCEPT, language=language or None, max_bytes=self._config.max_size
            )
        except PageFailure as error:
            raise BadGateway(f"The URL could not be read: {error}") from error
        if page.content_type in _PAGES:
            return await self._of_page(page)
        if page.content_type.startswith("image/"):
            picture = await self._picture(page)
            return picture and {"og:title": page.file_name or _last_segment(page.url), **picture}
        return {}

    async def _of_page(self, page: Page) -> Preview:
        found = await asyncio.to_thread(_read, page)
        if found.oembed is not None:
            await self._ask_oembed(found, page.url)
        preview: Preview = dict(found.properties)
        if found.image is not None:
            preview.update(await self._fetched_picture(found.image))
        return preview

    async def _ask_oembed(self, found: Metadata, url: str) -> None:
        """A page without its oEmbed description is still worth showing."""
        try:
            answer = await self._fetcher.fetch(found.oembed or "", accept="application/json", max_bytes=_MAX_OEMBED)
            add_oembed(found, json.loads(text_of(answer.body, answer.charset)), url)
        except (PageFailure, ValueError, RecursionError):
            return

    async def _fetched_picture(self, url: str) -> Preview:
        """A page without its picture is still worth showing."""
        try:
            page = await self._fetcher.fetch(url, accept="image/*", max_bytes=self._config.max_size)
        except PageFailure:
            return {}
        return await self._picture(page)

    async def _picture(self, page: Page) -> Preview:
        """Keep a picture as media, once however often it is linked to: its id comes from what is in it."""
        if not page.is_whole or not page.body or not page.content_type.startswith("image/"):
            return {}
        size = await asyncio.to_thread(_pixels, page.body)
        stored = await self._store.keep(page.body)
        media_id = "url" + hashlib.sha256(f"{stored.name} {page.content_type}".encode()).hexdigest()[:32]
        async with self._database.read() as tx:
            known = await index.media_of(tx, self._server_name, media_id)
        if known is not None and known.quarantined:
            return {}
        if known is None:
            await self._keep(media_id, page, stored.name, stored.size)
        preview: Preview = {
            "og:image": f"mxc://{self._server_name}/{media_id}",
            "og:image:type": page.content_type,
            "matrix:image:size": stored.size,
        }
        if size is not None:
            preview["og:image:width"], preview["og:image:height"] = size
        return preview

    async def _keep(self, media_id: str, page: Page, name: str, size: int) -> None:
        now = self._clock.now_ms()
        row = MediaRow(
            self._server_name, media_id, page.content_type, None, size, name, now, now, None, False, stored_as=name
        )

        async def keep(tx: Write) -> None:
            index.put(tx, row)

        await self._database.write(keep)


def _checked(url: str) -> str:
    try:
        parsed = URL(url)
    except ValueError:
        raise InvalidParam("This is not a URL") from None
    if len(url) > _MAX_URL or not is_fetchable(parsed):
        raise InvalidParam("Only http and https URLs without a user name have previews")
    return str(parsed.with_fragment(None))


def _read(page: Page) -> Metadata:
    return metadata_of_html(text_of(page.body[:_MAX_HTML], page.charset), page.url)


def _pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height as they are shown; None where it is no picture that this server can read."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # only its beginning is read
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "GIF", "WEBP", "BMP")) as image:
            sideways = image.getexif().get(0x0112, 1) in range(5, 9)
            return (image.height, image.width) if sideways else image.size
    except _BROKEN:
        return None


def _last_segment(url: str) -> str:
    return URL(url).name or urlsplit(url).netloc
