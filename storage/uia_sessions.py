"""User-interactive authentication under way, and the tokens that let people register."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, or_, select, update

from storage.database import Read, Write
from storage.tables import registration_tokens, uia_sessions


@dataclass(frozen=True, slots=True)
class UiaSession:
    """`completed`: stage → what came of it. `body_hash`: of the request it was begun for; empty where any will do."""

    session_id: str
    operation: str
    body_hash: bytes
    completed: dict[str, Any]
    created_at: int


async def session_of(tx: Read, session_id: str) -> UiaSession | None:
    """One session, however old."""
    table = uia_sessions.c
    row = await tx.fetch_one(
        select(table.session_id, table.operation, table.body, table.completed, table.created_at).where(
            table.session_id == session_id
        )
    )
    if row is None:
        return None
    return UiaSession(row.session_id, row.operation, bytes(row.body), orjson.loads(row.completed), row.created_at)


def put(tx: Write, session: UiaSession) -> None:
    """Put off: begin a session, or note what was completed."""
    tx.upsert(
        uia_sessions,
        session_id=session.session_id,
        operation=session.operation,
        body=session.body_hash,
        completed=orjson.dumps(session.completed),
        created_at=session.created_at,
    )


async def take(tx: Write, session_id: str) -> bool:
    """End a session; False where it has ended already."""
    return bool(await tx.execute(delete(uia_sessions).where(uia_sessions.c.session_id == session_id)))


async def take_expired(tx: Write, created_before: int) -> list[UiaSession]:
    """End the sessions that were begun before that time; returns them."""
    table = uia_sessions.c
    rows = await tx.fetch_all(select(uia_sessions).where(table.created_at < created_before))
    await tx.execute(delete(uia_sessions).where(table.created_at < created_before))
    return [
        UiaSession(row.session_id, row.operation, bytes(row.body), orjson.loads(row.completed), row.created_at)
        for row in rows
    ]


# --- registration tokens


def _usable(token: str, now_ms: int) -> list[Any]:
    table = registration_tokens.c
    return [
        table.token == token,
        or_(table.expires_at.is_(None), table.expires_at > now_ms),
        or_(table.uses_allowed.is_(None), table.uses_allowed > table.pending + table.completed),
    ]


async def is_usable(tx: Read, token: str, now_ms: int) -> bool:
    """Whether somebody could register with this token now."""
    return await tx.fetch_value(select(registration_tokens.c.token).where(*_usable(token, now_ms))) is not None


async def reserve(tx: Write, token: str, now_ms: int) -> bool:
    """Count the token as about to be used; False where it cannot be used."""
    table = registration_tokens
    statement = update(table).where(*_usable(token, now_ms)).values(pending=table.c.pending + 1)
    return bool(await tx.execute(statement))


async def release(tx: Write, token: str, *, used: bool) -> None:
    """Somebody registered with a token that was reserved, or did not."""
    table = registration_tokens
    values = {"pending": table.c.pending - 1, "completed": table.c.completed + (1 if used else 0)}
    await tx.execute(update(table).where(table.c.token == token, table.c.pending > 0).values(**values))


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """`pending`: how many are registering with it now; `expires_at` in ms since the epoch."""

    token: str
    uses_allowed: int | None
    pending: int
    completed: int
    expires_at: int | None


async def registration_tokens_of_all(tx: Read) -> list[RegistrationToken]:
    """Every token there is, used up ones too."""
    columns = (registration_tokens.c[name] for name in RegistrationToken.__slots__)
    rows = await tx.fetch_all(select(*columns).order_by(registration_tokens.c.token))
    return [RegistrationToken(*row) for row in rows]


async def remove_registration_token(tx: Write, token: str) -> bool:
    """Nobody can register with it any more; False where there is none."""
    return bool(await tx.execute(delete(registration_tokens).where(registration_tokens.c.token == token)))


async def put_registration_token(
    tx: Write, token: str, *, uses_allowed: int | None = None, expires_at: int | None = None
) -> None:
    """A new token; without `uses_allowed` it may be used any number of times. `expires_at` in ms since the epoch."""
    values = {"token": token, "uses_allowed": uses_allowed, "pending": 0, "completed": 0, "expires_at": expires_at}
    await tx.execute(registration_tokens.insert().values(**values))
