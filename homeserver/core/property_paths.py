"""Dot-separated property paths: `content.m\\.mentions.room` names one property of an event.

Source: https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

_PIECE = re.compile(r"(?:\\[.\\]|[^.])*")
_ESCAPE = re.compile(r"\\([.\\])")

MISSING: Final = object()
"""What `lookup` answers where the property is absent (None is a value that an event can hold)."""


@lru_cache(maxsize=4096)
def split_path(path: str) -> tuple[str, ...]:
    """The property names of a path, outermost first. Escapes other than `\\.` and `\\\\` are left as they are."""
    names: list[str] = []
    position = 0
    while True:
        piece = _PIECE.match(path, position)
        assert piece is not None  # the expression matches the empty string
        names.append(_ESCAPE.sub(r"\1", piece.group()))
        position = piece.end() + 1  # past the dot
        if position > len(path):
            return tuple(names)


def lookup(value: Any, names: Sequence[str]) -> Any:
    """The property at the path, or MISSING. Arrays are never walked into."""
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value
