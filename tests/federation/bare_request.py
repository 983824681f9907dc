"""Requests as the dispatcher takes them, without a connection beneath them."""

import asyncio
from collections.abc import Mapping
from typing import Any
from unittest import mock

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11
from aiohttp.web import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

# What a test does not look at, made once: a mock takes longer than to answer the request.
_TRANSPORT = mock.Mock()
_TRANSPORT.get_extra_info.return_value = None
_PROTOCOL = mock.Mock(transport=_TRANSPORT, peername=None, sockname=None, ssl_context=None)
_WRITER, _TASK = mock.Mock(transport=_TRANSPORT), mock.Mock()


def bare_request(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> BaseRequest:
    """A whole request that has arrived."""
    loop = asyncio.get_running_loop()
    payload = StreamReader(BaseProtocol(loop), 2**16)
    payload.feed_data(body or b"")
    payload.feed_eof()
    fields = CIMultiDictProxy(CIMultiDict(headers))
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    rest: Any = (False, None, False, False, URL(target, encoded=True))
    message = RawRequestMessage(method, target, HttpVersion11, fields, raw, *rest)
    return BaseRequest(message, payload, _PROTOCOL, _WRITER, _TASK, loop)
