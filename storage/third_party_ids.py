"""E-mail addresses of accounts, and the proofs under way."""

from dataclasses import dataclass

from sqlalchemy import delete, select, update

from storage.database import Read, Write
from storage.tables import email_validations, third_party_ids


@dataclass(frozen=True, slots=True)
class ThirdPartyId:
    """An address of an account. Times are ms since the epoch."""

    medium: str
    address: str
    user_id: str
    validated_at: int
    added_at: int


@dataclass(frozen=True, slots=True)
class EmailValidation:
    """A proof under way; `validated_at` (ms) is None until the link in the mail was opened."""

    session_id: str
    purpose: str
    address: str
    client_secret: str
    send_attempt: int
    token_hash: bytes
    next_link: str | None
    created_at: int
    validated_at: int | None


async def of_user(tx: Read, user_id: str) -> list[ThirdPartyId]:
    """A user's addresses, the oldest first."""
    table = third_party_ids.c
    statement = select(third_party_ids).where(table.user_id == user_id).order_by(table.added_at, table.address)
    return [ThirdPartyId(*row) for row in await tx.fetch_all(statement)]


async def owner_of(tx: Read, medium: str, address: str) -> str | None:
    """The user whose address it is."""
    table = third_party_ids.c
    statement = select(table.user_id).where(table.medium == medium, table.address == address)
    return await tx.fetch_value(statement)


async def add(tx: Write, entry: ThirdPartyId) -> None:
    """Give an address that nobody has to a user; the operations after it in the batch see it."""
    values = {name: getattr(entry, name) for name in ThirdPartyId.__slots__}
    await tx.execute(third_party_ids.insert().values(**values))


async def remove(tx: Write, user_id: str, medium: str, address: str) -> bool:
    """Take an address away; False where the user does not have it."""
    table = third_party_ids.c
    where = (table.user_id == user_id, table.medium == medium, table.address == address)
    return bool(await tx.execute(delete(third_party_ids).where(*where)))


async def remove_all(tx: Write, user_id: str) -> None:
    """Take all of a user's addresses away."""
    await tx.execute(delete(third_party_ids).where(third_party_ids.c.user_id == user_id))


async def validation_of(tx: Read, session_id: str, client_secret: str) -> EmailValidation | None:
    """One proof, for who knows its secret."""
    table = email_validations.c
    where = (table.session_id == session_id, table.client_secret == client_secret)
    row = await tx.fetch_one(select(email_validations).where(*where))
    return None if row is None else _validation(row)


async def validation_for(tx: Read, purpose: str, address: str, client_secret: str) -> EmailValidation | None:
    """The newest proof that was begun for the same thing."""
    table = email_validations.c
    where = (table.client_secret == client_secret, table.address == address, table.purpose == purpose)
    statement = select(email_validations).where(*where).order_by(table.created_at.desc()).limit(1)
    row = await tx.fetch_one(statement)
    return None if row is None else _validation(row)


def put_validation(tx: Write, validation: EmailValidation) -> None:
    """Begin a proof, or send its mail again."""
    tx.upsert(email_validations, **{name: getattr(validation, name) for name in EmailValidation.__slots__})


async def mark_validated(tx: Write, session_id: str, token_hash: bytes, now_ms: int) -> None:
    """The link was opened."""
    table = email_validations.c
    where = (table.session_id == session_id, table.token_hash == token_hash, table.validated_at.is_(None))
    await tx.execute(update(email_validations).where(*where).values(validated_at=now_ms))


async def take_validation(tx: Write, session_id: str) -> bool:
    """Use a proof up; False where it was used before."""
    return bool(await tx.execute(delete(email_validations).where(email_validations.c.session_id == session_id)))


async def forget_validations(tx: Write, created_before: int) -> None:
    """Forget proofs that took too long."""
    await tx.execute(delete(email_validations).where(email_validations.c.created_at < created_before))


def _validation(row: object) -> EmailValidation:
    values = {name: getattr(row, name) for name in EmailValidation.__slots__}
    return EmailValidation(**{**values, "token_hash": bytes(values["token_hash"])})
