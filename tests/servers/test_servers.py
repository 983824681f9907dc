"""The suite's own servers are real, and a test's database is its own."""

import asyncpg
import redis.asyncio

from tests.conftest import MakeDatabase


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
