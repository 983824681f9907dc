"""One set of servers for a whole test run, shared by every pytest worker of it, started when first asked for."""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER_VARIABLE = "HEARTH_TEST_SERVERS"
OWNER_VARIABLE = "HEARTH_TEST_SERVERS_OWNER"
START_SECONDS = 90
STOP_SECONDS = 15
PROJECT = Path(__file__).resolve().parents[2]


def begin() -> None:
    """Choose the run's folder. To be called by the process that owns the run, before it starts workers."""
    os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="hearth-tests-")
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    os.chmod(os.environ[FOLDER_VARIABLE], 0o755)  # PostgreSQL's account must pass through


def end() -> None:
    """Stop every server of the run and remove its folder. A no-op in workers."""
    if os.environ.get(OWNER_VARIABLE) != str(os.getpid()):
        return
    for note in folder().glob("*.pid"):
        stop_keeper(int(note.read_text()))
    shutil.rmtree(folder(), ignore_errors=True)


def folder() -> Path:
    """The run's own folder."""
    return Path(os.environ[FOLDER_VARIABLE])


@contextmanager
def exclusive(name: str) -> Iterator[Path]:
    """Hold the lock `name` among all workers of the run. Yields a path for a note to those who come later."""
    with (folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder() / f"{name}.note"


def url_of(kind: str) -> str:
    """The URL of the run's server of this kind ("postgres" or "redis"), which is started if it does not run yet."""
    address = folder() / f"{kind}.url"
    with exclusive(kind):
        if not address.exists():
            start_keeper(kind, address)
    return address.read_text()


def start_keeper(kind: str, address: Path) -> None:
    """Start the keeper of a server and wait for the server's address."""
    errors = folder() / f"{kind}.errors"
    with errors.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.keeper", kind, folder(), os.environ[OWNER_VARIABLE]],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=PROJECT,
        )  # fmt: skip
    (folder() / f"{kind}.pid").write_text(str(keeper.pid))
    deadline = time.monotonic() + START_SECONDS
    while not address.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{kind} did not start:\n{errors.read_text()}")
        time.sleep(0.02)
    keeper.returncode = 0  # it outlives this worker, and Popen must not complain about that


def stop_keeper(pid: int) -> None:
    """Tell a keeper to stop its server, and wait until it has."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    signal.pidfd_send_signal(process, signal.SIGTERM)
    select.select([process], [], [], STOP_SECONDS)
    os.close(process)
    with suppress(ChildProcessError):  # a worker's child rather than ours
        os.waitpid(pid, os.WNOHANG)
