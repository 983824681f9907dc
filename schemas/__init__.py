"""JSON Schemas (draft 2020-12) of request bodies, by operation id of the specification.

    validator("client.createRoom").validate(body)

`client.<operationId>` and `federation.<operationId>` name the files `client/<operationId>.json` and
`federation/<operationId>.json`. Where the specification has two operations on one path (an invite by user id or by
third-party id), the file of the one without "3PID" describes both. Unknown properties are always allowed, and null
counts as absent for every property that is not required.

Accepting a body costs a few microseconds; jsonschema is imported when the first body is refused.
"""

from functools import cache
from typing import Any, Literal

from schemas.acceptance import compile_acceptance
from schemas.documents import load, names

__all__ = ["SchemaError", "Validator", "names", "preload", "validator"]

Kind = Literal["missing", "type", "value"]
# A value of the right type that is nevertheless not one of those that make sense.
_VALUE_KEYWORDS = frozenset({"enum", "format", "minimum", "maxLength", "minLength", "maxItems", "minProperties"})


class SchemaError(ValueError):
    """A body does not meet its schema.

    `path` says where (`initial_state[0].type`, empty for the body itself), `message` what is wrong there (`must be a
    string`), without quoting the value: it may be a password.
    `missing` is the name of a required property of the body that is absent (M_MISSING_PARAM), else None. `kind` is
    "missing" exactly then; "type" for a wrong type or an incomplete object further inside (M_BAD_JSON); "value" for the
    right type with a value that will not do (M_INVALID_PARAM).
    """

    def __init__(self, path: str, message: str, missing: str | None, kind: Kind) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message
        self.missing = missing
        self.kind = kind


class Validator:
    """One compiled schema. `body_required` is False where a request without a body counts as `{}`."""

    __slots__ = ("_accepts", "_schema", "body_required", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._schema = load(name)
        self._accepts = compile_acceptance(self._schema)
        self.body_required = not self._schema.get("x-body-optional", False)

    def accepts(self, body: Any) -> bool:
        """Whether the body meets the schema."""
        return self._accepts(body)

    def validate(self, body: Any) -> None:
        """Raises SchemaError where the body does not meet the schema."""
        if not self._accepts(body):
            raise self._refusal(body)

    def _refusal(self, body: Any) -> SchemaError:
        # Imported here: jsonschema takes about 50 ms to import and well-behaved clients never need it.
        from schemas import explanation

        error = explanation.first_error(explanation.compile_explanation(self._schema), body)
        if error is None:  # the two disagree, which tests rule out: refuse all the same
            return SchemaError("", "does not have the expected form", None, "type")
        missing = explanation.missing_property(error) if not error.absolute_path else None
        kind: Kind = "value" if error.validator in _VALUE_KEYWORDS else "type"
        return SchemaError(
            explanation.path_of(error), explanation.message_of(error), missing, "missing" if missing else kind
        )


@cache
def validator(name: str) -> Validator:
    """The validator of that name, compiled when first asked for. Raises KeyError where there is no such schema."""
    return Validator(name)


def preload() -> None:
    """Compile everything and import jsonschema, so that no request waits for it."""
    from schemas import explanation

    for name in names():
        validator(name)
    assert explanation is not None
