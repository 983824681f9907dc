"""The quick answer and jsonschema's are the same, for bodies near the schemas and for anything else."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from schemas import names, validator
from schemas.acceptance import UnknownKeyword, compile_acceptance
from schemas.documents import load
from schemas.explanation import compile_explanation, first_error
from schemas.formats import FORMATS, NAMES

EXPLANATIONS = {name: compile_explanation(load(name)) for name in names()}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, "", "text", "public", "@a:x", "!r:x", "#a:x", "$e", "email", "m.room.name"]),
)
junk = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text("ab"), inner, max_size=2))
)


@st.composite
def near(draw: st.DrawFn, schema: Any) -> Any:
    """A value that mostly meets the schema."""
    if draw(st.integers(0, 11)) == 0 or not isinstance(schema, dict) or not schema:
        return draw(junk)
    if "anyOf" in schema:
        return draw(near(draw(st.sampled_from(schema["anyOf"]))))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kind = schema.get("type", "string")
    kind = draw(st.sampled_from(kind)) if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        value = {name: draw(near(item)) for name, item in properties.items() if draw(st.integers(0, 3))}
        if draw(st.booleans()):
            value[draw(st.sampled_from(["@a:x", "extra"]))] = draw(near(schema.get("additionalProperties", {})))
        return value
    if kind == "array":
        return draw(st.lists(near(schema.get("items", {})), max_size=2))
    return draw(scalars)


@pytest.mark.parametrize("name", names())
@settings(max_examples=30)
@given(data=st.data())
def test_acceptance_agrees_with_jsonschema(name: str, data: st.DataObject) -> None:
    body = data.draw(st.one_of(near(load(name)), junk))
    before = copy.deepcopy(body)
    error = first_error(EXPLANATIONS[name], body)
    assert validator(name).accepts(body) == (error is None)
    assert body == before


@pytest.mark.parametrize("path", sorted(Path(schemas.__file__).parent.glob("*/*.json")), ids=lambda path: path.stem)
def test_files_refer_to_definitions_that_exist(path: Path) -> None:
    definitions = json.loads((path.parent.parent / "definitions.json").read_text())["$defs"]

    def references(value: Any) -> list[str]:
        if isinstance(value, list):
            return [found for item in value for found in references(item)]
        if not isinstance(value, dict):
            return []
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for item in value.values() for found in references(item)]

    prefix = "../definitions.json#/$defs/"
    assert all(ref.startswith(prefix) and ref.removeprefix(prefix) in definitions for ref in references(load_raw(path)))


def load_raw(path: Path) -> Any:
    return json.loads(path.read_text())


def test_keywords_that_are_not_implemented_are_refused() -> None:
    with pytest.raises(UnknownKeyword):
        compile_acceptance({"type": "string", "contentEncoding": "base64"})


def test_boolean_schemas_accept_everything_or_nothing() -> None:
    assert compile_acceptance(True)(5)
    assert not compile_acceptance(False)(5)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("mx-user-id", ["@a:x", "@:x", "@A b!:x.example:8448", "@a:[::1]"], ["a:x", "@a", "@a:", "@a:x y", "@\0:x"]),
        ("mx-room-id", ["!r:x", "!" + "r" * 43], ["!", "r:x", "#r:x", "!" + "r" * 300]),
        ("mx-room-alias", ["#a:x", "#ä b:x"], ["#a", "a:x", "#" + "ä" * 130 + ":x"]),
        ("mx-event-id", ["$e", "$e:x"], ["$", "e"]),
        ("mx-server-name", ["x", "x.example:80", "[::1]:80", "1.2.3.4"], ["", "x:y", "x y", "x:123456"]),
        ("mx-client-secret", ["abc.=_-9"], ["", "ab c", "a" * 256]),
    ],
)
def test_formats(name: str, good: list[str], bad: list[str]) -> None:
    assert all(FORMATS[name](value) for value in good)
    assert not any(FORMATS[name](value) for value in bad)
    assert FORMATS[name](5)
    assert name in NAMES
