"""Fixtures of tests that run real server processes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.servers.client import Client
from tests.servers.homeserver import START_HEARTH, Certificates, Homeserver


class StartServer(Protocol):
    """Starts a server in a folder of its own; it is ended after the test."""

    async def __call__(self, name: str, start: Path = START_HEARTH, **environment: str) -> Homeserver: ...


class NewUser(Protocol):
    """Registers a user; its client is closed after the test."""

    async def __call__(self, server: Homeserver, localpart: str) -> Client: ...


class NewDevice(Protocol):
    """Logs an existing user in once more."""

    async def __call__(self, server: Homeserver, user_id: str) -> Client: ...


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and a certificate of localhost."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def start_server(tmp_path: Path, certificates: Certificates) -> AsyncIterator[StartServer]:
    """Starts servers."""
    servers: list[Homeserver] = []

    async def start(name: str, start: Path = START_HEARTH, **environment: str) -> Homeserver:
        server = await Homeserver.started(tmp_path / name, certificates, start, **environment)
        servers.append(server)
        return server

    yield start
    await asyncio.gather(*(server.kill() for server in servers))


@pytest.fixture
async def clients() -> AsyncIterator[list[Client]]:
    """Clients to close after the test."""
    opened: list[Client] = []
    yield opened
    for client in opened:
        await client.close()


@pytest.fixture
async def new_user(clients: list[Client]) -> NewUser:
    """Registers users."""

    async def register(server: Homeserver, localpart: str) -> Client:
        client = await Client.registered(server.url, localpart)
        clients.append(client)
        return client

    return register


@pytest.fixture
async def new_device(clients: list[Client]) -> NewDevice:
    """Logs users in again."""

    async def log_in(server: Homeserver, user_id: str) -> Client:
        client = await Client.logged_in(server.url, user_id)
        clients.append(client)
        return client

    return log_in
