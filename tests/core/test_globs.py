"""Globs never cost more than the text is long, and property paths unescape what the specification says."""

import pytest

from homeserver.core.globs import glob_matcher, word_matcher
from homeserver.core.property_paths import MISSING, lookup, split_path


# Without atomic groups each of these would outlast the suite: the timeout is the assertion.
@pytest.mark.timeout(10)
@pytest.mark.parametrize("pattern", ["*a" * 40 + "*b", "a*" * 40 + "b", "*?a*?a*?a*?a*?b", "*" * 500 + "b"])
def test_hostile_globs_are_matched_in_linear_time(pattern: str) -> None:
    text = "a " * 30_000
    assert not word_matcher(pattern)(text)
    assert not glob_matcher(pattern)(text)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("cake", "cake", True),
        ("cake", "the cake is", True),
        ("cake", "(cake)", True),
        ("cake", "pancake", False),
        ("cake", "cake_", False),
        ("cake", "cakes cake", True),
        ("ex*ple", "an exciting triple-whammy", True),
        ("ex*ple", "exple", True),
        ("ex*ple", "exples", False),
        ("c?ke", "a cuke!", True),
        ("c?ke", "cke", False),
        ("*", "", True),
        ("", "", True),
        ("-foo", "x-foo", True),
        ("käse", "der käse.", True),
        ("se", "kä se", True),
    ],
)
def test_words_are_found_between_boundaries(pattern: str, text: str, found: bool) -> None:
    assert word_matcher(pattern)(text) is found


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to.rel_type", ("content", "m.relates_to", "rel_type")),
        (r"content.m\\foo", ("content", r"m\foo")),
        (r"content.\x", ("content", r"\x")),
        (r"a\\.b", ("a\\", "b")),
        ("a..b", ("a", "", "b")),
        ("", ("",)),
        ("a\\", ("a\\",)),
    ],
)
def test_paths_are_split_at_dots_that_are_not_escaped(path: str, names: tuple[str, ...]) -> None:
    assert split_path(path) == names


def test_null_is_found_and_what_is_absent_is_missing() -> None:
    assert lookup({"a": {"b": None}}, ("a", "b")) is None
    assert lookup({"a": {"b": None}}, ("a", "c")) is MISSING
    assert lookup({"a": [1]}, ("a", "0")) is MISSING
    assert lookup({"a": 1}, ()) == {"a": 1}
