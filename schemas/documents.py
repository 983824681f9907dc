"""Reading the schema files: `client/<operationId>.json`, `federation/<operationId>.json` and `definitions.json`."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).parent
_AREAS: Final = ("client", "federation")
_DEFINITIONS: Final = "../definitions.json#/$defs/"

Schema = dict[str, Any]


def names() -> tuple[str, ...]:
    """The names of all schemas, such as `client.createRoom`, in order."""
    return tuple(sorted(f"{area}.{path.stem}" for area in _AREAS for path in (_ROOT / area).glob("*.json")))


def load(name: str) -> Schema:
    """The schema of that name, complete in itself. Raises KeyError.

    Definitions are put in the place of references to them, and every property that is not required may be null, which
    counts as absent: clients in the wild send null for what they do not want to say.
    """
    area, _, operation_id = name.partition(".")
    path = _ROOT / area / f"{operation_id}.json"
    if area not in _AREAS or not operation_id.isalnum() or not path.is_file():
        raise KeyError(name)
    return _allow_null(_inline(json.loads(path.read_bytes())))


@cache
def _definitions() -> Schema:
    definitions: Schema = json.loads((_ROOT / "definitions.json").read_bytes())["$defs"]
    return definitions


def _inline(value: Any) -> Any:
    if isinstance(value, list):
        return [_inline(item) for item in value]
    if not isinstance(value, dict):
        return value
    inlined = {key: _inline(item) for key, item in value.items() if key != "$ref"}
    if "$ref" in value:
        return _inline(_definitions()[value["$ref"].removeprefix(_DEFINITIONS)]) | inlined
    return inlined


def _allow_null(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_allow_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _allow_null(item) for key, item in schema.items()}
    if isinstance(schema.get("properties"), dict):
        required = schema.get("required", ())
        result["properties"] = {
            name: item if name in required else _or_null(item) for name, item in result["properties"].items()
        }
    return result


def _or_null(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    kinds = result.get("type")
    if kinds is not None:
        kinds = kinds if isinstance(kinds, list) else [kinds]
        result["type"] = kinds if "null" in kinds else [*kinds, "null"]
    if "enum" in result:
        result["enum"] = [*result["enum"], None]
    if "anyOf" in result:
        result["anyOf"] = [*result["anyOf"], {"type": "null"}]
    return result
