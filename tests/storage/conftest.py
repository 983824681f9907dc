"""A database that is open, on either engine."""

from collections.abc import AsyncIterator

import pytest

from storage.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database without data; the test runs once on each engine."""
    opened = await Database.open(database_url)
    yield opened
    await opened.close()
