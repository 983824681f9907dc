"""Claims about listening, answers that are not JSON, clients that go away, and stopping."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from homeserver.config.server_sections import Limits, Listener, Metrics
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.request import Request
from homeserver.web.responses import Json, Raw, Redirect
from tests.web.conftest import MakeSite

C = "/_matrix/client/v3"


def row(method: str, path: str, handler: Any, **more: Any) -> Endpoint:
    return Endpoint(more.pop("id", "op"), method, C + path, handler, **{"auth": Auth.NONE, **more})


async def hello(_: Request) -> dict[str, str]:
    return {"hello": "world"}


def answering(result: Any) -> Any:
    async def handler(_: Request) -> Any:
        return result

    return handler


async def test_ready_bytes_are_sent_as_json(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/x", answering(b'{"ready":1}'))])
    assert (await site.ask("GET", C + "/x"))[:2] == (200, {"ready": 1})


async def test_integers_beyond_64_bits_can_be_answered(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/x", answering({"n": 10**40}))])
    assert (await site.ask("GET", C + "/x"))[1] == {"n": 10**40}


async def test_large_answers_arrive_whole(make_site: MakeSite) -> None:
    large = {"text": "x" * 3_000_000}
    site = await make_site([row("GET", "/x", answering(large))])
    assert (await site.ask("GET", C + "/x"))[1] == large


async def test_raw_answers_have_their_type_status_and_headers(make_site: MakeSite) -> None:
    raw = Raw(b"png", "image/png", {"Content-Range": "bytes 0-2/9"}, "partial_content")
    site = await make_site([row("GET", "/x", answering(raw)), row("GET", "/y", answering(Redirect("/z")), id="b")])
    status, body, headers = await site.ask("GET", C + "/x")
    assert (status, body, headers["Content-Type"], headers["Content-Range"]) == (
        206,
        b"png",
        "image/png",
        "bytes 0-2/9",
    )
    status, _, headers = await site.ask("GET", C + "/y", allow_redirects=False)
    assert (status, headers["Location"]) == (302, "/z")


async def test_line_break_in_a_header_smuggles_nothing_in(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/x", answering(Json({}, headers={"X-A": "a\r\nX-Evil: b"})))])
    _, _, headers = await site.ask("GET", C + "/x")
    assert headers["X-A"] == "a X-Evil: b"
    assert "X-Evil" not in headers


async def test_files_and_streams_are_sent_piece_by_piece(make_site: MakeSite, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"piece"

    async def stream(_: Request) -> Raw:
        return Raw(pieces(), "text/plain")

    site = await make_site(
        [
            row("GET", "/file", answering(Raw(path, "image/png"))),
            row("GET", "/part", answering(Raw(path, offset=10, length=20)), id="b"),
            row("GET", "/stream", stream, id="c"),
        ]
    )
    status, body, headers = await site.ask("GET", C + "/file")
    assert (status, body, headers["Content-Type"]) == (200, path.read_bytes(), "image/png")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert (await site.ask("GET", C + "/part"))[1] == path.read_bytes()[10:30]
    assert (await site.ask("GET", C + "/stream"))[1] == b"piece" * 3
    status, body, headers = await site.ask("HEAD", C + "/file")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(1 << 20))


async def test_upload_is_read_by_its_handler(make_site: MakeSite) -> None:
    async def upload(request: Request) -> dict[str, int]:
        size = 0
        async for piece in request.http.content.iter_any():
            size += len(piece)
        return {"size": size}

    site = await make_site([row("POST", "/upload", upload, stream=True)], limits=Limits(client_body=70_000))
    assert (await site.ask("POST", C + "/upload", data=b"x" * 1_000_000))[1] == {"size": 1_000_000}


async def test_large_json_is_compressed_where_the_config_and_the_client_want_it(make_site: MakeSite) -> None:
    rows = [row("GET", "/x", answering({"text": "x" * 10_000}))]
    site = await make_site(rows, limits=Limits(compress_responses=True, stop_grace=0.2))
    _, body, headers = await site.ask("GET", C + "/x", headers={"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert len(body["text"]) == 10_000
    assert "Content-Encoding" not in (await site.ask("GET", C + "/x", headers={"Accept-Encoding": "identity"}))[2]


async def test_health_is_answered_everywhere_and_metrics_where_wanted(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/x", hello)], listeners=[Listener(port=0, kinds=("client",))])
    assert (await site.ask("GET", "/health"))[:2] == (200, b"OK")
    assert (await site.ask("GET", "/metrics"))[0] == 404


async def test_metrics_may_need_a_token(make_site: MakeSite) -> None:
    site = await make_site([], metrics=Metrics(token="sesame"))
    assert (await site.ask("GET", "/metrics"))[0] == 401
    assert (await site.ask("GET", "/metrics", token="sesame"))[0] == 200


async def test_listener_serves_only_its_kinds(make_site: MakeSite) -> None:
    federation = Endpoint("fed", "GET", "/_matrix/federation/v1/version", hello, auth=Auth.NONE)
    site = await make_site([row("GET", "/x", hello), federation], listeners=[Listener(port=0, kinds=("federation",))])
    assert (await site.ask("GET", C + "/x"))[0] == 404
    assert (await site.ask("GET", "/_matrix/federation/v1/version"))[0] == 200


async def test_forwarded_address_counts_only_behind_a_proxy(make_site: MakeSite) -> None:
    async def ip(request: Request) -> dict[str, str]:
        return {"ip": request.client_ip}

    listeners = [Listener(port=0, kinds=("client",), x_forwarded=believed) for believed in (True, False)]
    site = await make_site([row("GET", "/ip", ip)], listeners=listeners)
    headers = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9"}
    answers = []
    for address in site.server.addresses:
        site.url = address
        answers.append((await site.ask("GET", C + "/ip", headers=headers))[1]["ip"])
    assert answers == ["9.9.9.9", "127.0.0.1"]


async def test_unix_socket_is_served_and_a_stale_one_replaced(make_site: MakeSite, tmp_path: Path) -> None:
    path = tmp_path / "hearth.sock"
    import socket

    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    await make_site([row("GET", "/x", hello)], listeners=[Listener(unix_socket=str(path), unix_socket_mode="600")])
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession(connector=connector) as client, client.get(f"http://localhost{C}/x") as response:
        assert await response.json() == {"hello": "world"}


async def test_https_is_served(make_site: MakeSite, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    listener = Listener(port=0, kinds=("client",), tls_certificate=str(certificate), tls_key=str(key))
    site = await make_site([row("GET", "/x", hello)], listeners=[listener])
    trust = ssl.create_default_context(cafile=str(certificate))
    site.url = site.url.replace("127.0.0.1", "localhost")
    assert site.url.startswith("https://")
    assert (await site.ask("GET", C + "/x", ssl=trust))[:2] == (200, {"hello": "world"})


async def test_taken_port_is_named_in_the_error(make_site: MakeSite) -> None:
    site = await make_site([])
    port = int(site.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"127.0.0.1 port {port}"):
        await make_site([], listeners=[Listener(port=port)])


class Waiting:
    """A handler that waits until it is let go, and remembers how it ended."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go = asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self, _: Request) -> dict[str, str]:
        self.entered.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended.set_result("cancelled")
            raise
        self.ended.set_result("finished")
        return {}


