"""An open database, on either engine."""

from collections.abc import AsyncIterator

import pytest_asyncio

from storage.database import Database


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database with its tables, closed after the test."""
    opened = await Database.open(database_url, readers=2)
    yield opened
    await opened.close()
