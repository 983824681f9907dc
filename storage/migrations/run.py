"""Runs Alembic. Imported only where a database has to change, so that a usual start does without it."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's settings: where the scripts are and which connection to use."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to `revision`, in the caller's transaction."""
    command.upgrade(configuration(connection), revision)


def newest() -> str | None:
    """The revision that the scripts end at."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def write_revision(connection: Connection, revision: str, message: str) -> Any:
    """Write the script that takes `connection`'s tables to those in storage/tables (`make migration`)."""
    config = configuration(connection)
    return command.revision(config, message=message, autogenerate=True, rev_id=revision)
