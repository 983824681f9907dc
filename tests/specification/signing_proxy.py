"""Signs requests as another server would, so that whoever makes them up need not know how."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from signedjson.key import read_signing_keys
from yarl import URL

from federation.outbound.request_signing import authorization
from homeserver.core.canonical_json import CanonicalJSONError, decode, encode_lenient
from tests.servers.homeserver import Homeserver


@asynccontextmanager
async def signing_proxy(target: Homeserver, peer: Homeserver) -> AsyncIterator[str]:
    """The URL of `target` as `peer` reaches it. What has a body that cannot be signed is handed on unsigned."""
    with (peer.folder / "data/signing.key").open() as stream:
        key = read_signing_keys(stream)[0]
    async with aiohttp.ClientSession(auto_decompress=False) as http:

        async def hand_on(request: web.BaseRequest) -> web.StreamResponse:
            body = await request.read() or None
            headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
            try:
                signed = body if body is None else encode_lenient(decode(body))
                headers["Authorization"] = authorization(
                    request.method, request.raw_path, peer.name, target.name, signed, key
                )
            except CanonicalJSONError:
                pass
            url = URL(target.url + request.raw_path, encoded=True)
            async with http.request(request.method, url, data=body, headers=headers, allow_redirects=False) as answer:
                kept = {name: answer.headers[name] for name in ("Content-Type", "Location") if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        runner = web.ServerRunner(web.Server(hand_on))
        await runner.setup()
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
