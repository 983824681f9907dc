"""The suite's own servers are real, and a test's database is its own."""

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from tests.conftest import MakeDatabase
from tests.servers import run


async def test_postgresql_is_durable_as_by_default(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        settings = [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
    finally:
        await connection.close()
    assert settings == ["on", "on"]


async def test_each_test_database_is_empty_and_apart(make_database: MakeDatabase) -> None:
    first, second = make_database(empty=True), make_database(empty=True)
    for url in (first, second):
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("CREATE TABLE letters (body text)")
        finally:
            await connection.close()


async def test_redis_answers(redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.ping()


async def test_test_database_has_the_tables_at_once(make_database: MakeDatabase) -> None:
    connection = await asyncpg.connect(make_database())
    try:
        tables = await connection.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    assert tables


def test_servers_end_with_a_run_that_is_killed() -> None:
    begin = "from tests.servers import run; run.begin()"
    program = f"{begin}; print(run.url_of('redis'), run.folder(), flush=True); input()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_TEST_SERVERS")}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=run.PROJECT
    ) as killed:
        assert killed.stdout is not None
        url, folder = killed.stdout.readline().decode().split()
        keeper = os.pidfd_open(int((Path(folder) / "redis.pid").read_text()))
        killed.kill()
    select.select([keeper], [], [], 10)
    os.close(keeper)
    port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not Path(folder).exists()
