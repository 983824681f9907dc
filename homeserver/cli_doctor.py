"""`hearth doctor`: tries everything that the server will need, and says for each whether it is there."""

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Iterator

from homeserver.cli_run import places
from homeserver.config import Config

Finding = tuple[bool, str]


def doctor(config: Config) -> int:
    """Print the findings; the exit status is 1 where something is wrong."""
    healthy = True
    for check in (_key, _folders, _listeners, _broker, _names):
        for good, text in check(config):
            print(f"{'ok  ' if good else 'BAD '} {text}")
            healthy &= good
    return 0 if healthy else 1


def _key(config: Config) -> Iterator[Finding]:
    path = config.server.signing_key
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        with open(path, encoding="ascii") as file:
            from signedjson.key import read_signing_keys

            keys = read_signing_keys(file.readlines())
    except (OSError, ValueError) as error:
        yield False, f"signing key {path}: {error}; `hearth init` makes one"
        return
    names = ", ".join(f"{key.alg}:{key.version}" for key in keys)
    yield bool(keys), f"signing key {path}: {names or 'the file is empty'}"
    yield mode & 0o077 == 0, f"signing key {path}: permissions {mode:o}, 600 is right"


def _folders(config: Config) -> Iterator[Finding]:
    for path in (config.server.data_dir, config.media.path):
        yield (
            os.access(path, os.W_OK | os.X_OK),
            f"folder {path}: {'writable' if os.access(path, os.W_OK) else 'not writable'}",
        )


def _listeners(config: Config) -> Iterator[Finding]:
    for listener in config.listeners:
        if listener.port is None:
            continue
        for host, place in zip(listener.bind, places(listener), strict=True):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, listener.port))
                except OSError as error:
                    yield False, f"{place}: {error.strerror} (is the server running already?)"
                else:
                    yield True, f"{place}: free"


def _broker(config: Config) -> Iterator[Finding]:
    if config.redis.url is None:
        return
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    async def ping(url: str) -> None:
        async with Redis.from_url(url, socket_connect_timeout=3) as redis:
            await redis.ping()

    yield _tried("Redis", lambda: asyncio.run(ping(config.redis.url or "")), (RedisError, OSError))


def _names(config: Config) -> Iterator[Finding]:
    host = config.server.name.partition(":")[0]
    if not config.federation.enabled or host == "localhost":
        return
    yield _tried(f"DNS of {host}", lambda: socket.getaddrinfo(host, None), (OSError,))


def _tried(what: str, action: Callable[[], object], failures: tuple[type[BaseException], ...]) -> Finding:
    try:
        action()
    except failures as error:
        return False, f"{what}: {error}"
    return True, f"{what}: answers"
