"""What every test may ask for: the run's real PostgreSQL and Redis, and an empty database on either engine."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import postgres, run

ENGINES = ("sqlite", "postgresql")
MakeDatabase = Callable[[], str]
_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        run.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        run.end()


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL (`postgresql://…`) of the run's PostgreSQL: its `postgres` database, for a superuser. One server per run."""
    return run.url_of("postgres")


@pytest.fixture(scope="session")
def redis_url() -> str:
    """URL (`redis://…`) of the run's Redis, shared by all workers: use keys or channels of your own."""
    return run.url_of("redis")


@pytest.fixture
def make_database(postgres_url: str) -> Iterator[MakeDatabase]:
    """Call it for the URL of a fresh, empty PostgreSQL database; all of them are dropped after the test."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        made.append(name)
        return postgres.create_database(postgres_url, name)

    yield make
    for name in made:
        postgres.drop_database(postgres_url, name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite database that does not exist yet, in the test's own folder."""
    return f"sqlite:///{tmp_path / 'hearth.db'}"


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a fresh, empty database: the test runs once on each engine."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("make_database")()
