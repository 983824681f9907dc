"""The operations of the specification, as its OpenAPI documents describe them: read from beside the checkout."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urldefrag, urljoin

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

PROJECT = Path(__file__).parent.parent.parent
FOLDER = Path(os.environ.get("HEARTH_SPECIFICATION") or PROJECT.parent / "shared/spec").resolve()
# The endpoints for application services stand among the client-server API's; what else they have is theirs to answer.
APIS = ("client-server", "server-server")
_METHODS = ("get", "put", "post", "delete")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def document(uri: str) -> Any:
    """A YAML file, by its file: URI. The identity service's, which others refer to, are not among the data: true."""
    if "/api/identity/" in uri:
        return True
    return yaml.load(Path(unquote(uri.removeprefix("file://"))).read_bytes(), _LOADER)  # safe, whichever of the two


def _retrieve(uri: str) -> "Resource[Any]":
    return DRAFT202012.create_resource(document(uri))


_REGISTRY: "Registry[Any]" = Registry(retrieve=_retrieve)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Place:
    """A node of a document. Where it is a reference, `follow` leads to what is meant."""

    uri: str
    pointer: str

    @property
    def value(self) -> Any:
        """The node."""
        node = document(self.uri)
        for step in self.pointer.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            node = node[int(name)] if isinstance(node, list) else node[name]
        return node

    def __truediv__(self, step: str) -> "Place":
        return Place(self.uri, f"{self.pointer}/{quote(step.replace('~', '~0').replace('/', '~1'))}")

    def follow(self) -> "Place":
        """This place, or where its reference leads."""
        value = self.value
        if not (isinstance(value, dict) and "$ref" in value):
            return self
        uri, pointer = urldefrag(urljoin(self.uri, value["$ref"]))
        return Place(uri, pointer).follow()

    def validator(self) -> Draft202012Validator:
        """Of the schema that stands here."""
        return _validator(self)


@cache
def _validator(place: Place) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"{place.uri}#{place.pointer}"}, registry=_REGISTRY)


@dataclass(frozen=True)
class Operation:
    """One method at one path (with its prefix, parameters in braces)."""

    api: str
    operation_id: str
    method: str
    path: str
    place: Place

    @property
    def name(self) -> str:
        """The operation id; as in schemas/, with `federation.` before it where it is for other servers."""
        return self.operation_id if self.api == "client-server" else f"federation.{self.operation_id}"

    @property
    def value(self) -> Mapping[str, Any]:
        """Its description."""
        return self.place.value

    def response(self, status: int) -> Place | None:
        """What is said of answers with this status; None: it is not foreseen."""
        for name in (str(status), f"{status // 100}XX", "default"):
            if name in self.value["responses"]:
                return (self.place / "responses" / name).follow()
        return None

    def request_schema(self) -> Place | None:
        """The schema of a JSON body."""
        if "requestBody" not in self.value:
            return None
        return json_schema(self.place / "requestBody")


def json_schema(place: Place) -> Place | None:
    """The schema of the JSON that a response or a request body holds."""
    place = place.follow()
    if "application/json" not in place.value.get("content", {}):
        return None
    media = place / "content" / "application/json"
    return media / "schema" if "schema" in media.value else None


@cache
def operations() -> tuple[Operation, ...]:
    """All that a homeserver answers. FileNotFoundError where the specification is not there."""
    found: list[Operation] = []
    for api in APIS:
        folder = FOLDER / "api" / api
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not there: HEARTH_SPECIFICATION names the specification's folder")
        for file in sorted(folder.glob("*.yaml")):
            found.extend(_of_document(api, Place(file.as_uri(), "")))
    return tuple(found)


def _of_document(api: str, place: Place) -> Iterator[Operation]:
    content = place.value
    if "paths" not in content:
        return
    base = content["servers"][0]["variables"]["basePath"]["default"]
    for path, methods in content["paths"].items():
        for method in _METHODS:
            if method not in methods:
                continue
            full = (base.rstrip("/") + path).strip()  # one has a blank at its end, or else it would be there twice
            yield Operation(api, methods[method]["operationId"], method.upper(), full, place / "paths" / path / method)


class Paths:
    """Finds the operations at a path: two where an invite by user id and one by e-mail address share it."""

    def __init__(self) -> None:
        self._patterns: dict[str, list[tuple[re.Pattern[str], int, Operation]]] = {}
        for operation in operations():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]*", re.escape(operation.path))
            parameters = operation.path.count("{")
            self._patterns.setdefault(operation.method, []).append((re.compile(pattern), parameters, operation))

    def find(self, method: str, path: str) -> list[Operation]:
        """The operations at a path without its query; those with the fewest parameters where several match."""
        matches = [
            (count, op) for pattern, count, op in self._patterns.get(method, ()) if pattern.fullmatch(path) is not None
        ]
        fewest = min((count for count, _ in matches), default=0)
        return [op for count, op in matches if count == fewest]
