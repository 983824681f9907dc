"""The bodies that our schemas accept, against those that the specification describes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from schemas.documents import load
from tests.specification.exceptions import listed_in
from tests.specification.operations import Operation, Place, operations

LOOSER = Path(__file__).with_name("looser_requests.txt")
WITH_BODY = [operation for operation in operations() if operation.request_schema() is not None]
DEPTH = 6  # some schemas hold themselves


@dataclass
class Shape:
    """What a schema wants of a value, its `allOf` taken together."""

    kinds: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    properties: dict[str, "list[Shape]"] = field(default_factory=dict)
    items: "list[Shape]" = field(default_factory=list)
    others: "list[Shape]" = field(default_factory=list)  # the values of properties that are not named
    alternatives: bool = False  # anyOf or oneOf: what they want is not compared


def shape_of(place: Place, depth: int = 0) -> Shape:
    """Of the specification's schema."""
    shape = Shape()
    if depth <= DEPTH:
        _take(shape, place.follow(), depth)
    return shape


def _take(shape: Shape, place: Place, depth: int) -> None:
    schema = place.value
    if not isinstance(schema, dict):
        return
    for index in range(len(schema.get("allOf", ()))):
        _take(shape, (place / "allOf" / str(index)).follow(), depth)
    kind = schema.get("type")
    shape.kinds |= {kind} if isinstance(kind, str) else set(kind or ())
    shape.required |= set(schema.get("required", ()))
    shape.alternatives |= bool(schema.get("anyOf") or schema.get("oneOf"))
    for name in schema.get("properties", ()):
        shape.properties.setdefault(name, []).append(shape_of(place / "properties" / name, depth + 1))
    if isinstance(schema.get("items"), dict):
        shape.items.append(shape_of(place / "items", depth + 1))
    if isinstance(schema.get("additionalProperties"), dict):
        shape.others.append(shape_of(place / "additionalProperties", depth + 1))


def looser(where: str, theirs: Shape, ours: dict[str, Any]) -> Iterator[str]:
    """What the specification wants and our schema does not; and types that differ."""
    if theirs.alternatives or "anyOf" in ours or "oneOf" in ours:
        return
    kinds = ours.get("type", [])
    own = {kinds} if isinstance(kinds, str) else set(kinds)
    if theirs.kinds and own - {"null"} != theirs.kinds - {"null"}:
        yield f"{where}: {_listed(own) or 'anything'}, not {_listed(theirs.kinds)}"
        return
    for name in sorted(theirs.required - set(ours.get("required", ()))):
        yield f"{where}.{name}: not required"
    for name, shapes in theirs.properties.items():
        for shape in shapes:
            yield from looser(f"{where}.{name}", shape, ours.get("properties", {}).get(name, {}))
    for shape in theirs.items:
        yield from looser(f"{where}[]", shape, ours.get("items", {}))
    for shape in theirs.others:
        others = ours.get("additionalProperties", {})
        yield from looser(f"{where}.*", shape, others if isinstance(others, dict) else {})


def _listed(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds - {"null"}))


def ours(operation: Operation) -> dict[str, Any]:
    area, _, name = operation.name.rpartition(".")
    name = {"inviteBy3PID": "inviteUser"}.get(name, name)
    return load(f"{area or 'client'}.{name}")


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.name)
def test_requests_are_checked_as_the_specification_describes_them(operation: Operation) -> None:
    place = operation.request_schema()
    assert place is not None
    found = list(looser(operation.name, shape_of(place), ours(operation)))
    allowed = listed_in(LOOSER)
    assert not [fault for fault in found if not any(re.fullmatch(pattern, fault) for pattern in allowed)]
