"""Requests that schemathesis makes of the specification, to a running server: no 5xx, no answer outside the schemas."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.servers.client import Client
from tests.servers.fixtures import StartServer, certificates, clients, start_server
from tests.servers.homeserver import PROJECT
from tests.specification.furnished import environment, furnish
from tests.specification.signing_proxy import signing_proxy

__all__ = ["certificates", "clients", "start_server"]
PYTHON = os.environ.get("HEARTH_SCHEMATHESIS_PYTHON")
ENGINE = os.environ.get("HEARTH_ENGINE", "postgresql")


@pytest.mark.timeout(600)
async def test_no_generated_request_is_answered_otherwise_than_specified(
    start_server: StartServer, make_database: MakeDatabase, clients: list[Client], tmp_path: Path
) -> None:
    assert PYTHON, "HEARTH_SCHEMATHESIS_PYTHON names a Python with what requirements.txt lists: `make conformance`"
    database = make_database() if ENGINE == "postgresql" else "sqlite"
    server = await start_server("generated", HS_DB=database, **environment(tmp_path / "registrations"))
    peer = await start_server("peer")
    found = await furnish(server, peer, clients)
    async with signing_proxy(server, peer) as proxy:
        known = {
            "urls": {"client-server": server.url, "server-server": proxy},
            "tokens": found.tokens, "passwords": found.passwords, "values": found.values,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            PYTHON, "-m", "tests.specification.generated_requests",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )  # fmt: skip
        try:
            printed, _ = await process.communicate(json.dumps(known).encode())
        finally:
            if process.returncode is None:
                process.kill()
    print(printed.decode())
    assert process.returncode == 0, printed.decode()
    assert "Traceback" not in server.log, server.log[-6000:]
