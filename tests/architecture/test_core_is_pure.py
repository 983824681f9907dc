"""The protocol core holds decisions, not effects: so it can be tested exhaustively and run on any thread or process."""

import ast

from tests.architecture.sources import imported_modules, sources

ALLOWED_MODULES = {
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "copy", "dataclasses", "enum", "fnmatch",
    "functools", "hashlib", "heapq", "ipaddress", "itertools", "json", "math", "operator", "re", "string", "struct",
    "types", "typing", "unicodedata", "urllib.parse",
    "canonicaljson", "nacl", "orjson", "signedjson", "unpaddedbase64", "homeserver.core",
}  # fmt: skip
EFFECTS = {"open", "print", "input", "exec", "eval", "compile", "__import__"}
ASYNCHRONOUS = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)


def is_allowed(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[: end + 1]) in ALLOWED_MODULES for end in range(len(parts)))


def test_core_imports_only_data_modules_and_cryptography() -> None:
    wrong = [
        f"{source.at(node)}: {module}"
        for source in sources("homeserver/core")
        for node, module in imported_modules(source.tree)
        if not is_allowed(module)
    ]
    assert not wrong, "homeserver.core is pure: take what this gives as a parameter instead\n" + "\n".join(wrong)


def test_core_has_nothing_asynchronous() -> None:
    wrong = [
        source.at(node)
        for source in sources("homeserver/core")
        for node in ast.walk(source.tree)
        if isinstance(node, ASYNCHRONOUS)
    ]
    assert not wrong, "core gathers nothing: raise MissingEvents and let the service load\n" + "\n".join(wrong)


def test_core_reads_and_writes_nothing() -> None:
    wrong = [
        f"{source.at(node)}: {node.func.id}()"
        for source in sources("homeserver/core")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EFFECTS
    ]
    assert not wrong, "homeserver.core is pure: no I/O\n" + "\n".join(wrong)
