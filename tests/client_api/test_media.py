"""Media over HTTP: headers, ranges, and an errcode for everything that is wrong."""

import gzip
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from client_api.endpoints import MEDIA
from client_api.media import MediaHandlers
from homeserver.config.account_sections import RateLimits
from homeserver.config.server_sections import Limits, Listener
from homeserver.errors import UnknownToken
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.telemetry import Telemetry
from homeserver.services.sessions import Requester
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.server import HttpServer
from tests.services.media_world import ELSEWHERE, HERE, MediaWorld, media_world, opened, picture

UPLOAD, CREATE = "/_matrix/media/v3/upload", "/_matrix/media/v1/create"
DOWNLOAD, THUMBNAIL = "/_matrix/client/v1/media/download/", "/_matrix/client/v1/media/thumbnail/"
OLD_DOWNLOAD, OLD_THUMBNAIL = "/_matrix/media/v3/download/", "/_matrix/media/v3/thumbnail/"


class Sessions:
    """alice, bob and guest have tokens of their own name."""

    def cached(self, token: str) -> Requester | None:
        if token in ("alice", "bob", "guest"):
            return Requester(f"@{token}:{HERE}", "DEVICE", is_guest=token == "guest")
        return None

    async def requester_for(self, *_: Any) -> Any:
        raise UnknownToken


async def no_federation(*_: Any) -> str:
    raise AssertionError


class Answer:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status, self.headers, self.body = response.status, response.headers, body
        self.raw_headers = response.raw_headers
        self.type = response.content_type

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        body = self.json()
        assert body["error"]
        return self.status, body["errcode"]


class Site:
    def __init__(self, world: MediaWorld, client: aiohttp.ClientSession, url: str) -> None:
        self.world, self._client, self._url = world, client, url

    async def ask(self, method: str, path: str, *, token: str | None = "alice", **more: Any) -> Answer:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(data := more.get("data"), bytes) and len(data) > 1 << 20:
            more["data"] = io.BytesIO(data)
        url = URL(self._url + path, encoded=True)
        async with self._client.request(method, url, headers=headers, **more) as response:
            return Answer(response, await response.read())

    async def upload(self, data: bytes, content_type: str = "text/plain", query: str = "") -> str:
        """`server/media id` of an upload."""
        answer = await self.ask("POST", UPLOAD + query, data=data, headers={"Content-Type": content_type})
        assert answer.status == 200, answer.body
        return answer.json()["content_uri"].removeprefix("mxc://")


@pytest.fixture
def legacy() -> bool:
    return True


@pytest.fixture
async def site(tmp_path: Path, sqlite_url: str, legacy: bool) -> AsyncIterator[Site]:
    async with media_world(
        tmp_path / "media", sqlite_url, max_upload_size=3_000_000, max_pending_uploads=2, max_pixels=1_000_000
    ) as world:
        telemetry = Telemetry(FrozenClock())
        handlers = MediaHandlers(world.uploads, world.reader, world.thumbnails, legacy=legacy)
        limiter = RateLimiter(RateLimits(enabled=False), telemetry.clock)
        dispatcher = Dispatcher(MEDIA, [handlers], Sessions(), no_federation, limiter, telemetry)
        server = HttpServer(dispatcher, [Listener(port=0)], telemetry, limits=Limits(stop_grace=0.2))
        await server.start()
        async with aiohttp.ClientSession(auto_decompress=True) as client:
            yield Site(world, client, server.addresses[0])
        await server.stop()


async def test_upload_comes_back_as_it_was_sent(site: Site) -> None:
    data = bytes(range(256)) * 8000
    mxc = await site.upload(data, "application/x-thing", "?filename=War%20and%20Peace.bin")
    answer = await site.ask("GET", DOWNLOAD + mxc)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, data, "application/x-thing")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="War and Peace.bin"'
    assert answer.headers["Content-Length"] == str(len(data))


async def test_download_is_safe_to_open_in_a_browser(site: Site) -> None:
    answer = await site.ask("GET", DOWNLOAD + await site.upload(b"<script>", "text/html"))
    headers = answer.headers
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; script-src 'none';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Content-Disposition"] == "attachment"
    assert headers["Content-Type"] == "text/html"


