"""The few column types there are, and the metadata that all tables share."""

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

KEPT_BY_KEY: Final[dict[str, Any]] = {"sqlite_with_rowid": False}
"""Options of a table whose rows are little more than their keys: SQLite keeps them in the key's index alone."""
# On SQLite a key that is one INTEGER is where the row lies; any other type of number has an index beside the table.
_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")


def number(
    name: str, *, key: bool = False, null: bool = False, unique: bool = False, default: int | None = None
) -> Column[int]:
    """A 64-bit integer: ids, positions, milliseconds since the epoch, counts."""
    return Column(
        name, _NUMBER, primary_key=key, nullable=null, unique=unique, autoincrement=False, **_default(default)
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
