"""HTTP statuses are the web layer's words. All else raises a MatrixError, which homeserver/web maps in one place."""

import ast

from tests.architecture.sources import Source, sources

# federation/outbound and its like are clients: they read the statuses that other servers answer.
PLACES = (
    "homeserver/core",
    "homeserver/services",
    "client_api",
    "federation/inbound",
    "federation/sender",
    "storage",
)
STATUS_NAMES = {"HTTPStatus", "json_response", "HTTPException"}


def offences(source: Source) -> list[str]:
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.keyword) and node.arg in ("status", "status_code") and is_status(node.value):
            found.append(f"{source.at(node.value)}: {node.arg}=")
        elif isinstance(node, ast.Compare) and names_status(node.left) and any(map(is_status, node.comparators)):
            found.append(f"{source.at(node)}: compares a status")
        elif isinstance(node, ast.Name | ast.Attribute) and name_of(node) in STATUS_NAMES:
            found.append(f"{source.at(node)}: {name_of(node)}")
    return found


def name_of(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def names_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and name_of(node) in ("status", "status_code")


def is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and 100 <= node.value <= 599


def test_status_codes_stand_only_under_web() -> None:
    checked = [source for source in sources() if source.is_under(*PLACES)]
    wrong = [offence for source in checked for offence in offences(source)]
    assert not wrong, "raise a MatrixError: its HTTP status is decided once, in homeserver/web\n" + "\n".join(wrong)
