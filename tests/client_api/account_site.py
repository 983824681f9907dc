"""A server with accounts over real HTTP, on SQLite, with the rows of the endpoint table that need no rooms."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from client_api.account import AccountHandlers
from client_api.appservices import AppserviceHandlers
from client_api.devices import DeviceHandlers
from client_api.endpoints import ACCOUNTS
from client_api.login import LoginHandlers
from client_api.profiles import ProfileHandlers
from client_api.server_info import ServerInfoHandlers
from homeserver.config import Config
from homeserver.config.account_sections import Passwords as PasswordsConfig
from homeserver.config.account_sections import RateLimits, Registration
from homeserver.config.account_sections import Sessions as SessionsConfig
from homeserver.config.server_sections import Limits, Listener, Server
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.http_client import HttpClient
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.runtime.telemetry import Telemetry
from homeserver.services import (
    accounts,
    appservices,
    devices,
    logins,
    openid,
    password_login,
    passwords,
    profiles,
    registration,
    sessions,
    shared_secret_registration,
    uia,
)
from homeserver.services.appservice_ping import AppservicePing
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.server import HttpServer
from storage.database import Database

PASSWORD = "correct horse"
SERVER_NAME = "hearth.test"
CHEAP = PasswordsConfig(memory_kib=8, iterations=1)
SECRET = "shared"

BRIDGE = """
id: bridge
url: null
as_token: as_token_of_the_bridge
hs_token: hs_token
sender_localpart: bridgebot
rate_limited: false
namespaces:
  users:
    - {exclusive: true, regex: "@ghost_.*:hearth.test"}
  aliases: []
  rooms: []
