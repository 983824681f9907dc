"""What every test may ask for: the run's real PostgreSQL and Redis, and a fresh database on either engine."""

import asyncio
import itertools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest

from tests.servers import postgres, run

ENGINES = ("sqlite", "postgresql")
_numbers = itertools.count()
# URLs of databases that tests of this process had, and that have nothing in them again.
_emptied: list[str] = []

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
            make_tables(url)
            postgres.run_sql(url, postgres.EMPTYING)
            note.touch()
    return name


@pytest.fixture(scope="session")
def sqlite_template() -> Path:
    """A database file that has the tables and nothing in them: made once a run, copied for each test."""
    with run.exclusive("sqlite_template") as note:
        path = note.with_suffix(".db")
        if not note.exists():
            make_tables(f"sqlite:///{path}")
            note.touch()
    return path


def make_tables(url: str) -> None:
    """Give the database its tables, in a loop of its own: this may be called beneath a running one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, bring_up_to_date(url)).result()


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
    """Call it for the URL of a fresh PostgreSQL database, as often as needed; after the test all are emptied for the
    tests to come, or dropped if the test had them `empty`."""
    used: list[str] = []
    dropped: list[str] = []

    def make(*, empty: bool = False) -> str:
        if not empty and _emptied:
            used.append(_emptied.pop())
            return used[-1]
        name = f"test_{os.getpid()}_{next(_numbers)}"
        if empty:
            dropped.append(name)
            return postgres.create_database(postgres_url, name)
        used.append(postgres.create_database(postgres_url, name, request.getfixturevalue("postgres_template")))
        return used[-1]

    yield make
    for name in dropped:
        postgres.drop_database(postgres_url, name)
    for url in used:
        postgres.empty_database(url)
        _emptied.append(url)


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """URL of a SQLite database without data, in the test's own folder."""
    shutil.copyfile(sqlite_template, tmp_path / "hearth.db")
    return f"sqlite:///{tmp_path / 'hearth.db'}"


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a fresh database without data, for `Database.open`: the test runs once on each engine."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("make_database")()


@pytest.fixture(params=ENGINES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without even tables, on each engine: for tests of migrations."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("make_database")(empty=True)