async def test_upload_without_a_type_is_octet_stream(site: Site) -> None:
    answer = await site.ask("POST", UPLOAD, data=b"x", skip_auto_headers=["Content-Type"])
    answer = await site.ask("GET", DOWNLOAD + answer.json()["content_uri"][6:])
    assert answer.headers["Content-Type"] == "application/octet-stream"


async def test_empty_and_chunked_and_compressed_uploads_are_taken(site: Site) -> None:
    assert (await site.ask("GET", DOWNLOAD + await site.upload(b""))).body == b""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    answer = await site.ask("POST", UPLOAD, data=chunks())
    assert (await site.ask("GET", DOWNLOAD + answer.json()["content_uri"][6:])).body == b"x" * 2_000_000
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
    answer = await site.ask("POST", UPLOAD, data=gzip.compress(b"small"), headers=headers)
    assert (await site.ask("GET", DOWNLOAD + answer.json()["content_uri"][6:])).body == b"small"


async def test_too_large_uploads_are_refused(site: Site) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    assert (await site.ask("POST", UPLOAD, data=endless())).error == (413, "M_TOO_LARGE")
    bomb = gzip.compress(bytes(3_000_001))
    assert (await site.ask("POST", UPLOAD, data=bomb, headers={"Content-Encoding": "gzip"})).error == (
        413,
        "M_TOO_LARGE",
    )
    assert (await site.ask("POST", UPLOAD, data=bytes(3_000_001))).error == (413, "M_TOO_LARGE")
    assert site.world.stored_files() == []


async def test_upload_that_is_not_packed_as_it_says_is_refused(site: Site) -> None:
    answer = await site.ask("POST", UPLOAD, data=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert answer.error == (400, "M_UNKNOWN")


async def test_overlong_name_is_refused(site: Site) -> None:
    assert (await site.ask("POST", f"{UPLOAD}?filename={'x' * 600}", data=b"x")).error == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", UPLOAD), ("POST", CREATE), ("PUT", f"{UPLOAD}/{HERE}/x"), ("GET", f"{DOWNLOAD}{HERE}/x")],
)
async def test_token_is_needed(site: Site, method: str, path: str) -> None:
    assert (await site.ask(method, path, token=None)).error == (401, "M_MISSING_TOKEN")
    assert (await site.ask(method, path, token="stolen")).error == (401, "M_UNKNOWN_TOKEN")


async def test_guests_may_look_and_not_upload(site: Site) -> None:
    mxc = await site.upload(b"look")
    assert (await site.ask("GET", DOWNLOAD + mxc, token="guest")).body == b"look"
    assert (await site.ask("POST", UPLOAD, token="guest", data=b"x")).error == (403, "M_GUEST_ACCESS_FORBIDDEN")


@pytest.mark.parametrize(
    "path", ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config", "/_matrix/media/r0/config"]
)
async def test_config_says_how_large_uploads_may_be(site: Site, path: str) -> None:
    assert (await site.ask("GET", path)).json() == {"m.upload.size": 3_000_000}


@pytest.mark.parametrize("prefix", [DOWNLOAD, OLD_DOWNLOAD, "/_matrix/media/r0/download/"])
@pytest.mark.parametrize(
    ("encoded", "disposition"),
    [
        ("cat.jpg", 'inline; filename="cat.jpg"'),
        ("K%C3%A4tzchen.jpg", "inline; filename*=utf-8''K%C3%A4tzchen.jpg"),
        ("a%0D%0AX-Evil:%20y", "inline; filename*=utf-8''a%0D%0AX-Evil%3A%20y"),
        ("..%2F..%2Fetc%2Fpasswd", 'inline; filename="../../etc/passwd"'),
    ],
)
async def test_name_of_the_path_is_the_name_of_the_download(
    site: Site, prefix: str, encoded: str, disposition: str
) -> None:
    mxc = await site.upload(b"x", "image/jpeg", "?filename=other")
    answer = await site.ask("GET", f"{prefix}{mxc}/{encoded}", token="alice" if prefix == DOWNLOAD else None)
    assert answer.headers["Content-Disposition"] == disposition
    assert "X-Evil" not in answer.headers


async def test_what_a_client_has_is_not_sent_again(site: Site) -> None:
    mxc = await site.upload(b"content")
    first = await site.ask("GET", DOWNLOAD + mxc)
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, max-age=86400, immutable"
    for condition in (tag, f'"other", W/{tag}', "*"):
        again = await site.ask("GET", DOWNLOAD + mxc, headers={"If-None-Match": condition})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    other = await site.ask("GET", DOWNLOAD + mxc, headers={"If-None-Match": '"other"'})
    assert other.body == b"content"


