"""What every test may ask for: the run's real PostgreSQL and Redis, and a fresh database on either engine."""

import asyncio
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest

from tests.servers import postgres, run

ENGINES = ("sqlite", "postgresql")
_numbers = itertools.count()

# How long an example takes says more about what else the machine does than about the example.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
# CI judges a change by the same examples each time; what has not been tried yet is looked for by each `make test`.
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("suite"), derandomize=True)


class MakeDatabase(Protocol):
    """Makes a PostgreSQL database of the test's own and returns its URL; `empty` leaves out even the tables."""

    def __call__(self, *, empty: bool = False) -> str: ...


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        run.begin()
    hypothesis.settings.load_profile("ci" if "CI" in os.environ else "suite")


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


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """Name of a database that has the tables and nothing in them: made once a run, copied for each test."""
    name = "with_tables"
    with run.exclusive(name) as note:
        if not note.exists():
            url = postgres.create_database(postgres_url, name)
            with ThreadPoolExecutor(1) as thread:  # a loop of its own: this may be called beneath a running one
                thread.submit(asyncio.run, bring_up_to_date(url)).result()
            note.touch()
    return name


async def bring_up_to_date(url: str) -> None:
    """Give the database its tables."""
    from storage import migrate
    from storage.dialect import Engine

    engine = Engine(url, readers=1)
    try:
        await migrate.bring_up_to_date(engine)
    finally:
        await engine.close()


@pytest.fixture
def make_database(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[MakeDatabase]:
    """Call it for the URL of a fresh PostgreSQL database, as often as needed; all are dropped after the test."""
    made: list[str] = []

    def make(*, empty: bool = False) -> str:
        template = None if empty else request.getfixturevalue("postgres_template")
        name = f"test_{os.getpid()}_{next(_numbers)}"
        made.append(name)
        return postgres.create_database(postgres_url, name, template)

    yield make
    for name in made:
        postgres.drop_database(postgres_url, name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite database that does not exist yet, in the test's own folder."""
    return f"sqlite:///{tmp_path / 'hearth.db'}"


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a fresh database without data, for `Database.open`: the test runs once on each engine."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("make_database")()


@pytest.fixture(params=ENGINES)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """URL of a database without even tables, on each engine: for tests of migrations."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("make_database")(empty=True)
