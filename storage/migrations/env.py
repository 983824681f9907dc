"""What Alembic runs to reach the database: the connection it is handed, nothing from a configuration file."""

from alembic import context

from storage.dialect import is_full_text
from storage.tables import metadata


def _is_ours(_: object, name: str | None, *__: object) -> bool:
    """Indexes of words are made by hand, and have tables of their own on SQLite."""
    return name is None or not is_full_text(name)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
    include_object=_is_ours,
)
context.run_migrations()
