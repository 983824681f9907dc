"""How tables are laid out where the engines differ."""

from typing import Any, Final

from sqlalchemy import BigInteger, Integer

# On SQLite a key that is one INTEGER is where the row lies; any other type of number has an index beside the table.
NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit integer."""
KEPT_BY_KEY: Final[dict[str, Any]] = {"sqlite_with_rowid": False}
"""Options of a table whose rows are little more than their keys: SQLite keeps them in the key's index alone."""
