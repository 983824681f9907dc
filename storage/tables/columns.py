"""The few column types there are, and the metadata that all tables share."""

from typing import Any

from sqlalchemy import Boolean, Column, LargeBinary, MetaData, Text

from storage.dialect.columns import KEPT_BY_KEY, NUMBER

__all__ = ["KEPT_BY_KEY", "blob", "flag", "metadata", "number", "text"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def number(
    name: str, *, key: bool = False, null: bool = False, unique: bool = False, default: int | None = None
) -> Column[int]:
    """A 64-bit integer: ids, positions, milliseconds since the epoch, counts."""
    return Column(
        name, NUMBER, primary_key=key, nullable=null, unique=unique, autoincrement=False, **_default(default)
    )


def text(
    name: str, *, key: bool = False, null: bool = False, unique: bool = False, default: str | None = None
) -> Column[str]:
    """Text: Matrix ids, event types, names. Compared byte by byte on both engines."""
    return Column(name, Text, primary_key=key, nullable=null, unique=unique, **_default(default))


def flag(name: str, *, default: bool = False) -> Column[bool]:
    """A truth value, false unless `default` says otherwise."""
    return Column(name, Boolean(create_constraint=False), nullable=False, default=default)


def blob(name: str, *, key: bool = False, null: bool = False) -> Column[bytes]:
    """Bytes: JSON as it goes on the wire, token hashes."""
    return Column(name, LargeBinary, primary_key=key, nullable=null)


def _default(value: object) -> dict[str, Any]:
    return {} if value is None else {"default": value}
