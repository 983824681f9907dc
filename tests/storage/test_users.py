"""Accounts, devices, tokens and profiles as rows."""

import pytest

from storage import devices, profiles, tokens, uia_sessions, users
from storage.database import Database, Write
from storage.uia_sessions import UiaSession
from storage.users import UserExists

ALICE = "@alice:hearth.test"


async def test_account_is_made_once(database: Database) -> None:
    await database.write(lambda tx: users.create(tx, ALICE, 5, is_admin=True))
    with pytest.raises(UserExists):
        await database.write(lambda tx: users.create(tx, ALICE, 6))
    async with database.read() as tx:
        user = await users.user_of(tx, ALICE)
        assert user is not None
        assert (user.created_at, user.is_admin, user.deactivated) == (5, True, False)
        assert await users.existing(tx, [ALICE, "@bob:hearth.test"]) == {ALICE}
        assert await users.count(tx) == 1


async def test_closed_account_has_no_password_any_more(database: Database) -> None:
    await database.write(lambda tx: users.create(tx, ALICE, 5, password_hash="h"))
    assert await database.write(lambda tx: users.deactivate(tx, ALICE, erase=True))
    assert not await database.write(lambda tx: users.deactivate(tx, ALICE, erase=False))
    assert not await database.write(lambda tx: users.set_password(tx, ALICE, "h2"))
    async with database.read() as tx:
        user = await users.user_of(tx, ALICE)
    assert user is not None
    assert (user.password_hash, user.erased) == (None, True)


async def test_removing_devices_leaves_the_others(database: Database) -> None:
    async def make(tx: Write) -> None:
        for device_id in ("A", "B", "C"):
            devices.put(tx, ALICE, device_id, device_id.lower(), 1, "", "")

    await database.write(make)
    assert await database.write(lambda tx: devices.remove_all_but(tx, ALICE, "B")) == ["A", "C"]
    async with database.read() as tx:
        assert await devices.ids_of_users(tx, [ALICE, "@bob:hearth.test"]) == {ALICE: {"B"}}
        assert await devices.display_names(tx, ALICE) == {"B": "b"}


async def test_login_token_is_used_once(database: Database) -> None:
    async def put(tx: Write) -> None:
        tokens.put_login_token(tx, b"one", ALICE, 100)
        tokens.put_login_token(tx, b"late", ALICE, 10)

    await database.write(put)
    assert await database.write(lambda tx: tokens.take_login_token(tx, b"one", 50)) == ALICE
    assert await database.write(lambda tx: tokens.take_login_token(tx, b"one", 50)) is None
    assert await database.write(lambda tx: tokens.take_login_token(tx, b"late", 50)) is None


async def test_expired_tokens_are_forgotten(database: Database) -> None:
    async def put(tx: Write) -> None:
        await users.create(tx, ALICE, 0)
        tokens.put_openid_token(tx, b"o", ALICE, 100)
        await tokens.put_access_token(tx, b"a", ALICE, None, 0, expires_at=100)
        await tokens.put_access_token(tx, b"b", ALICE, None, 0)

    await database.write(put)
    async with database.read() as tx:
        assert await tokens.user_of_openid_token(tx, b"o", 99) == ALICE
        assert await tokens.user_of_openid_token(tx, b"o", 100) is None
    await database.write(lambda tx: tokens.remove_expired(tx, 200, access_before=150))
    async with database.read() as tx:
        assert await tokens.session_of(tx, b"a") is None
        assert await tokens.session_of(tx, b"b") is not None


async def test_registration_token_counts_its_uses(database: Database) -> None:
    await database.write(lambda tx: uia_sessions.put_registration_token(tx, "t", uses_allowed=2, expires_at=100))
    assert await database.write(lambda tx: uia_sessions.reserve(tx, "t", 0))
    assert await database.write(lambda tx: uia_sessions.reserve(tx, "t", 0))
    assert not await database.write(lambda tx: uia_sessions.reserve(tx, "t", 0))
    await database.write(lambda tx: uia_sessions.release(tx, "t", used=True))
    await database.write(lambda tx: uia_sessions.release(tx, "t", used=False))
    async with database.read() as tx:
        assert await uia_sessions.is_usable(tx, "t", 99)
        assert not await uia_sessions.is_usable(tx, "t", 100)


async def test_authentication_session_is_taken_once(database: Database) -> None:
    session = UiaSession("s", "register", b"", {"m.login.dummy": True}, 5)

    async def put(tx: Write) -> None:
        uia_sessions.put(tx, session)

    await database.write(put)
    async with database.read() as tx:
        assert await uia_sessions.session_of(tx, "s") == session
    assert await database.write(lambda tx: uia_sessions.take_expired(tx, 5)) == []
    assert await database.write(lambda tx: uia_sessions.take_expired(tx, 6)) == [session]
    assert not await database.write(lambda tx: uia_sessions.take(tx, "s"))


async def test_profile_fields(database: Database) -> None:
    async def change(tx: Write) -> None:
        profiles.put(tx, ALICE, "displayname", "Alice")
        await profiles.put_now(tx, ALICE, "org.example.n", {"a": [1, None]})

    await database.write(change)
    await database.write(lambda tx: profiles.put_now(tx, ALICE, "org.example.n", 2))
    async with database.read() as tx:
        assert await profiles.profile_of(tx, ALICE) == {"displayname": "Alice", "org.example.n": 2}
        assert await profiles.profiles_of(tx, [ALICE, "@b:c"]) == {ALICE: {"displayname": "Alice", "org.example.n": 2}}
