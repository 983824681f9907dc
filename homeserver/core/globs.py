"""Glob-style matching: `*` stands for any run of characters and `?` for exactly one.

Every matcher runs in time proportional to the text. Between two stars a glob needs only the leftmost occurrence of what
stands there, so each piece is an atomic group and the expression never backtracks into an earlier one.

Source: https://spec.matrix.org/v1.19/appendices/#glob-style-matching.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

Matcher = Callable[[str], bool]

# Not strictly inside a word: one of the two neighbours is no word character. The ends of the text count as such.
_BOUNDARY: Final = r"(?:(?<![A-Za-z0-9_])|(?![A-Za-z0-9_]))"
_WORD_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def _pieces(pattern: str, question_mark: bool) -> list[str]:
    pieces = re.sub(r"\*+", "*", pattern).split("*")
    if question_mark:
        return [".".join(re.escape(part) for part in piece.split("?")) for piece in pieces]
    return [re.escape(piece) for piece in pieces]


@lru_cache(maxsize=4096)
def glob_matcher(pattern: str, *, question_mark: bool = True) -> Matcher:
    """A function that says whether the glob matches the whole text, case-sensitively: fold both sides before."""
    if "*" not in pattern and not (question_mark and "?" in pattern):
        return pattern.__eq__
    first, *rest = _pieces(pattern, question_mark)
    if not rest:
        expression = first
    else:
        *middle, last = rest
        # The last piece is fixed to the end of the text. Greedy: it starts looking for it there.
        expression = first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}"
    fullmatch = re.compile(expression, re.DOTALL).fullmatch
    shortest = len(pattern) - pattern.count("*")
    return lambda text: len(text) >= shortest and fullmatch(text) is not None


@lru_cache(maxsize=4096)
def word_matcher(pattern: str) -> Matcher:
    """A function that says whether some part of the text that starts and ends at a word boundary matches the glob.

    A word boundary is an end of the text, or any character other than A–Z, a–z, 0–9 and `_`. Case-sensitive.
    """
    if "*" not in pattern and "?" not in pattern:
        return lambda text: contains_word(text, pattern)
    pieces = _pieces(pattern, True)
    pieces[0] = _BOUNDARY + pieces[0]
    pieces[-1] += _BOUNDARY
    match = re.compile("".join(f"(?>.*?{piece})" for piece in pieces), re.DOTALL).match
    shortest = len(pattern) - pattern.count("*")
    return lambda text: len(text) >= shortest and match(text) is not None


def contains_word(text: str, word: str) -> bool:
    """Whether the word stands in the text between word boundaries. Case-sensitive."""
    start = text.find(word)
    while start >= 0:
        if _is_boundary(text, start) and _is_boundary(text, start + len(word)):
            return True
        start = text.find(word, start + 1)
    return False


def _is_boundary(text: str, position: int) -> bool:
    if position == 0 or position == len(text):
        return True
    return text[position - 1] not in _WORD_CHARACTERS or text[position] not in _WORD_CHARACTERS