@pytest.mark.parametrize(
    ("wanted", "part", "where"),
    [
        ("bytes=0-3", b"0123", "0-3/10"),
        ("bytes=7-", b"789", "7-9/10"),
        ("bytes=-2", b"89", "8-9/10"),
        ("bytes=-99", b"0123456789", "0-9/10"),
        ("bytes=9-99", b"9", "9-9/10"),
    ],
)
async def test_part_of_a_file_is_sent(site: Site, wanted: str, part: bytes, where: str) -> None:
    mxc = await site.upload(b"0123456789")
    answer = await site.ask("GET", DOWNLOAD + mxc, headers={"Range": wanted})
    assert (answer.status, answer.body) == (206, part)
    assert answer.headers["Content-Range"] == f"bytes {where}"
    assert answer.headers["Content-Length"] == str(len(part))


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=-0", "bytes=99-100"])
async def test_part_that_does_not_exist_is_refused(site: Site, wanted: str) -> None:
    answer = await site.ask("GET", DOWNLOAD + await site.upload(b"0123456789"), headers={"Range": wanted})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */10")


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=0-1x"])
async def test_range_that_is_not_understood_gets_all_of_it(site: Site, wanted: str) -> None:
    answer = await site.ask("GET", DOWNLOAD + await site.upload(b"0123456789"), headers={"Range": wanted})
    assert (answer.status, answer.body) == (200, b"0123456789")


async def test_part_of_another_version_is_not_sent(site: Site) -> None:
    mxc = await site.upload(b"0123456789")
    headers = {"Range": "bytes=0-3", "If-Range": '"other"'}
    assert (await site.ask("GET", DOWNLOAD + mxc, headers=headers)).status == 200
    headers["If-Range"] = (await site.ask("GET", DOWNLOAD + mxc)).headers["ETag"]
    assert (await site.ask("GET", DOWNLOAD + mxc, headers=headers)).status == 206


async def test_head_tells_the_size_without_the_file(site: Site) -> None:
    answer = await site.ask("HEAD", DOWNLOAD + await site.upload(b"0123456789"))
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "10")


@pytest.mark.parametrize("prefix", [DOWNLOAD, THUMBNAIL])
@pytest.mark.parametrize(
    ("mxc", "error"),
    [
        (f"{HERE}/unknown", (404, "M_NOT_FOUND")),
        (f"{ELSEWHERE}/unknown", (404, "M_NOT_FOUND")),
        (f"{HERE}/..%2F..%2Fetc%2Fpasswd", (400, "M_INVALID_PARAM")),
        ("..%2Fx/abc", (400, "M_INVALID_PARAM")),
        (f"{HERE}/a%00b", (400, "M_INVALID_PARAM")),
        (f"{HERE}/%FF", (400, "M_INVALID_PARAM")),
    ],
)
async def test_unknown_and_impossible_ids_are_refused(
    site: Site, prefix: str, mxc: str, error: tuple[int, str]
) -> None:
    assert (await site.ask("GET", f"{prefix}{mxc}?width=10&height=10")).error == error


async def test_file_follows_its_id(site: Site) -> None:
    created = (await site.ask("POST", CREATE)).json()
    assert created["unused_expires_at"] > site.world.clock.now_ms()
    mxc = created["content_uri"].removeprefix("mxc://")
    assert (await site.ask("GET", f"{DOWNLOAD}{mxc}?timeout_ms=0")).error == (504, "M_NOT_YET_UPLOADED")
    assert (await site.ask("PUT", f"{UPLOAD}/{mxc}", token="bob", data=b"mine")).error == (403, "M_FORBIDDEN")
    assert (await site.ask("PUT", f"{UPLOAD}/{mxc}", data=bytes(3_000_001))).error == (413, "M_TOO_LARGE")
    answer = await site.ask("PUT", f"{UPLOAD}/{mxc}?filename=f", data=b"yes", headers={"Content-Type": "text/css"})
    assert (answer.status, answer.json()) == (200, {})
    assert (await site.ask("PUT", f"{UPLOAD}/{mxc}", data=b"no")).error == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert (await site.ask("PUT", f"{UPLOAD}/{HERE}/other", data=b"no")).error == (404, "M_NOT_FOUND")
    answer = await site.ask("GET", DOWNLOAD + mxc)
    assert (answer.body, answer.headers["Content-Disposition"]) == (b"yes", 'inline; filename="f"')


