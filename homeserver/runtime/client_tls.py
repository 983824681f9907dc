"""TLS of requests to the outside: reading the machine's certificate authorities takes a while, so it is done once."""

import ssl
import sys
from functools import cache
from typing import Any


@cache
def system_tls() -> ssl.SSLContext:
    """The machine's certificate authorities. Not to be changed."""
    return ssl.create_default_context()


def import_aiohttp() -> None:
    """Import aiohttp without what it does then: it reads the authorities for clients that name no context of their own,
    a twelfth of what starting takes. All of ours name one (a test sees to it); one that does not trusts nobody."""
    if "aiohttp" in sys.modules:
        return
    usual = ssl.create_default_context
    ssl.create_default_context = _trusting_nobody
    try:
        import aiohttp  # noqa: F401 (for what follows)
    finally:
        ssl.create_default_context = usual


def _trusting_nobody(*_: Any, **__: Any) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
