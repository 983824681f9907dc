"""A small process that keeps one server alive for a test run.

`python -m tests.servers.keeper <kind> <folder> <watched pid>` starts the server, writes its URL to
`<folder>/<kind>.url`, and waits. When it is told to stop, or the watched process (the pytest that started the run)
is gone for whatever reason, it stops the server and removes what the server left.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.servers import postgres, redis

START: dict[str, Callable[[Path], tuple[subprocess.Popen[bytes], str]]] = {
    "postgres": postgres.start,
    "redis": redis.start,
}
STOP_SIGNAL = {"postgres": signal.SIGINT, "redis": signal.SIGTERM}  # SIGINT: PostgreSQL's fast shutdown
STOP_SECONDS = 10


def keep(kind: str, folder: Path, watched_pid: int) -> None:
    """Start the server of `kind` in `folder` and hold it until the watched process ends or SIGTERM arrives."""
    read_end, write_end = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(write_end, b"x"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: pytest decides when the run is over
    watched = os.pidfd_open(watched_pid)
    home = folder / kind
    home.mkdir()
    server = None
    try:
        server, url = START[kind](home)
        unfinished = folder / f"{kind}.url.new"
        unfinished.write_text(url)
        unfinished.rename(folder / f"{kind}.url")
        select.select([read_end, watched], [], [])
    finally:
        if server is not None:
            stop(server, STOP_SIGNAL[kind])
        shutil.rmtree(home, ignore_errors=True)
        if select.select([watched], [], [], 0)[0]:
            shutil.rmtree(folder, ignore_errors=True)  # nobody is left who would


def stop(server: subprocess.Popen[bytes], how: int) -> None:
    """Ask the server to stop, and end it if it does not."""
    server.send_signal(how)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
