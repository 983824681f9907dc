"""Whether an answer is one that the specification foresees: its status, its body, its error code."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jsonschema.exceptions import ValidationError, best_match

from tests.specification.operations import FOLDER, Operation, Place, json_schema

# What any endpoint may answer, with the status that goes with it (client-server-api §Standard error response, the
# descriptions of tokens, guests, locking, suspension and rate limits; server-server-api §Authentication).
ANYWHERE = frozenset({
    ("M_BAD_JSON", 400), ("M_NOT_JSON", 400), ("M_MISSING_PARAM", 400), ("M_INVALID_PARAM", 400), ("M_UNKNOWN", 400),
    ("M_UNKNOWN_DEVICE", 400), ("M_EXCLUSIVE", 400), ("M_UNKNOWN_TOKEN", 401), ("M_MISSING_TOKEN", 401),
    ("M_USER_LOCKED", 401), ("M_UNAUTHORIZED", 401), ("M_FORBIDDEN", 403), ("M_USER_SUSPENDED", 403),
    ("M_GUEST_ACCESS_FORBIDDEN", 403), ("M_RESOURCE_LIMIT_EXCEEDED", 403), ("M_NOT_FOUND", 404),
    ("M_UNRECOGNIZED", 404), ("M_UNRECOGNIZED", 405), ("M_TOO_LARGE", 413), ("M_LIMIT_EXCEEDED", 429),
})  # fmt: skip
_ERRCODE = re.compile(r"\bM_[A-Z_]+[A-Z]\b")
_NOT_ERRCODES = {"M_KEYS", "M_RATCHET", "M_ROOT", "M_SAFETY", "M_EXAMPLE_ERROR"}
# Proposals' error codes carry their number or their authors' name until they are accepted.
UNSTABLE = re.compile(r"([A-Z]+_)?(ORG[_.]MATRIX|IO[_.]ELEMENT)[_.]MSC[0-9]+[A-Z0-9_.]*")


@dataclass(frozen=True)
class Answer:
    """What came over the wire. `headers` have lower-case names."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes | None  # None: it was sent piece by piece, and is not JSON


@cache
def errcodes() -> frozenset[str]:
    """Every error code that the specification knows."""
    found: set[str] = set()
    for folder in ("text", "api", "proposals"):
        for file in (FOLDER / folder).rglob("*"):
            if file.suffix in (".md", ".yaml"):
                found.update(_ERRCODE.findall(file.read_text()))
    return frozenset(found - _NOT_ERRCODES)


def faults(candidates: list[Operation], answer: Answer) -> list[str]:
    """What is wrong with an answer; where two operations share a path, it may be one of either."""
    found: list[str] = []
    for operation in candidates:
        found = list(_faults(operation, answer))
        if not found:
            return []
    return found


def _faults(operation: Operation, answer: Answer) -> Iterator[str]:
    value, fault = _json(answer)
    if fault is not None:
        yield fault
        return
    if (_errcode(value), answer.status) in ANYWHERE:
        return
    place = operation.response(answer.status)
    if place is None:
        yield f"no answer with the status {answer.status} is foreseen ({_errcode(value)})"
        return
    schema = json_schema(place)
    if schema is not None:
        if not answer.content_type.startswith("application/json"):
            yield f"the content type is {answer.content_type!r}, not application/json"
        else:
            yield from _schema_faults(schema, value)
    yield from _missing_headers(place, answer)
    if answer.status >= 400 and schema is not None:
        yield from _unforeseen_errcode(place, _errcode(value), answer.status)


def _json(answer: Answer) -> tuple[Any, str | None]:
    if answer.body is None or not answer.content_type.startswith("application/json"):
        return None, None
    try:
        return json.loads(answer.body), None
    except ValueError as error:
        return None, f"the body is not JSON: {error}"


def _errcode(value: Any) -> str | None:
    return value.get("errcode") if isinstance(value, dict) else None


def _schema_faults(schema: Place, value: Any) -> Iterator[str]:
    for error in schema.validator().iter_errors(value):
        yield _in_words(error)


def _in_words(error: ValidationError) -> str:
    """Where and what, without the values: the same fault reads the same each time."""
    deepest = best_match([error]) or error
    where = "".join("[]" if isinstance(step, int) else f".{_named(step)}" for step in deepest.absolute_path)
    if deepest.validator == "required":
        missing = [name for name in deepest.validator_value if name not in deepest.instance]
        return f"{where}: {', '.join(missing)} missing"
    kind = type(deepest.instance).__name__
    return f"{where}: {deepest.validator} {deepest.validator_value!r} not met by a {kind}"


def _named(step: str | int) -> str:
    """A property's name; the identifiers that some objects have for keys are all one."""
    text = str(step)
    return f"<{text[0]}…>" if text[:1] in "@!$#" and len(text) > 1 else text


def _missing_headers(place: Place, answer: Answer) -> Iterator[str]:
    for name in place.value.get("headers", {}):
        header = (place / "headers" / name).follow()
        if header.value.get("required") and name.lower() not in answer.headers:
            yield f"the header {name} is missing"


def _unforeseen_errcode(place: Place, errcode: str | None, status: int) -> Iterator[str]:
    known = set(_ERRCODE.findall(json.dumps(place.value, default=str)))
    if errcode is not None and known and errcode not in known:
        yield f"{errcode} is not among the errors foreseen with the status {status}"


def error_faults(answer: Answer) -> Iterator[str]:
    """What is wrong with an answer as an error, at whichever endpoint: also at those that the specification lacks."""
    if answer.status < 400 or answer.status == 499:
        return
    value, fault = _json(answer)
    if fault is not None or not isinstance(value, dict):
        yield fault or f"an error (status {answer.status}) that is not a JSON object"
        return
    if "flows" in value and "errcode" not in value:
        return  # user-interactive authentication that has just begun
    errcode, sentence = value.get("errcode"), value.get("error")
    if not isinstance(errcode, str) or not (errcode in errcodes() or UNSTABLE.fullmatch(errcode)):
        yield f"the error code {errcode!r} is not the specification's"
    if not isinstance(sentence, str) or len(sentence.split()) < 2:
        yield f"{errcode}: the error is not explained in a sentence"
