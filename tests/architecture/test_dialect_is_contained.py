"""What differs between SQLite and PostgreSQL is in one file, so a third reader of the code need not know both."""

import ast
import re

from tests.architecture.sources import imported_modules, sources, strings_outside_docstrings

HOME = ("storage/dialect.py", "storage/dialect", "storage/migrations")
MAY_NAME_A_DATABASE_URL = ("homeserver/config", "homeserver/cli.py", "homeserver/cli")
ENGINE_NAME = re.compile(r"\b(sqlite|postgres(ql)?|asyncpg|aiosqlite)", re.IGNORECASE)


def test_engine_names_stand_only_in_the_dialect() -> None:
    wrong = [
        f"{source.at(node)}: {node.value!r}"
        for source in sources()
        if not source.is_under(*HOME, *MAY_NAME_A_DATABASE_URL)
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
        if not source.is_under(*HOME)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "text"
    ]
    assert not wrong, "write SQLAlchemy's expressions: text is rarely right on both engines\n" + "\n".join(wrong)