async def test_too_many_unused_ids_are_refused(site: Site) -> None:
    for _ in range(2):
        assert (await site.ask("POST", CREATE)).status == 200
    answer = await site.ask("POST", CREATE)
    assert answer.error == (429, "M_LIMIT_EXCEEDED")
    assert answer.headers["Retry-After"] == "86400"


async def test_thumbnail_is_a_small_picture(site: Site) -> None:
    mxc = await site.upload(picture(800, 600, "JPEG"), "image/jpeg")
    answer = await site.ask("GET", f"{THUMBNAIL}{mxc}?width=300&height=200&method=scale&animated=true")
    assert (answer.status, answer.type, opened(answer.body).size) == (200, "image/jpeg", (320, 240))
    assert answer.headers["Content-Disposition"] == 'inline; filename="thumbnail.jpg"'
    again = await site.ask(
        "GET",
        f"{OLD_THUMBNAIL}{mxc}?width=320&height=240",
        token=None,
        headers={"If-None-Match": answer.headers["ETag"]},
    )
    assert again.status == 304


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("", "M_MISSING_PARAM"),
        ("width=10", "M_MISSING_PARAM"),
        ("width=&height=", "M_MISSING_PARAM"),
        ("width=0&height=10", "M_INVALID_PARAM"),
        ("width=-1&height=10", "M_INVALID_PARAM"),
        ("width=1.5&height=10", "M_INVALID_PARAM"),
        ("width=10&height=10&method=stretch", "M_INVALID_PARAM"),
        ("width=10&height=10&animated=perhaps", "M_INVALID_PARAM"),
        ("width=10&height=10&timeout_ms=soon", "M_INVALID_PARAM"),
        ("width=10&height=10", "M_UNKNOWN"),  # the file is no picture
        ("width=999999999999999999&height=10", "M_UNKNOWN"),
    ],
)
async def test_thumbnail_that_cannot_be_made_is_refused(site: Site, query: str, errcode: str) -> None:
    mxc = await site.upload(b"no picture", "image/png")
    assert (await site.ask("GET", f"{THUMBNAIL}{mxc}?{query}")).error == (400, errcode)


async def test_large_pictures_get_no_thumbnail(site: Site) -> None:
    data = picture(1001, 1000)
    mxc = await site.upload(data)
    assert (await site.ask("GET", f"{THUMBNAIL}{mxc}?width=9&height=9")).error == (413, "M_TOO_LARGE")
    site.world.other.files |= {"large": (data, "image/png", None), "huge": (bytes(3_000_001), None, None)}
    for media_id in site.world.other.files:
        answer = await site.ask("GET", f"{THUMBNAIL}{ELSEWHERE}/{media_id}?width=9&height=9")
        assert answer.error == (502, "M_TOO_LARGE")


async def test_old_endpoints_need_no_token_and_may_be_cached_by_all(site: Site) -> None:
    site.world.other.files["cat"] = (b"meow", "audio/ogg", "cät")
    path = f"{OLD_DOWNLOAD}{ELSEWHERE}/cat"
    assert (await site.ask("GET", f"{path}?allow_remote=false", token=None)).error == (404, "M_NOT_FOUND")
    answer = await site.ask("GET", f"{path}?allow_redirect=true", token=None)
    assert (answer.body, answer.type) == (b"meow", "audio/ogg")
    assert answer.headers["Content-Disposition"] == "inline; filename*=utf-8''c%C3%A4t"
    assert answer.headers["Cache-Control"].startswith("public")
    assert (await site.ask("GET", f"{path}?allow_remote=perhaps", token=None)).error == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("legacy", [False])
async def test_old_endpoints_can_be_closed(site: Site) -> None:
    mxc = await site.upload(picture(10, 10))
    for path in (f"{OLD_DOWNLOAD}{mxc}", f"{OLD_DOWNLOAD}{mxc}/name", f"{OLD_THUMBNAIL}{mxc}?width=9&height=9"):
        assert (await site.ask("GET", path, token=None)).error == (404, "M_NOT_FOUND")
    assert (await site.ask("GET", DOWNLOAD + mxc)).status == 200
