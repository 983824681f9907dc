"""HTTP to what is no Matrix server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from homeserver.runtime.http_client import HttpClient, HttpFailure


async def echo(request: web.Request) -> web.StreamResponse:
    if request.path == "/redirect":
        raise web.HTTPFound("/echo")
    if request.path == "/pieces":
        answer = web.StreamResponse()
        await answer.prepare(request)
        for piece in (b"one ", b"two ", b"three"):
            await answer.write(piece)
            await asyncio.sleep(0)
        return answer
    return web.Response(text=f"{request.headers.get('Authorization')} {await request.text()}", status=201)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("PUT", "/{tail:.*}", echo)
    async with TestServer(application) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.close()


async def test_body_and_token_arrive(url: str, client: HttpClient) -> None:
    answer = await client.send("PUT", url + "echo", b"{}", token="t")
    assert (answer.status, answer.body) == (201, b"Bearer t {}")


async def test_answer_is_cut_off_where_it_is_too_long(url: str, client: HttpClient) -> None:
    assert (await client.send("PUT", url + "echo", b"{}", max_bytes=4)).body == b"None"


async def test_answer_that_comes_in_pieces_is_whole(url: str, client: HttpClient) -> None:
    assert (await client.send("PUT", url + "pieces", b"{}")).body == b"one two three"
    assert (await client.send("PUT", url + "pieces", b"{}", max_bytes=6)).body == b"one tw"


async def test_redirects_are_not_followed(url: str, client: HttpClient) -> None:
    assert (await client.send("PUT", url + "redirect", b"{}")).status == 302


@pytest.mark.parametrize("bad", ["http://127.0.0.1:1/", "no url"])
async def test_failure_to_connect_is_told(client: HttpClient, bad: str) -> None:
    with pytest.raises(HttpFailure) as failure:
        await client.send("PUT", bad, b"{}")
    assert not failure.value.is_timeout
