"""Sessions: who a token stands for, from memory where that is sound."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from homeserver.config.account_sections import Sessions as SessionsConfig
from homeserver.errors import Forbidden, UnknownToken
from homeserver.runtime.bus import Bus
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.appservices import Appservices, read_registration
from homeserver.services.logins import DeviceWish, Login, Logins, NoDeviceListUpdates
from homeserver.services.sessions import Sessions, sessions_changed
from storage import devices, users
from storage.database import Database
from tests.client_api.account_site import BRIDGE, SERVER_NAME

ALICE = "@alice:hearth.test"


@dataclass
class World:
    database: Database
    clock: FrozenClock
    tasks: Tasks
    sessions: Sessions
    logins: Logins

    async def log_in(self, user_id: str = ALICE, **wish: object) -> Login:
        return await self.logins.log_in(user_id, DeviceWish(**wish))  # type: ignore[arg-type]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    database = await Database.open(database_url)
    clock, tasks = FrozenClock(), Tasks()
    bridges = Appservices([read_registration(BRIDGE, SERVER_NAME)])
    logins = Logins(database, clock, SeededRandomness(), NoDeviceListUpdates(), SessionsConfig())
    await database.write(lambda tx: users.create(tx, ALICE, 0))
    yield World(database, clock, tasks, Sessions(database, clock, tasks, bridges, size=3), logins)
    await tasks.close()
    await database.close()


async def test_session_is_remembered_once_looked_up(world: World) -> None:
    token = (await world.log_in(device_id="PHONE")).access_token
    assert world.sessions.cached(token) is None
    requester = await world.sessions.requester_for(token)
    assert (requester.user_id, requester.device_id, requester.is_guest) == (ALICE, "PHONE", False)
    assert world.sessions.cached(token) is requester


async def test_session_is_looked_at_again_after_a_minute(world: World) -> None:
    token = (await world.log_in()).access_token
    await world.sessions.requester_for(token)
    world.clock.advance(61)
    assert world.sessions.cached(token) is None
    requester = await world.sessions.requester_for(token)
    assert world.sessions.cached(token) is requester


async def test_session_is_not_remembered_beyond_its_end(world: World) -> None:
    login = await world.log_in(refreshable=True)
    world.clock.advance(3570)
    await world.sessions.requester_for(login.access_token)
    world.clock.advance(30)
    assert world.sessions.cached(login.access_token) is None
    with pytest.raises(UnknownToken) as refusal:
        await world.sessions.requester_for(login.access_token)
    assert refusal.value.extra == {"soft_logout": True}


async def test_logout_is_effective_at_once(world: World) -> None:
    token = (await world.log_in()).access_token
    requester = await world.sessions.requester_for(token)
    await world.logins.log_out(requester)
    assert world.sessions.cached(token) is None
    with pytest.raises(UnknownToken):
        await world.sessions.requester_for(token)


async def test_least_used_sessions_are_forgotten_first(world: World) -> None:
    tokens = [(await world.log_in()).access_token for _ in range(5)]
    for token in tokens:
        await world.sessions.requester_for(token)
    assert [world.sessions.cached(token) is not None for token in tokens] == [False, False, True, True, True]


async def test_other_processes_forget_what_changed(database_url: str) -> None:
    bus, clock, tasks = Bus(), FrozenClock(), Tasks()
    one = await Database.open(database_url, bus=bus)
    other = await Database.open(database_url, bus=bus)
    nobody = Appservices()
    logins = Logins(one, clock, SeededRandomness(), NoDeviceListUpdates(), SessionsConfig())
    await one.write(lambda tx: users.create(tx, ALICE, 0))
    elsewhere = Sessions(other, clock, tasks, nobody)
    token = (await logins.log_in(ALICE, DeviceWish())).access_token
    requester = await elsewhere.requester_for(token)
    await logins.log_out(requester)
    assert elsewhere.cached(token) is None
    await tasks.close()
    await one.close()
    await other.close()


async def test_change_during_the_look_up_is_not_missed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage import tokens

    token = (await world.log_in()).access_token
    real = tokens.session_of

    async def then_change(tx: object, hashed: bytes) -> object:
        found = await real(tx, hashed)  # type: ignore[arg-type]

        async def change(write: object) -> None:
            sessions_changed(write, ALICE)  # type: ignore[arg-type]

        await world.database.write(change)
        return found

    monkeypatch.setattr(tokens, "session_of", then_change)
    await world.sessions.requester_for(token)
    assert world.sessions.cached(token) is None


async def test_last_seen_is_written_in_one_go(world: World) -> None:
    login = await world.log_in(device_id="PHONE")
    world.clock.advance(50)
    await world.sessions.requester_for(login.access_token, ip="10.0.0.1", user_agent="nio")
    assert world.sessions.seen_of(ALICE, "PHONE") == (world.clock.now_ms(), "10.0.0.1", "nio")
    await world.sessions.note_seen()
    assert world.sessions.seen_of(ALICE, "PHONE") is None
    async with world.database.read() as tx:
        row = await devices.device_of(tx, ALICE, "PHONE")
    assert row is not None
    assert (row.last_seen_at, row.last_seen_ip) == (world.clock.now_ms(), "10.0.0.1")


async def test_appservice_acts_as_itself_and_as_its_ghosts(world: World) -> None:
    await world.database.write(lambda tx: users.create(tx, "@ghost_1:hearth.test", 0, appservice_id="bridge"))
    token = "as_token_of_the_bridge"
    own = await world.sessions.requester_for(token)
    assert (own.user_id, own.rate_limited) == ("@bridgebot:hearth.test", False)
    assert own.appservice is not None
    ghost = await world.sessions.requester_for(token, "@ghost_1:hearth.test")
    assert ghost.user_id == "@ghost_1:hearth.test"
    with pytest.raises(Forbidden):
        await world.sessions.requester_for(token, ALICE)


async def test_masquerade_means_nothing_with_a_users_token(world: World) -> None:
    token = (await world.log_in()).access_token
    assert (await world.sessions.requester_for(token, "@root:hearth.test")).user_id == ALICE


async def test_ghost_with_a_token_of_its_own_is_limited_as_its_appservice(world: World) -> None:
    ghost = "@ghost_1:hearth.test"
    await world.database.write(lambda tx: users.create(tx, ghost, 0, appservice_id="bridge"))
    token = (await world.log_in(ghost)).access_token
    requester = await world.sessions.requester_for(token)
    assert (requester.appservice, requester.rate_limited) == (None, False)
