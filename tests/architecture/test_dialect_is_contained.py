"""What differs between SQLite and PostgreSQL is in one file, so a third reader of the code need not know both."""

import ast
import re

from tests.architecture.sources import imported_modules, sources, strings_outside_docstrings

HOME = ("storage/dialect.py", "storage/dialect", "storage/migrations")
# Database URLs in the config and the command line; the names of loggers of the drivers.
MAY_NAME_AN_ENGINE = ("homeserver/config", "homeserver/cli.py", "homeserver/cli", "homeserver/runtime/logs.py")
MAY_WRITE_TEXT = (*HOME, "storage/migrate.py")
ENGINE_NAME = re.compile(r"\b(sqlite|postgres(ql)?|asyncpg|aiosqlite)", re.IGNORECASE)


def test_engine_names_stand_only_in_the_dialect() -> None:
    wrong = [
        f"{source.at(node)}: {node.value!r}"
        for source in sources()
        if not source.is_under(*HOME, *MAY_NAME_AN_ENGINE)
        for node in strings_outside_docstrings(source.tree)
        if ENGINE_NAME.search(node.value)
    ]
    assert not wrong, "let storage/dialect.py decide what differs by engine\n" + "\n".join(wrong)


def test_dialect_modules_are_imported_only_by_the_dialect() -> None:
    wrong = [
        f"{source.at(node)}: {module}"
        for source in sources()
        if not source.is_under(*HOME)
        for node, module in imported_modules(source.tree)
        if module.startswith("sqlalchemy.dialects") or module.split(".")[0] in ("asyncpg", "aiosqlite", "sqlite3")
    ]
    assert not wrong, "let storage/dialect.py decide what differs by engine\n" + "\n".join(wrong)


def test_textual_sql_stands_only_in_the_dialect() -> None:
    wrong = [
        source.at(node)
        for source in sources("storage")
        if not source.is_under(*MAY_WRITE_TEXT)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sqlalchemy")
        if "text" in [alias.name for alias in node.names]
    ]
    assert not wrong, "write SQLAlchemy's expressions: text is rarely right on both engines\n" + "\n".join(wrong)
