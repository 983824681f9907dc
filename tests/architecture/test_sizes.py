"""Small files and functions. What is larger has its reason in oversized.txt: `path` or `path::function`, `# reason`."""

import ast
from collections.abc import Iterator

from tests.architecture.sources import Source, listed, sources

FILE_LINES = 600
FUNCTION_LINES = 80
STEPS = "storage/migrations/versions"  # a migration is as long as what it makes


def functions(source: Source) -> Iterator[tuple[str, int]]:
    """Every function's qualified name and its lines."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{child.name}", (child.end_lineno or child.lineno) - child.lineno + 1
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from walk(child, f"{prefix}{child.name}." if named else prefix)

    return walk(source.tree, "")


def oversized() -> dict[str, int]:
    places = [source for source in sources() if not source.is_under(STEPS)]
    found = {source.path: source.text.count("\n") for source in places if source.text.count("\n") > FILE_LINES}
    for source in places:
        found |= {f"{source.path}::{name}": lines for name, lines in functions(source) if lines > FUNCTION_LINES}
    return found


def test_large_files_and_functions_have_a_reason() -> None:
    reasons = listed("oversized.txt")
    wrong = [f"{what}: {lines} lines" for what, lines in oversized().items() if not reasons.get(what)]
    assert not wrong, "split it at its seam, or give the reason in oversized.txt\n" + "\n".join(wrong)


def test_reasons_are_for_what_is_still_large() -> None:
    stale = sorted(set(listed("oversized.txt")) - set(oversized()))
    assert not stale, "no longer oversized: take out of tests/architecture/oversized.txt\n" + "\n".join(stale)
