"""Whether a value meets a JSON Schema, and nothing more: the part of validation that every request pays for.

A schema becomes a tree of small functions, some 20 times faster than asking jsonschema, which is only asked to explain
a refusal (tests hold the two to the same answer). Only the keywords that the schemas use are known.

Source: https://json-schema.org/draft/2020-12/json-schema-validation.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.formats import FORMATS

Accepts = Callable[[Any], bool]
Schema = Mapping[str, Any]

_ANNOTATIONS: Final = frozenset({"$schema", "$comment", "title", "x-body-optional", "then", "else"})


class UnknownKeyword(ValueError):
    """A schema uses a keyword that is not implemented here."""


def compile_acceptance(schema: Schema | bool) -> Accepts:
    """The function that says whether a value meets the schema. Raises UnknownKeyword."""
    if isinstance(schema, bool):
        return lambda _: schema
    checks: list[Accepts] = []
    for keyword, argument in schema.items():
        if keyword in _KEYWORDS:
            checks.append(_KEYWORDS[keyword](argument))
        elif keyword in _OBJECT_KEYWORDS or keyword in _ANNOTATIONS:
            continue
        elif keyword == "if":
            checks.append(_conditional(schema))
        else:
            raise UnknownKeyword(keyword)
    if not _OBJECT_KEYWORDS.isdisjoint(schema):
        checks.append(_object(schema))
    return _every(checks)


def _every(checks: list[Accepts]) -> Accepts:
    if not checks:
        return lambda _: True
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        first, second = checks
        return lambda value: first(value) and second(value)
    return lambda value: all(accepts(value) for accepts in checks)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Whether it is a whole number written as one: 5.0, which JSON Schema takes for an integer, is none in Matrix."""
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Accepts]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": is_integer,
}
# What JSON text can become, by class: a type is one look-up.
_CLASSES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}


def _type(argument: str | list[str]) -> Accepts:
    kinds = [argument] if isinstance(argument, str) else argument
    classes = frozenset(cls for kind in kinds for cls in _CLASSES[kind])
    checks = tuple(_TYPES[kind] for kind in kinds)
    return lambda value: value.__class__ in classes or any(accepts(value) for accepts in checks)


def _enum(argument: list[Any]) -> Accepts:
    # Only strings and null are listed, so Python's equality is JSON's.
    values = frozenset(argument)
    return lambda value: (value is None or isinstance(value, str)) and value in values


def _minimum(argument: int) -> Accepts:
    return lambda value: not _is_number(value) or value >= argument


def _max_length(argument: int) -> Accepts:
    return lambda value: not isinstance(value, str) or len(value) <= argument


def _min_length(argument: int) -> Accepts:
    return lambda value: not isinstance(value, str) or len(value) >= argument


def _max_items(argument: int) -> Accepts:
    return lambda value: not isinstance(value, list) or len(value) <= argument


def _min_properties(argument: int) -> Accepts:
    return lambda value: not isinstance(value, dict) or len(value) >= argument


def _items(argument: Schema) -> Accepts:
    accepts = compile_acceptance(argument)
    return lambda value: not isinstance(value, list) or all(map(accepts, value))


def _any_of(argument: list[Schema]) -> Accepts:
    options = tuple(compile_acceptance(option) for option in argument)
    return lambda value: any(accepts(value) for accepts in options)


def _conditional(schema: Schema) -> Accepts:
    condition = compile_acceptance(schema["if"])
    then, otherwise = (compile_acceptance(schema.get(keyword, True)) for keyword in ("then", "else"))
    return lambda value: then(value) if condition(value) else otherwise(value)


_KEYWORDS: Final[Mapping[str, Callable[[Any], Accepts]]] = {
    "type": _type,
    "enum": _enum,
    "format": lambda argument: FORMATS[argument],
    "minimum": _minimum,
    "maxLength": _max_length,
    "minLength": _min_length,
    "maxItems": _max_items,
    "minProperties": _min_properties,
    "items": _items,
    "anyOf": _any_of,
}
_OBJECT_KEYWORDS: Final = frozenset({"properties", "required", "additionalProperties"})


def _object(schema: Schema) -> Accepts:
    required: tuple[str, ...] = tuple(schema.get("required", ()))
    properties = {name: compile_acceptance(item) for name, item in schema.get("properties", {}).items()}
    others = compile_acceptance(schema["additionalProperties"]) if "additionalProperties" in schema else None

    def accepts(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for name in required:
            if name not in value:
                return False
        for name, item in value.items():
            check = properties.get(name, others)
            if check is not None and not check(item):
                return False
        return True

    return accepts
