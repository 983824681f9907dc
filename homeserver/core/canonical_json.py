"""Canonical JSON: the one byte string of a JSON value that hashes and signatures are made over.

Source: https://spec.matrix.org/v1.19/appendices/#canonical-json. orjson does the writing: with sorted keys its bytes are
those of canonicaljson (sorting UTF-8 bytes and sorting code points give the same order), in a tenth of the time. It
would also write floats, so those are looked for first.
"""

import re
from types import NoneType
from typing import Any, Final

import canonicaljson
import orjson

MAX_NESTING: Final = 254
"""How deep arrays and objects may be nested. orjson's own limit for writing; Python's JSON stops at about 1,000."""

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_WIDE_OPTIONS: Final = orjson.OPT_SORT_KEYS
_CONTAINERS: Final = frozenset({dict, list, tuple})
_LEAVES: Final = frozenset({str, int, bool, NoneType})
_STRICT_TYPES: Final = _LEAVES | _CONTAINERS
_LENIENT_TYPES: Final = _STRICT_TYPES | {float}
# orjson reads integers beyond 64 bits as floats, which loses digits that are part of what was signed.
_HUGE_NUMBER = re.compile(rb"[0-9]{19}")


class CanonicalJSONError(ValueError):
    """The value has no canonical JSON form, or the text is not JSON. The message says which rule was broken."""


def encode(value: Any) -> bytes:
    """Canonical JSON of `value`, by the rules that room versions 6 and later enforce.

    Takes dict (with str keys), list, tuple, str, int, bool and None. Raises `CanonicalJSONError` for floats, integers
    outside ±(2^53−1), lone surrogates, other types and nesting beyond `MAX_NESTING`.
    """
    _check_types(value, _STRICT_TYPES)
    return encode_checked(value)


def encode_checked(value: Any) -> bytes:
    """As `encode`, for a value that holds no floats because it was read from, or cut out of, a checked one."""
    try:
        return orjson.dumps(value, None, _OPTIONS)
    except orjson.JSONEncodeError as error:
        raise CanonicalJSONError(str(error)) from None


def encode_lenient(value: Any) -> bytes:
    """JSON of `value` as room versions 1 to 5 hash and sign it: canonical, but floats and big integers are let through.

    Floats are written as Python writes them. Raises `CanonicalJSONError` for NaN, infinities, lone surrogates, keys
    that are not strings, other types and nesting beyond `MAX_NESTING`.
    """
    if not _check_types(value, _LENIENT_TYPES):
        try:
            return orjson.dumps(value, None, _WIDE_OPTIONS)
        except orjson.JSONEncodeError as error:
            if "64-bit" not in str(error):
                raise CanonicalJSONError(str(error)) from None
    return _encode_slowly(value)


def _encode_slowly(value: Any) -> bytes:
    try:
        _check_keys_and_nesting(value, MAX_NESTING)
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
    raw = data.encode() if isinstance(data, str) else data
    if _HUGE_NUMBER.search(raw) is not None:
        return _decode_huge_numbers(raw)
    return value


def _decode_huge_numbers(data: bytes) -> Any:
    """Reads what orjson found to be well-formed JSON (so its nesting is bounded) with exact integers."""
    import json  # noqa: PLC0415 — a path that next to no request takes

    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # an integer of more than 4,300 digits is a ValueError
        raise CanonicalJSONError(str(error)) from None


def _check_types(value: Any, allowed: frozenset[type]) -> bool:
    """Raises `CanonicalJSONError` for a type that is not `allowed`; says whether there is a float.

    Works through a list of containers instead of calling itself, so no nesting exhausts the stack. A cycle is bounded
    by the number of containers that a value of `MAX_NESTING` levels could hold only in theory; callers pass trees.
    """
    if type(value) not in _CONTAINERS:
        _refuse_unless(frozenset({type(value)}), allowed)
        return type(value) is float
    has_float = False
    pending = [value]
    for container in pending:
        children = container.values() if type(container) is dict else container
        types = {*map(type, children)}
        if not types <= _LEAVES:
            _refuse_unless(types, allowed)
            has_float = has_float or float in types
            pending += [child for child in children if type(child) in _CONTAINERS]
    return has_float


def _refuse_unless(types: frozenset[type] | set[type], allowed: frozenset[type]) -> None:
    if not types <= allowed:
        names = ", ".join(sorted(t.__name__ for t in types - allowed))
        raise CanonicalJSONError(f"not allowed in canonical JSON: {names}")


def _check_keys_and_nesting(value: Any, levels: int) -> None:
    if type(value) not in _CONTAINERS:
        return
    if not levels:
        raise CanonicalJSONError(f"nested more than {MAX_NESTING} levels deep")
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            raise CanonicalJSONError("Dict key must be str")
        value = value.values()
    for child in value:
        _check_keys_and_nesting(child, levels - 1)
