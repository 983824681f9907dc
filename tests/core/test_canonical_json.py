import enum
import uuid
from typing import Any

import pytest

from homeserver.core.canonical_json import MAX_NESTING, CanonicalJSONError, decode, encode, encode_lenient

# https://spec.matrix.org/v1.19/appendices/#examples
SPECIFICATION_EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    (
        """{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
        "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
                       {"medium": "msisdn", "address": "123456789"}]}}}""",
        '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
        '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
        '"success":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    (r'{"a": "\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
    ('{"a": -0, "b": 10000000000}', '{"a":0,"b":10000000000}'),
]


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


def nested(levels: int, innermost: Any = 1) -> Any:
    value = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize(("text", "canonical"), SPECIFICATION_EXAMPLES)
def test_the_specifications_examples_come_out_as_it_says(text: str, canonical: str) -> None:
    assert encode(decode(text)) == canonical.encode()
    assert encode_lenient(decode(text)) == canonical.encode()


def test_keys_are_sorted_by_code_point_also_beyond_the_basic_plane() -> None:
    value = {"\U00010000": 1, "\uffff": 2, "é": 3, "z": 4, "": 5}
    assert encode(value) == '{"":5,"z":4,"é":3,"\uffff":2,"\U00010000":1}'.encode()


def test_only_what_must_be_escaped_is_escaped() -> None:
    assert (
        encode('\0\x08\t\n\x0b\f\r\x1f"\\/\x7f\u2028')
        == rb'"\u0000\b\t\n\u000b\f\r\u001f\"\\/' + b"\x7f\xe2\x80\xa8" + b'"'
    )


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 0])
def test_integers_of_53_bits_are_allowed(number: int) -> None:
    assert encode({"n": number}) == b'{"n":%d}' % number


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, 2**64, -(2**64), 10**400])
def test_larger_integers_are_refused_where_strict_and_kept_where_lenient(number: int) -> None:
    with pytest.raises(CanonicalJSONError):
        encode({"n": number})
    assert encode_lenient({"n": number, "a": [True]}) == f'{{"a":[true],"n":{number}}}'.encode()


@pytest.mark.parametrize(
    ("number", "written"), [(1.0, "1.0"), (1.5, "1.5"), (1e16, "1e+16"), (1e-7, "1e-07"), (-0.0, "-0.0")]
)
def test_floats_are_refused_where_strict_and_written_as_python_does_where_lenient(number: float, written: str) -> None:
    for value in (number, {"n": number}, [[number]], {"a": {"b": [None, number]}}):
        with pytest.raises(CanonicalJSONError, match="float"):
            encode(value)
    assert encode_lenient({"n": number, "a": "é"}) == f'{{"a":"é","n":{written}}}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"a": float("-inf")},
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {None: 1},
        {Text("a"): 1},
        Text("a"),
        b"bytes",
        {1, 2},
        object(),
        Colour.RED,
        uuid.UUID(int=0),
        {1: 2**70},
        ["\ud800", 2**70],
        [uuid.UUID(int=0), 2**70],
    ],
)
def test_what_json_cannot_say_is_refused_everywhere(value: Any) -> None:
    with pytest.raises(CanonicalJSONError):
        encode(value)
    with pytest.raises(CanonicalJSONError):
        encode_lenient(value)


def test_tuples_are_arrays() -> None:
    assert encode({"a": (1, ("b",))}) == b'{"a":[1,["b"]]}'


@pytest.mark.parametrize("innermost", [1, 1.5, 2**70], ids=["int", "float", "big"])
@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 5_000, 100_000])
def test_deep_nesting_is_refused_without_exhausting_the_stack(levels: int, innermost: Any) -> None:
    value = nested(levels, innermost)
    with pytest.raises(CanonicalJSONError):
        encode(value)
    with pytest.raises(CanonicalJSONError):
        encode_lenient(value)


def test_nesting_up_to_the_limit_is_written() -> None:
    value = nested(MAX_NESTING)
    assert decode(encode(value)) == value
    assert encode_lenient(nested(MAX_NESTING, 2**70)).count(b"[") == MAX_NESTING // 2


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CanonicalJSONError):
        encode(value)
    with pytest.raises(CanonicalJSONError):
        encode_lenient(value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "nan", "NaN", "[1,]", "'a'", '"\\ud800"', "01", "1e400", "[" * 100_000, '{"a":1} x', b"\xff", b'"\xff"'],
)
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(CanonicalJSONError):
        decode(text)


def test_integers_of_any_size_are_read_exactly() -> None:
    assert decode("[18446744073709551616, -9223372036854775809, 0.5]") == [2**64, -(2**63) - 1, 0.5]
    assert decode(b'{"a": 9223372036854775808}') == {"a": 2**63}


def test_an_integer_too_long_for_python_is_refused() -> None:
    with pytest.raises(CanonicalJSONError):
        decode("[" + "1" * 5_000 + "]")


def test_digits_in_strings_do_not_change_how_floats_are_read() -> None:
    assert decode('["12345678901234567890", 1.5]') == ["12345678901234567890", 1.5]


def test_of_duplicate_keys_the_last_counts() -> None:
    assert decode('{"a": 1, "a": 2}') == {"a": 2}
