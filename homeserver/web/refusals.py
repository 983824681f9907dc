"""Exceptions that are the client's fault, as the errors that it is told."""

from homeserver.core import canonical_json, event_format, filters, identifiers, tokens
from homeserver.errors import BadJson, InvalidParam, MatrixError, MissingParam
from schemas import SchemaError

# What core raises for input that is not what it claims to be. Services turn most of it into something kinder before.
_DOMAIN_ERRORS: tuple[tuple[type[Exception], type[MatrixError]], ...] = (
    (identifiers.InvalidIdentifier, InvalidParam),
    (tokens.InvalidToken, InvalidParam),
    (filters.InvalidFilter, BadJson),
    (event_format.InvalidEvent, BadJson),
    (canonical_json.CanonicalJSONError, BadJson),
)


def refusal_of(error: Exception) -> MatrixError | None:
    """The client's fault that an exception of core or schemas stands for; None: it is ours."""
    if isinstance(error, SchemaError):
        where = f"{error.path}: " if error.path else ""
        kinds: dict[str, type[MatrixError]] = {"missing": MissingParam, "value": InvalidParam}
        return kinds.get(error.kind, BadJson)(where + error.message)
    for kind, refusal in _DOMAIN_ERRORS:
        if isinstance(error, kind):
            return refusal(str(error))
    return None
