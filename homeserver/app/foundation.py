"""What everything else stands on: time, chance, tasks, the bus, the database, the key that signs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from signedjson.key import read_signing_keys
from signedjson.types import SigningKey

from homeserver.config import Config
from homeserver.runtime import logs
from homeserver.runtime.bus import Bus
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks
from homeserver.runtime.telemetry import Telemetry
from storage.database import Database


@dataclass(frozen=True, slots=True)
class Foundation:
    """The parts that know nothing of Matrix. `process_name` tells this process from others of the same server."""

    config: Config
    clock: Clock
    randomness: Randomness
    tasks: Tasks
    telemetry: Telemetry
    bus: Bus
    database: Database
    signing_key: SigningKey
    process_name: str
    threads: ThreadPoolExecutor

    @property
    def server_name(self) -> str:
        """This server's name."""
        return self.config.server.name

    async def close(self) -> None:
        """End the background work, then finish what is waiting to be written."""
        await self.tasks.close()
        await self.database.close()
        await self.bus.close()
        self.threads.shutdown(wait=False, cancel_futures=True)


async def lay_foundation(config: Config, worker: int | None) -> Foundation:
    """Open the database (which brings its tables up to date) and connect to the other processes where there are any."""
    clock, randomness, tasks = Clock(), Randomness(), Tasks()
    telemetry = Telemetry(clock, worker=worker)
    sink = logs.configure(config.logging.level, config.logging.format, config.logging.levels)
    if config.logging.requests:
        telemetry.log_requests_to(sink, as_json=config.logging.format == "json")
    bus = _bus(config, clock, randomness, tasks)
    await bus.start()
    database = await open_database(config, bus)
    return Foundation(
        config=config,
        clock=clock,
        randomness=randomness,
        tasks=tasks,
        telemetry=telemetry,
        bus=bus,
        database=database,
        signing_key=read_signing_key(config.server.signing_key),
        process_name=f"{worker or 0}-{randomness.token(6)}",
        threads=ThreadPoolExecutor(2, "hearth"),
    )


async def open_database(config: Config, bus: Bus) -> Database:
    """The database that the config names. Others write to it too where there is a broker between processes."""
    readers = config.database.readers if config.is_sqlite else config.database.pool_size - 1
    is_shared = not config.is_sqlite and config.redis.url is not None
    return await Database.open(str(config.database.url), readers=readers, bus=bus, is_shared=is_shared)


def policy_signing_key(config: Config) -> SigningKey | None:
    """The key with which this server signs as a policy server, if it is one. Raises `OSError`."""
    path = config.server.policy_signing_key
    return None if path is None else read_signing_key(path)


def read_signing_key(path: str) -> SigningKey:
    """The key that signs for this server: the first in the file."""
    with Path(path).open(encoding="ascii") as stream:
        return read_signing_keys(stream)[0]


def _bus(config: Config, clock: Clock, randomness: Randomness, tasks: Tasks) -> Bus:
    if config.redis.url is None:
        return Bus()
    from homeserver.runtime.bus_redis import RedisBus

    return RedisBus(str(config.redis.url), prefix=config.redis.prefix, clock=clock, random=randomness, tasks=tasks)
