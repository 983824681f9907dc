"""Why a value does not meet a schema, in words for a client.

Messages name properties and what was expected of them, never the value: it may be a password.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema import validators as _validators
from jsonschema.exceptions import ValidationError, best_match

from schemas.acceptance import is_integer
from schemas.formats import FORMATS, NAMES

_CHECKER: Final = FormatChecker(formats=())
for _name, _function in FORMATS.items():
    _CHECKER.checks(_name)(_function)

_Strict: Final = _validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: is_integer(value)),
)
MAX_PATH: Final = 200
_ARTICLES: Final = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "boolean": "a boolean",
    "number": "a number",
    "integer": "an integer",
}


def compile_explanation(schema: Mapping[str, Any]) -> Draft202012Validator:
    """jsonschema's own validator of the schema, with our formats and integers. Raises jsonschema's SchemaError."""
    Draft202012Validator.check_schema(schema)
    return _Strict(schema, format_checker=_CHECKER)


def first_error(validator: Draft202012Validator, value: Any) -> ValidationError | None:
    """The error that is worth telling: a missing property of the body itself before anything else."""
    errors = list(validator.iter_errors(value))
    for error in errors:
        if error.validator == "required" and not error.absolute_path:
            return error
    return best_match(errors)


def path_of(error: ValidationError) -> str:
    """Where the error is, as in `initial_state[0].type`; empty for the body itself."""
    text = ""
    for step in error.absolute_path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")[:MAX_PATH]


def missing_property(error: ValidationError) -> str | None:
    """The required property that is missing, if that is the error."""
    if error.validator != "required" or not isinstance(error.instance, dict):
        return None
    required: Any = error.validator_value
    return next((name for name in required if name not in error.instance), None)


def message_of(error: ValidationError) -> str:
    """What is wrong at the error's path, as in `must be a string`; a whole sentence where the path is empty."""
    missing = missing_property(error)
    if missing is not None:
        return f"'{missing}' is missing"
    fault = _fault(error)
    return fault if error.absolute_path else f"The body {fault}"


def _fault(error: ValidationError) -> str:
    argument: Any = error.validator_value
    match error.validator:
        case "type":
            return f"must be {_kinds(argument)}"
        case "enum":
            return f"must be one of {', '.join(value for value in argument if value is not None)}"
        case "format":
            return f"is not {NAMES[argument]}"
        case "maxItems" | "maxLength":
            return "is too long"
        case "minimum":
            return f"must be at least {argument}"
        case _:
            return "does not have the expected form"


def _kinds(kinds: str | Iterable[str]) -> str:
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    return " or ".join(_ARTICLES[name] for name in names if name != "null") or "null"
