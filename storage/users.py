"""Accounts of this server."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from storage.database import Read, Write
from storage.tables import users


class UserExists(Exception):
    """There is, or was, an account of that name."""


@dataclass(frozen=True, slots=True)
class UserRow:
    """One account. `created_at` in ms since the epoch; without a `password_hash` nobody can log in with a password."""

    user_id: str
    password_hash: str | None
    created_at: int
    is_admin: bool
    is_guest: bool
    appservice_id: str | None
    deactivated: bool
    locked: bool
    suspended: bool
    erased: bool


_COLUMNS = tuple(users.c[name] for name in UserRow.__slots__)


async def user_of(tx: Read, user_id: str) -> UserRow | None:
    """The account, deactivated ones too."""
    row = await tx.fetch_one(select(*_COLUMNS).where(users.c.user_id == user_id))
    return None if row is None else UserRow(*row)


async def create(
    tx: Write,
    user_id: str,
    created_at: int,
    *,
    password_hash: str | None = None,
    is_admin: bool = False,
    is_guest: bool = False,
    appservice_id: str | None = None,
) -> None:
    """Make an account, seen at once by the operations that follow. Raises UserExists."""
    values = {
        "user_id": user_id,
        "password_hash": password_hash,
        "created_at": created_at,
        "is_admin": is_admin,
        "is_guest": is_guest,
        "appservice_id": appservice_id,
        "deactivated": False,
        "locked": False,
        "suspended": False,
        "erased": False,
    }
    try:
        await tx.execute(users.insert().values(**values))
    except IntegrityError as error:
        raise UserExists(user_id) from error


async def set_password(tx: Write, user_id: str, password_hash: str | None) -> bool:
    """False where there is no such account, or it was deactivated."""
    where = (users.c.user_id == user_id, users.c.deactivated.is_(False))
    return bool(await tx.execute(update(users).where(*where).values(password_hash=password_hash)))


async def deactivate(tx: Write, user_id: str, *, erase: bool) -> bool:
    """Close an account for good; `erase` says that others should forget about it too. False where it was closed."""
    where = (users.c.user_id == user_id, users.c.deactivated.is_(False))
    values: dict[str, bool | None] = {"deactivated": True, "password_hash": None}
    if erase:
        values["erased"] = True
    return bool(await tx.execute(update(users).where(*where).values(**values)))


async def set_locked(tx: Write, user_id: str, locked: bool) -> bool:
    """False where there is no such account."""
    return bool(await tx.execute(update(users).where(users.c.user_id == user_id).values(locked=locked)))


async def set_suspended(tx: Write, user_id: str, suspended: bool) -> bool:
    """False where there is no such account."""
    return bool(await tx.execute(update(users).where(users.c.user_id == user_id).values(suspended=suspended)))


async def set_admin(tx: Write, user_id: str, is_admin: bool) -> bool:
    """False where there is no such account."""
    return bool(await tx.execute(update(users).where(users.c.user_id == user_id).values(is_admin=is_admin)))


async def set_erased(tx: Write, user_id: str) -> bool:
    """Others should forget about a closed account. False where there is no such account."""
    return bool(await tx.execute(update(users).where(users.c.user_id == user_id).values(erased=True)))


async def listed(tx: Read, after: str, limit: int) -> list[UserRow]:
    """Accounts in the order of their user ids, from beyond one on."""
    statement = select(*_COLUMNS).where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
    return [UserRow(*row) for row in await tx.fetch_all(statement)]


async def existing(tx: Read, user_ids: Sequence[str]) -> set[str]:
    """Those of the user ids that have an account which was not deactivated."""
    statement = select(users.c.user_id).where(users.c.user_id.in_(user_ids), users.c.deactivated.is_(False))
    return {row.user_id for row in await tx.fetch_all(statement)}


async def count(tx: Read) -> int:
    """How many accounts there are."""
    return int(await tx.fetch_value(select(func.count()).select_from(users)))
