"""A real client library: the Rust SDK by its Python bindings, as Element X uses it, two users with two devices each."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.servers.fixtures import StartServer

PROJECT = Path(__file__).parent.parent.parent
FLOWS = PROJECT / "tests/clients/matrix-sdk-python/flows.py"
INSTALLED = PROJECT / ".cache/matrix-sdk-python"


def command() -> list[str]:
    """Python, under the newer libc where one had to be put beside the library."""
    python = str(Path(sys.executable).resolve())
    loader = next(INSTALLED.glob("libc/usr/lib*/ld-linux-x86-64.so.2"), None)
    if loader is None:
        return [python]
    libraries = next(INSTALLED.glob("libc/usr/lib/*/libc.so.6")).parent
    return [str(loader), "--library-path", str(libraries), python]


@pytest.mark.timeout(600)
@pytest.mark.skipif(not (INSTALLED / "ready").exists(), reason="the bindings are not there; `make test` says why")
async def test_the_rust_sdk_verifies_backs_up_talks_and_is_notified(start_server: StartServer) -> None:
    server = await start_server("rust")
    environment = {**os.environ, "PYTHONPATH": str(INSTALLED / "site"), "PYTHONWARNINGS": "ignore"}
    process = await asyncio.create_subprocess_exec(
        *command(), FLOWS, server.url, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(500):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()[-6000:]
    assert b"all of it worked" in output
    assert " status=500 " not in server.log
