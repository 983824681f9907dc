"""One write path: only services and the federation sender open a write, and its commit is what publishes positions."""

import ast

from tests.architecture.sources import sources

WRITERS = ("homeserver/services", "federation/sender", "storage")
DATABASE_NAMES = {"database", "db", "writer"}


def is_database(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.lstrip("_") in DATABASE_NAMES


def test_writes_are_opened_only_by_services_and_the_sender() -> None:
    wrong = [
        source.at(node)
        for source in sources()
        if not source.is_under(*WRITERS)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr == "write" and is_database(node.value)
    ]
    assert not wrong, "a write belongs to a service: it shares the commit and wakes who waits\n" + "\n".join(wrong)
