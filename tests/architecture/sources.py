"""The project's own Python files and their syntax trees, for the guards to walk."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("homeserver", "storage", "federation", "client_api", "schemas")


@dataclass(frozen=True)
class Source:
    """One Python file. `path` is relative to the project and has forward slashes."""

    path: str

    @cached_property
    def text(self) -> str:
        return (PROJECT / self.path).read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=self.path)

    def is_under(self, *places: str) -> bool:
        """Whether the file is one of these files, or in one of these folders."""
        return any(self.path == place or self.path.startswith(place.rstrip("/") + "/") for place in places)

    def at(self, node: ast.AST) -> str:
        """Where a node stands, as editors and terminals understand it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@cache
def sources(*places: str) -> tuple[Source, ...]:
    """Every Python file under these folders of the project; of all five packages where none is named."""
    found = [path for place in places or PACKAGES for path in sorted((PROJECT / place).rglob("*.py"))]
    return tuple(Source(path.relative_to(PROJECT).as_posix()) for path in found)


def imported_modules(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every module that a tree imports, with the statement that does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node, node.module or ""


def strings_outside_docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every string literal that the program uses: not the ones that stand alone as documentation."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node


def listed(name: str) -> dict[str, str]:
    """An exceptions file beside the guards: a line an entry, `entry  # reason`. Returns entry → reason."""
    lines = (Path(__file__).with_name(name)).read_text().splitlines()
    pairs = (line.partition("#")[::2] for line in lines if line.strip() and not line.startswith("#"))
    return {entry.strip(): reason.strip() for entry, reason in pairs}