def waiting_row(method: str, waiting: Waiting) -> Endpoint:
    async def handler(request: Request) -> dict[str, str]:
        return await waiting(request)

    return row(method, "/wait", handler)


async def send_and_leave(url: str, method: str, entered: asyncio.Event) -> None:
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {C}/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    await entered.wait()
    writer.transport.abort()


async def test_write_finishes_though_its_client_went_away(make_site: MakeSite) -> None:
    waiting = Waiting()
    site = await make_site([waiting_row("PUT", waiting)])
    await send_and_leave(site.url, "PUT", waiting.entered)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.ended.done()
    waiting.go.set()
    assert await waiting.ended == "finished"


async def test_read_is_cancelled_when_its_client_went_away(make_site: MakeSite) -> None:
    waiting = Waiting()
    site = await make_site([waiting_row("GET", waiting)])
    await send_and_leave(site.url, "GET", waiting.entered)
    assert await asyncio.wait_for(waiting.ended, 60) == "cancelled"


async def test_post_that_may_be_given_up_is_cancelled_when_its_client_went_away(make_site: MakeSite) -> None:
    waiting = Waiting()
    site = await make_site([replace(waiting_row("POST", waiting), may_be_given_up=True)])
    await send_and_leave(site.url, "POST", waiting.entered)
    assert await asyncio.wait_for(waiting.ended, 60) == "cancelled"


async def test_long_polls_are_answered_when_the_server_stops(make_site: MakeSite) -> None:
    entered = asyncio.Event()
    site: Any = None

    async def poll(_: Request) -> dict[str, bool]:
        entered.set()
        await site.server.stopping.wait()
        return {"stopping": True}

    site = await make_site([row("GET", "/wait", poll)])
    answer = asyncio.ensure_future(site.ask("GET", C + "/wait"))
    await entered.wait()
    async with asyncio.timeout(30):
        await site.server.stop()
        assert (await answer)[1] == {"stopping": True}


async def test_stop_does_not_wait_for_idle_connections_or_stuck_requests(make_site: MakeSite) -> None:
    waiting = Waiting()
    site = await make_site([waiting_row("PUT", waiting), row("GET", "/x", hello, id="b")])
    await site.ask("GET", C + "/x")  # leaves a connection that is kept alive
    stuck = asyncio.ensure_future(site.ask("PUT", C + "/wait"))
    await waiting.entered.wait()
    async with asyncio.timeout(30):
        await site.server.stop()
    with pytest.raises(aiohttp.ClientError):
        await stuck


async def test_workers_share_a_port(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/x", hello)])
    from homeserver.web.server import HttpServer

    shared = [Listener(port=0)]
    first = HttpServer(site.dispatcher, shared, site.telemetry, share_ports=True)
    await first.start()
    port = int(first.addresses[0].rsplit(":", 1)[1])
    second = HttpServer(site.dispatcher, [Listener(port=port)], site.telemetry, share_ports=True)
    await second.start()
    await first.stop()
    site.url = second.addresses[0]
    assert (await site.ask("GET", C + "/x"))[0] == 200
    await second.stop()


async def test_connections_are_kept_alive_and_old_http_is_answered(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/x", hello)])
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(2):
        writer.write(f"GET {C}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert await reader.readexactly(17) == b'{"hello":"world"}'
    writer.write(f"GET http://x{C}/x HTTP/1.0\r\n\r\n".encode())
    answer = await reader.read()  # until it is closed
    assert answer.endswith(b'{"hello":"world"}')
    assert b"Connection: close" in answer
    writer.close()
    await writer.wait_closed()


async def test_nonsense_on_the_wire_is_answered_with_400(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/x", hello)])
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 not http\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.0 400")
    writer.close()
    await writer.wait_closed()
