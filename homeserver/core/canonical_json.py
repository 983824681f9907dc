"""Canonical JSON: the one byte string of a JSON value that hashes and signatures are made over.

Source: https://spec.matrix.org/v1.19/appendices/#canonical-json. orjson does the writing: with sorted keys its bytes
are those of canonicaljson (sorting UTF-8 bytes and sorting code points give the same order), in a tenth of the time. It
would also write floats, so those are looked for.
"""

import json
import re
from typing import Any, Final

import canonicaljson
import orjson

MAX_NESTING: Final = 254
"""How deep arrays and objects may be nested. orjson's own limit for writing; Python's JSON stops at about 1,000."""

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_WIDE_OPTIONS: Final = orjson.OPT_SORT_KEYS
# orjson reads integers beyond 64 bits as floats, which loses digits that are part of what was signed.
_HUGE_NUMBER = re.compile(rb"[0-9]{19}")


class CanonicalJSONError(ValueError):
    """The value has no canonical JSON form, or the text is not JSON. The message says which rule was broken."""


def encode(value: Any) -> bytes:
    """Canonical JSON of `value`, by the rules that room versions 6 and later enforce.

    Takes dict (with str keys), list, tuple, str, int, bool and None. Raises `CanonicalJSONError` for floats, integers
    outside ±(2^53−1), lone surrogates, other types and nesting beyond `MAX_NESTING`.
    """
    # Written before it is looked through: what orjson could write has no cycles and bounded nesting.
    try:
        data = orjson.dumps(value, None, _OPTIONS)
    except orjson.JSONEncodeError as error:
        raise CanonicalJSONError(str(error)) from None
    if unexpected := _unexpected_types(value):
        raise _not_allowed(unexpected)
    return data


def encode_again(value: Any) -> bytes:
    """As `encode`, of what was encoded before, or is made of parts of that: the types in it are not looked at again."""
    try:
        return orjson.dumps(value, None, _OPTIONS)
    except orjson.JSONEncodeError as error:
        raise CanonicalJSONError(str(error)) from None


def encode_text(text: str) -> bytes:
    """As `encode`, of a string. Raises `CanonicalJSONError` for lone surrogates."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError as error:
        raise CanonicalJSONError(str(error)) from None


def encode_lenient(value: Any) -> bytes:
    """JSON of `value` as room versions 1 to 5 hash and sign it: canonical, but floats and big integers are let through.

    Floats are written as Python writes them. Raises `CanonicalJSONError` for NaN, infinities, lone surrogates, keys
    that are not strings, other types and nesting beyond `MAX_NESTING`.
    """
    try:
        data = orjson.dumps(value, None, _WIDE_OPTIONS)
    except orjson.JSONEncodeError as error:
        if "64-bit" not in str(error):
            raise CanonicalJSONError(str(error)) from None
        return _encode_slowly(value)
    return _encode_slowly(value) if _unexpected_types(value) else data


def _encode_slowly(value: Any) -> bytes:
    _check_keys_and_nesting(value, MAX_NESTING)
    if unexpected := _unexpected_types(value) - {float}:
        raise _not_allowed(unexpected)
    try:
        return canonicaljson.encode_canonical_json(value)
    except ValueError as error:  # NaN and infinities; surrogates (UnicodeEncodeError is a ValueError)
        raise CanonicalJSONError(str(error)) from None


def decode(data: bytes | str) -> Any:
    """The value of a JSON text; of duplicate keys the last one counts. Raises `CanonicalJSONError` if it is not JSON.

    Integers of any size are read exactly. The result may hold floats: `encode` refuses those.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise CanonicalJSONError(str(error)) from None
    if float in _unexpected_types(value):
        raw = data.encode() if isinstance(data, str) else data
        if _HUGE_NUMBER.search(raw) is not None:
            return _decode_huge_numbers(raw)
    return value


def _decode_huge_numbers(data: bytes) -> Any:
    """Reads what orjson found to be well-formed JSON with exact integers."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # an integer of more than 4,300 digits is a ValueError
        raise CanonicalJSONError(str(error)) from None


def _unexpected_types(value: Any) -> set[type]:
    """The types in `value` beyond those that canonical JSON knows. A plain loop: this runs for every event."""
    unexpected: set[type] = set()
    pending = [(value,)]
    for container in pending:
        for child in container.values() if type(container) is dict else container:
            kind = type(child)
            if kind is str or kind is int or kind is bool:
                continue
            if kind is dict or kind is list or kind is tuple:
                pending.append(child)
            elif child is not None:
                unexpected.add(kind)
    return unexpected


def _not_allowed(types: set[type]) -> CanonicalJSONError:
    return CanonicalJSONError("not allowed in canonical JSON: " + ", ".join(sorted(kind.__name__ for kind in types)))


def _check_keys_and_nesting(value: Any, levels: int) -> None:
    """What orjson would have refused, had it not met a big integer first."""
    if not isinstance(value, dict | list | tuple):
        return
    if not levels:
        raise CanonicalJSONError(f"nested more than {MAX_NESTING} levels deep")
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise CanonicalJSONError("keys of canonical JSON objects are strings")
        value = value.values()
    for child in value:
        _check_keys_and_nesting(child, levels - 1)
