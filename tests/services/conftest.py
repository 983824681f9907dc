"""Rooms without a network."""

from collections.abc import AsyncIterator

import pytest

from storage.database import Database
from tests.services.spine import Spine


@pytest.fixture
async def spine(sqlite_url: str) -> AsyncIterator[Spine]:
    """The services around rooms over an empty SQLite database."""
    database = await Database.open(sqlite_url, readers=2)
    yield Spine(database)
    await database.close()
