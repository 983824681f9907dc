"""The only place that knows which engine is underneath.

SQLAlchemy Core writes the SQL; what is hot goes to the driver in as few calls as there can be. Each engine has a
module, imported when a database of its kind is opened: `sqlite` (a statement, or a whole batch, is one call in the
connection's thread) and `postgresql` (a batch is one pipelined `executemany` a table).
"""

from storage.dialect.connections import Connection, Plan, Result, Rows, is_transient
from storage.dialect.engine import Change, Engine
from storage.dialect.full_text import FullText, is_full_text, make_full_text_indexes

__all__ = [
    "Change",
    "Connection",
    "Engine",
    "FullText",
    "Plan",
    "Result",
    "Rows",
    "is_full_text",
    "is_transient",
    "make_full_text_indexes",
]