"""


@dataclass
class FakeMemberUpdates:
    changed: list[str] = field(default_factory=list)

    async def profile_changed(self, user_id: str) -> None:
        self.changed.append(user_id)


@dataclass
class FakeRemoteProfiles:
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def query(self, user_id: str, field_name: str | None) -> dict[str, Any]:
        found = self.profiles.get(user_id, {})
        return found if field_name is None else {name: found[name] for name in (field_name,) if name in found}


@dataclass
class FakeDepartures:
    left: list[str] = field(default_factory=list)

    async def leave_all(self, user_id: str) -> None:
        self.left.append(user_id)


@dataclass
class AccountSite:
    """A running server, its parts, and a client."""

    database: Database
    clock: FrozenClock
    tasks: Tasks
    sessions: sessions.Sessions
    accounts: accounts.Accounts
    uia: uia.InteractiveAuth
    logins: logins.Logins
    profiles: profiles.Profiles
    member_updates: FakeMemberUpdates
    remote_profiles: FakeRemoteProfiles
    departures: FakeDepartures
    client: aiohttp.ClientSession
    url: str

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON body; `path` is below /_matrix/client unless it begins with a slash."""
        url = self.url + (path if path.startswith("/") else f"/_matrix/client/{path}")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.client.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def good(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> dict[str, Any]:
        """The body of an answer that must be a success."""
        status, answer = await self.ask(method, path, body, token=token)
        assert status == 200, answer
        return answer

    async def refused(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, str]:
        """Status and errcode of an answer that must be a refusal."""
        status, answer = await self.ask(method, path, body, token=token)
        assert status >= 400, answer
        return status, answer["errcode"]

    async def register(self, username: str = "alice", **more: Any) -> dict[str, Any]:
        """A new person, logged in."""
        body = {"username": username, "password": PASSWORD, "auth": {"type": "m.login.dummy"}, **more}
        return await self.good("POST", "v3/register", body)

    async def login(self, username: str = "alice", **more: Any) -> dict[str, Any]:
        return await self.good("POST", "v3/login", credentials(username) | {"type": "m.login.password"} | more)

    async def register_admin(self, username: str = "admin") -> dict[str, Any]:
        nonce = (await self.good("GET", "/_synapse/admin/v1/register"))["nonce"]
        mac = mac_of([nonce, username, PASSWORD, "admin"])
        body = {"nonce": nonce, "username": username, "password": PASSWORD, "admin": True, "mac": mac}
        return await self.good("POST", "/_synapse/admin/v1/register", body)


def credentials(username: str = "alice", password: str = PASSWORD) -> dict[str, Any]:
    """What proves a user."""
    return {"identifier": {"type": "m.id.user", "user": username}, "password": password}


def password_stage(username: str = "alice", session: str | None = None, password: str = PASSWORD) -> dict[str, Any]:
    """The `auth` of a request that is authenticated by password."""
    auth = {"type": "m.login.password", **credentials(username, password)}
    return auth if session is None else auth | {"session": session}


def mac_of(parts: Sequence[str]) -> str:
    """The HMAC of a registration with the shared secret."""
    return hmac.new(SECRET.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()


@asynccontextmanager
async def account_site(
    folder: Path,
    *,
    registration_config: Registration | None = None,
    sessions_config: SessionsConfig | None = None,
    rate_limits: RateLimits | None = None,
) -> AsyncIterator[AccountSite]:
    """Serve until the end of the block."""
    rules = registration_config or Registration(
        enabled=True, requires_token=False, shared_secret=SECRET, allow_guests=True
    )
    lifetimes = sessions_config or SessionsConfig()
    config = Config(server=Server(name=SERVER_NAME, public_base_url="http://hearth.test/"), registration=rules)
    clock, randomness, tasks = FrozenClock(), SeededRandomness(), Tasks()
    telemetry = Telemetry(clock)
    limiter = RateLimiter(rate_limits or RateLimits(enabled=False), clock)
    database = await Database.open(f"sqlite:///{folder / 'hearth.db'}")
    bridges = appservices.Appservices([appservices.read_registration(BRIDGE, SERVER_NAME)])
    lists = logins.NoDeviceListUpdates()
    hashes = passwords.Passwords(CHEAP)
    who = sessions.Sessions(database, clock, tasks, bridges)
    login_service = logins.Logins(database, clock, randomness, lists, lifetimes)
    departures = FakeDepartures()
    account_service = accounts.Accounts(
        database, clock, randomness, hashes, login_service, bridges, SERVER_NAME, departures=departures
    )
    proof = password_login.PasswordLogin(
        database, hashes, SERVER_NAME, limit=lambda key: limiter.check("login", f"account:{key}")
    )
    interactive = uia.InteractiveAuth(database, clock, randomness, proof, lifetime_s=lifetimes.uia_lifetime)
    register = registration.Registration(account_service, interactive, rules, SERVER_NAME)
    by_secret = shared_secret_registration.SharedSecretRegistration(
        account_service, clock, randomness, rules, SERVER_NAME
    )
    member_updates, remote = FakeMemberUpdates(), FakeRemoteProfiles()
    profile_service = profiles.Profiles(
        database, tasks, bridges, SERVER_NAME, member_updates=member_updates, remote=remote
    )
    handlers = [
        LoginHandlers(account_service, register, by_secret, login_service, proof, interactive, bridges, lifetimes),
        AccountHandlers(account_service, interactive, openid.OpenId(database, clock, randomness, SERVER_NAME)),
        DeviceHandlers(devices.Devices(database, clock, who, login_service, lists), interactive),
        ProfileHandlers(profile_service),
        ServerInfoHandlers(config, clock),
        AppserviceHandlers(AppservicePing(HttpClient(), clock), None, None),  # type: ignore[arg-type]
    ]
    dispatcher = Dispatcher(ACCOUNTS, handlers, who, _no_federation, limiter, telemetry, limits=Limits())
    server = HttpServer(dispatcher, [Listener(port=0, kinds=("client",))], telemetry, limits=Limits(stop_grace=0.2))
    await server.start()
    client = aiohttp.ClientSession()
    try:
        yield AccountSite(
            database,
            clock,
            tasks,
            who,
            account_service,
            interactive,
            login_service,
            profile_service,
            member_updates,
            remote,
            departures,
            client,
            server.addresses[0],
        )
    finally:
        await client.close()
        await server.stop()
        await tasks.close()
        hashes.close()
        await database.close()


async def _no_federation(method: str, uri: str, headers: Any, body: Any) -> str:
    raise AssertionError("no federation here")
