"""What type checking and style were told to overlook. The number may only fall."""

import re

from tests.architecture.sources import sources

MOST = {"type": 12, "noqa": 40}
PATTERNS = {"type": re.compile(r"#\s*(?:type|pyright): ?ignore"), "noqa": re.compile(r"#\s*noqa")}
WITHOUT_A_CODE = re.compile(r"#\s*(?:noqa|(?:type|pyright): ?ignore)(?![\[:])")


def test_fewer_and_fewer_lines_are_overlooked() -> None:
    counted = {kind: sum(len(pattern.findall(s.text)) for s in sources()) for kind, pattern in PATTERNS.items()}
    assert all(counted[kind] <= MOST[kind] for kind in MOST), f"{counted}: mend the line instead of silencing the tool"


def test_what_is_overlooked_is_named() -> None:
    wrong = [source.path for source in sources() if WITHOUT_A_CODE.search(source.text)]
    assert not wrong, f"say which rule is not meant here: `# noqa: S101 (why)`: {wrong}"
