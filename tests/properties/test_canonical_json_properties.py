"""Our canonical JSON is byte for byte that of the canonicaljson library."""

import json
from typing import Any

import canonicaljson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homeserver.core.canonical_json import CanonicalJSONError, decode, encode, encode_again, encode_lenient

LARGEST = 2**53 - 1
text = st.text(st.characters(exclude_categories=["Cs"]))
# Every character that JSON may escape, and those on either side of where UTF-8 and UTF-16 order differ.
awkward_text = st.text(
    st.sampled_from([*map(chr, range(0x22)), "\\", "/", "\x7f", "\x80", "\u2028", "\ud7ff", "\ue000", "\uffff", "𐀀"])
)
strings = text | awkward_text
leaves = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | strings


def json_values(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaf, lambda inner: st.lists(inner) | st.dictionaries(strings, inner), max_leaves=30)


@given(json_values(leaves))
@example("".join(map(chr, range(0x100))))
@example({chr(n): n for n in range(0x100)})
def test_encode_writes_what_canonicaljson_writes(value: Any) -> None:
    expected = canonicaljson.encode_canonical_json(value)
    assert encode(value) == expected
    assert encode_again(value) == expected
    assert encode_lenient(value) == expected


@given(json_values(leaves | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_encode_lenient_writes_floats_and_big_integers_as_canonicaljson_does(value: Any) -> None:
    assert encode_lenient(value) == canonicaljson.encode_canonical_json(value)


@given(json_values(leaves))
def test_decode_reads_back_what_was_encoded(value: Any) -> None:
    assert decode(encode(value)) == value


@given(json_values(leaves | st.integers() | st.floats(allow_nan=False, allow_infinity=False)), st.booleans())
def test_decode_reads_what_python_reads(value: Any, ascii_only: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    assert repr(decode(written)) == repr(json.loads(written))
    assert repr(decode(written.encode())) == repr(json.loads(written))


forbidden = (
    st.floats()
    | st.integers(min_value=LARGEST + 1)
    | st.integers(max_value=-LARGEST - 1)
    | st.just("a\ud800")
    | st.binary()
)


@given(json_values(leaves), forbidden, st.lists(st.booleans(), max_size=5))
def test_one_forbidden_value_anywhere_is_refused(value: Any, bad: Any, path: list[bool]) -> None:
    for in_object in path:
        bad = {"first": value, "bad": bad} if in_object else [value, bad, value]
    with pytest.raises(CanonicalJSONError):
        encode(bad)


@given(st.binary() | text)
def test_decode_of_anything_gives_a_value_or_its_own_error(data: bytes | str) -> None:
    try:
        value = decode(data)
    except CanonicalJSONError:
        return
    assert value == json.loads(data)
