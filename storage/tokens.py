"""Tokens of every kind. What is stored of one is its SHA-256 hash, so nobody who reads the database can use it."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select, update

from storage.database import Read, Write
from storage.tables import access_tokens, devices, login_tokens, openid_tokens, refresh_tokens, users


@dataclass(frozen=True, slots=True)
class SessionRow:
    """An access token with its user. Times are ms since the epoch; `refresh_token_id` is that of the refresh token
    that was given out together with it."""

    user_id: str
    device_id: str | None
    expires_at: int | None
    refresh_token_id: int | None
    is_admin: bool
    is_guest: bool
    appservice_id: str | None
    deactivated: bool
    locked: bool
    suspended: bool
    last_seen_at: int | None


@dataclass(frozen=True, slots=True)
class RefreshTokenRow:
    """A refresh token. `next_token_id`: the one that was given out for it last."""

    refresh_token_id: int
    user_id: str
    device_id: str
    expires_at: int | None
    next_token_id: int | None


# Looked for at the first request of every session: putting the statement together would cost more than running it.
_SESSION = (
    select(
        access_tokens.c.user_id,
        access_tokens.c.device_id,
        access_tokens.c.expires_at,
        access_tokens.c.refresh_token_id,
        users.c.is_admin,
        users.c.is_guest,
        users.c.appservice_id,
        users.c.deactivated,
        users.c.locked,
        users.c.suspended,
        devices.c.last_seen_at,
    )
    .join(users, users.c.user_id == access_tokens.c.user_id)
    .outerjoin(
        devices,
        (devices.c.user_id == access_tokens.c.user_id) & (devices.c.device_id == access_tokens.c.device_id),
    )
    .where(access_tokens.c.token_hash == bindparam("token_hash"))
)


async def session_of(tx: Read, token_hash: bytes) -> SessionRow | None:
    """Whose access token this is; expired ones are found too."""
    row = await tx.fetch_one(_SESSION.params(token_hash=token_hash))
    return None if row is None else SessionRow(*row)


async def put_access_token(
    tx: Write,
    token_hash: bytes,
    user_id: str,
    device_id: str | None,
    now_ms: int,
    *,
    expires_at: int | None = None,
    refresh_token_id: int | None = None,
) -> None:
    """Keep a new access token. One that comes with a refresh token is seen at once; others are put off."""
    values = {
        "token_hash": token_hash,
        "user_id": user_id,
        "device_id": device_id,
        "created_at": now_ms,
        "expires_at": expires_at,
        "refresh_token_id": refresh_token_id,
    }
    if refresh_token_id is None:
        tx.insert(access_tokens, **values)
    else:
        await tx.execute(access_tokens.insert().values(**values))


async def put_refresh_token(
    tx: Write, token_hash: bytes, refresh_token_id: int, user_id: str, device_id: str, expires_at: int | None
) -> None:
    """Keep a new refresh token, seen at once."""
    values = {
        "token_hash": token_hash,
        "refresh_token_id": refresh_token_id,
        "user_id": user_id,
        "device_id": device_id,
        "expires_at": expires_at,
        "next_token_id": None,
        "used": False,
    }
    await tx.execute(refresh_tokens.insert().values(**values))


async def refresh_token_of(tx: Write, token_hash: bytes) -> RefreshTokenRow | None:
    """The refresh token, locked until the commit where several processes write."""
    table = refresh_tokens.c
    statement = select(
        table.refresh_token_id, table.user_id, table.device_id, table.expires_at, table.next_token_id
    ).where(table.token_hash == token_hash)
    row = await tx.fetch_one(statement.with_for_update())
    return None if row is None else RefreshTokenRow(*row)


async def set_next(tx: Write, refresh_token_id: int, next_token_id: int) -> None:
    """Note which token replaces a refresh token once it is used."""
    table = refresh_tokens
    await tx.execute(
        update(table).where(table.c.refresh_token_id == refresh_token_id).values(next_token_id=next_token_id)
    )


async def has_predecessor(tx: Read, refresh_token_id: int) -> bool:
    """Whether the refresh token that this one replaces still stands."""
    table = refresh_tokens.c
    return (
        await tx.fetch_value(select(table.refresh_token_id).where(table.next_token_id == refresh_token_id)) is not None
    )


async def remove_predecessors(tx: Write, refresh_token_id: int) -> None:
    """Forget the refresh token that this one replaces, with its access tokens."""
    table = refresh_tokens.c
    rows = await tx.fetch_all(select(table.refresh_token_id).where(table.next_token_id == refresh_token_id))
    for row in rows:
        await remove_refresh_token(tx, row.refresh_token_id)


async def remove_refresh_token(tx: Write, refresh_token_id: int) -> None:
    """Forget a refresh token and the access tokens that came with it."""
    await tx.execute(delete(access_tokens).where(access_tokens.c.refresh_token_id == refresh_token_id))
    await tx.execute(delete(refresh_tokens).where(refresh_tokens.c.refresh_token_id == refresh_token_id))


def remove_access_token(tx: Write, token_hash: bytes) -> None:
    """Put off: forget one access token."""
    tx.delete(access_tokens, token_hash=token_hash)


def remove_of_devices(tx: Write, user_id: str, device_ids: Iterable[str]) -> None:
    """Put off: forget the tokens of these devices."""
    for device_id in device_ids:
        tx.delete(access_tokens, user_id=user_id, device_id=device_id)
        tx.delete(refresh_tokens, user_id=user_id, device_id=device_id)


async def remove_all_but(tx: Write, user_id: str, keep_device: str | None) -> None:
    """Forget every token of a user, but those of one device."""
    for table in (access_tokens, refresh_tokens):
        statement = delete(table).where(table.c.user_id == user_id)
        if keep_device is not None:
            statement = statement.where(table.c.device_id.is_distinct_from(keep_device))
        await tx.execute(statement)
    await tx.execute(delete(login_tokens).where(login_tokens.c.user_id == user_id))


# --- login tokens and OpenID tokens


def put_login_token(tx: Write, token_hash: bytes, user_id: str, expires_at: int) -> None:
    """Put off: a token that logs in once."""
    tx.insert(login_tokens, token_hash=token_hash, user_id=user_id, expires_at=expires_at)


async def take_login_token(tx: Write, token_hash: bytes, now_ms: int) -> str | None:
    """Use a login token up; returns whose it was, None where it is unknown, used or expired."""
    table = login_tokens
    row = await tx.fetch_one(select(table.c.user_id, table.c.expires_at).where(table.c.token_hash == token_hash))
    if row is None or not await tx.execute(delete(table).where(table.c.token_hash == token_hash)):
        return None
    return row.user_id if row.expires_at > now_ms else None


def put_openid_token(tx: Write, token_hash: bytes, user_id: str, expires_at: int) -> None:
    """Put off: a token that proves to others who the user is."""
    tx.insert(openid_tokens, token_hash=token_hash, user_id=user_id, expires_at=expires_at)


async def user_of_openid_token(tx: Read, token_hash: bytes, now_ms: int) -> str | None:
    """Whose OpenID token this is; None where it is unknown or expired."""
    table = openid_tokens.c
    return await tx.fetch_value(select(table.user_id).where(table.token_hash == token_hash, table.expires_at > now_ms))


async def remove_expired(tx: Write, now_ms: int, *, access_before: int) -> None:
    """Forget login and OpenID tokens that have expired, and access tokens that did before `access_before`.

    Expired access tokens are kept for a while: the client is told that it may refresh or log in again.
    """
    await tx.execute(delete(login_tokens).where(login_tokens.c.expires_at <= now_ms))
    await tx.execute(delete(openid_tokens).where(openid_tokens.c.expires_at <= now_ms))
    await tx.execute(delete(access_tokens).where(access_tokens.c.expires_at <= access_before))
    await tx.execute(delete(refresh_tokens).where(refresh_tokens.c.expires_at <= access_before))
