"""Single sign-on: accounts that belong to people of identity providers, and logins that are under way."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from storage.database import Read, Write
from storage.tables import external_ids, sign_ons


class AlreadyLinked(Exception):
    """The person of the provider has an account already."""


@dataclass(frozen=True, slots=True)
class SignOnRow:
    """One login that waits at a `step`. `browser`: hash of the cookie; `created_at` in ms since the epoch."""

    sign_on_id: str
    step: str
    browser: bytes
    details: dict[str, Any]
    created_at: int


async def user_of(tx: Read, provider: str, subject: str) -> str | None:
    """Whose account belongs to a person of a provider."""
    table = external_ids.c
    return await tx.fetch_value(select(table.user_id).where(table.provider == provider, table.subject == subject))


async def providers_of(tx: Read, user_id: str) -> list[str]:
    """The providers that an account is linked with."""
    table = external_ids.c
    statement = select(table.provider).where(table.user_id == user_id).distinct().order_by(table.provider)
    return [row.provider for row in await tx.fetch_all(statement)]


async def link(tx: Write, provider: str, subject: str, user_id: str) -> None:
    """Give an account to a person of a provider. Raises AlreadyLinked (let it undo the write)."""
    try:
        await tx.execute(external_ids.insert().values(provider=provider, subject=subject, user_id=user_id))
    except IntegrityError as error:
        raise AlreadyLinked(subject) from error


# --- under way


def put(tx: Write, row: SignOnRow) -> None:
    """Put off: a login waits."""
    tx.insert(
        sign_ons,
        sign_on_id=row.sign_on_id,
        step=row.step,
        browser=row.browser,
        details=orjson.dumps(row.details),
        created_at=row.created_at,
    )


async def find(tx: Read, sign_on_id: str) -> SignOnRow | None:
    """One that waits, however old."""
    row = await tx.fetch_one(select(sign_ons).where(sign_ons.c.sign_on_id == sign_on_id))
    if row is None:
        return None
    return SignOnRow(row.sign_on_id, row.step, bytes(row.browser), orjson.loads(row.details), row.created_at)


async def take(tx: Write, sign_on_id: str) -> bool:
    """It goes on; False where it did so already."""
    return bool(await tx.execute(delete(sign_ons).where(sign_ons.c.sign_on_id == sign_on_id)))


async def forget_old(tx: Write, created_before: int) -> None:
    """Forget those that took too long."""
    await tx.execute(delete(sign_ons).where(sign_ons.c.created_at < created_before))
