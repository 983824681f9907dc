"""Previews of URLs against a web server of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from federation.outbound.addresses import PrivateAddress, socket_factory
from homeserver.config.outside_sections import UrlPreviews as PreviewConfig
from homeserver.errors import BadGateway, InvalidParam, Unrecognized
from homeserver.runtime.page_fetcher import PageFetcher
from homeserver.services.url_previews import UrlPreviews
from tests.services.media_world import MediaWorld, media_world, picture

Answer = Callable[[web.BaseRequest], web.StreamResponse]


class Web:
    """A web server: path → answer. Notes what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.url = ""

    def add(self, path: str, body: bytes | str, content_type: str = "text/html", **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.answers[path] = lambda _: web.Response(body=data, headers={"Content-Type": content_type, **headers})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        answer = self.answers.get(request.path)
        return web.Response(status=404) if answer is None else answer(request)


@pytest.fixture
async def site() -> AsyncIterator[Web]:
    found = Web()
    runner = web.ServerRunner(web.Server(found.handle))
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def world(tmp_path: Path, sqlite_url: str) -> AsyncIterator[MediaWorld]:
    async with media_world(tmp_path / "media", sqlite_url) as found:
        yield found


@pytest.fixture
async def build(world: MediaWorld) -> AsyncIterator[Callable[..., UrlPreviews]]:
    made: list[UrlPreviews] = []

    def build(make_socket: Any = None, **options: Any) -> UrlPreviews:
        config = PreviewConfig(**{"enabled": True, "timeout": 5, **options})
        fetcher = PageFetcher(
            user_agent="test", socket_factory=make_socket or socket_factory(True), timeout_s=config.timeout
        )
        made.append(
            UrlPreviews(world.database, world.store, fetcher, config, "here.test", world.clock, world.tasks)
        )
        return made[-1]

    yield build
    for previews in made:
        await previews.close()


Build = Callable[..., UrlPreviews]


async def test_preview_has_open_graph_and_the_picture_as_media(site: Web, build: Build, world: MediaWorld) -> None:
    data = picture(30, 20)
    site.add("/p.png", data, "image/png")
    site.add("/page", '<meta property="og:title" content="The Rock"><meta property=og:image content=p.png>')
    preview = await build().of(f"{site.url}/page#part")
    assert preview.pop("og:image").startswith("mxc://here.test/")
    assert preview == {
        "og:title": "The Rock",
        "og:image:type": "image/png",
        "og:image:width": 30,
        "og:image:height": 20,
        "matrix:image:size": len(data),
    }
    assert len(world.stored_files()) == 1


async def test_same_picture_is_the_same_media(site: Web, build: Build) -> None:
    site.add("/a.png", picture(3, 3), "image/png")
    site.add("/b.png", picture(3, 3), "image/png")
    previews = build()
    first, second = await previews.of(f"{site.url}/a.png"), await previews.of(f"{site.url}/b.png")
    assert first["og:image"] == second["og:image"]
    assert (first["og:title"], second["og:title"]) == ("a.png", "b.png")


async def test_preview_is_kept_for_a_while(site: Web, build: Build, world: MediaWorld) -> None:
    site.add("/page", "<title>One</title>")
    previews = build(cache_lifetime=60)
    assert await previews.of(f"{site.url}/page") == {"og:title": "One"}
    site.add("/page", "<title>Two</title>")
    assert await previews.of(f"{site.url}/page") == {"og:title": "One"}
    world.clock.advance(61)
    assert await previews.of(f"{site.url}/page") == {"og:title": "Two"}


async def test_page_that_many_ask_for_is_fetched_once(site: Web, build: Build) -> None:
    site.add("/page", "<title>One</title>")
    previews = build()
    await asyncio.gather(*(previews.of(f"{site.url}/page") for _ in range(5)))
    assert site.asked == ["/page"]


async def test_oembed_description_is_asked_for(site: Web, build: Build) -> None:
    site.add("/page", '<link rel=alternate type=application/json+oembed href="/oembed">')
    site.add("/oembed", '{"type": "video", "title": "Film"}', "application/json")
    assert await build().of(f"{site.url}/page") == {"og:title": "Film", "og:type": "video.other"}


async def test_what_is_neither_page_nor_picture_has_an_empty_preview(site: Web, build: Build) -> None:
    site.add("/file", b"\0" * 100, "application/zip")
    assert await build().of(f"{site.url}/file") == {}


async def test_picture_that_is_too_large_is_left_out(site: Web, build: Build) -> None:
    site.add("/big.bmp", picture(100, 100, "BMP"), "image/bmp")
    site.add("/page", "<title>T</title><meta property=og:image content=/big.bmp>")
    assert await build(max_size=5000).of(f"{site.url}/page") == {"og:title": "T"}


async def test_page_is_read_only_so_far(site: Web, build: Build) -> None:
    site.add("/page", "<title>T</title>" + " " * 10_000 + "<p>Far away</p>")
    assert await build(max_size=5000).of(f"{site.url}/page") == {"og:title": "T"}


async def test_broken_picture_and_oembed_do_not_spoil_the_preview(site: Web, build: Build) -> None:
    site.add("/page", '<title>T</title><meta property=og:image content="http://[">'
             '<link rel=alternate type=application/json+oembed href="/missing">')
    assert await build().of(f"{site.url}/page") == {"og:title": "T"}


async def test_redirects_are_followed_but_not_for_ever(site: Web, build: Build) -> None:
    site.add("/page", "<title>T</title>")
    site.answers["/once"] = lambda _: web.Response(status=302, headers={"Location": "/page"})
    site.answers["/loop"] = lambda _: web.Response(status=302, headers={"Location": "/loop"})
    site.answers["/file"] = lambda _: web.Response(status=302, headers={"Location": "file:///etc/passwd"})
    previews = build()
    assert await previews.of(f"{site.url}/once") == {"og:title": "T"}
    for path in ("/loop", "/file", "/missing"):
        with pytest.raises(BadGateway):
            await previews.of(site.url + path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_private_addresses_are_refused_however_they_are_written(site: Web, build: Build, host: str) -> None:
    site.add("/page", "<title>Secret</title>")
    port = site.url.rpartition(":")[2]
    with pytest.raises(BadGateway):
        await build(socket_factory(False)).of(f"http://{host}:{port}/page")
    assert site.asked == []


async def test_address_is_checked_again_after_a_redirect(site: Web, build: Build) -> None:
    def only_the_first(info: Any) -> Any:
        if info[4][0] != "127.0.0.1":
            raise PrivateAddress("no")
        return socket_factory(True)(info)

    port = site.url.rpartition(":")[2]
    site.add("/secret", "<title>Secret</title>")
    site.answers["/page"] = lambda _: web.Response(
        status=302, headers={"Location": f"http://127.0.0.2:{port}/secret"}
    )
    with pytest.raises(BadGateway):
        await build(only_the_first).of(f"{site.url}/page")
    assert site.asked == ["/page"]


@pytest.mark.parametrize(
    "url", ["", "page", "ftp://a.test/", "http://", "http://u:p@a.test/", "file:///x", "http://[", "mailto:x"]
)
async def test_other_urls_are_invalid(build: Build, url: str) -> None:
    with pytest.raises(InvalidParam):
        await build().of(url)


async def test_previews_are_off_unless_configured(build: Build) -> None:
    assert PreviewConfig().enabled is False
    with pytest.raises(Unrecognized):
        await build(enabled=False).of("http://a.test/")
