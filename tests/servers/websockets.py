"""How a WebSocket ended, as its client saw it."""

import asyncio
from typing import NamedTuple

import aiohttp

_PATIENCE_S = 60


class Ending(NamedTuple):
    """`last`: the text that came last before the end, "" where none came; `code` and `reason`: of the close frame."""

    last: str
    code: int | None
    reason: str


async def ending(ws: aiohttp.ClientWebSocketResponse) -> Ending:
    """Read on until the server has closed it.

    The code is taken from the close frame itself: aiohttp's `close_code` turns into 1006 if the server has hung up
    before its goodbye was answered, as it does when this side is slow.
    """
    last = ""
    async with asyncio.timeout(_PATIENCE_S):
        while (message := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
            last = message.data
    if message.type is aiohttp.WSMsgType.CLOSE:
        return Ending(last, message.data, message.extra or "")
    return Ending(last, ws.close_code, "")
