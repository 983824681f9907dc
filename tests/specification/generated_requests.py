"""Sends a running server the requests that schemathesis makes of the specification, and judges the answers.

Run by test_generated_requests.py, in an environment of its own: what is known of the server comes as JSON on standard
input.
Prints each complaint once with the request that brought it about; the exit status says whether there were any.
"""

import contextlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core import NotSet
from schemathesis.core.result import Err
from schemathesis.generation.modes import GenerationMode

from tests.specification.answers import Answer, error_faults, faults
from tests.specification.exceptions import listed_in
from tests.specification.operations import PROJECT, Operation, operations

EXAMPLES = int(os.environ.get("HEARTH_EXAMPLES") or 16)  # of each operation: two thirds as described, one third not
SEED = int(os.environ.get("HEARTH_FUZZ_SEED") or time.time_ns() % 2**32)
SECONDS = float(os.environ.get("HEARTH_SECONDS") or 200)
# Requests that end what the others go on with have people of their own: by operation, the names of their tokens.
_OWN_PEOPLE = {
    "logout": "leaver1", "logout_all": "leaver2", "deactivateAccount": "leaver3", "deleteDevice": "leaver4",
    "deleteDevices": "leaver5", "changePassword": "leaver6",
}  # fmt: skip
_ADMINISTERED = re.compile(r"\w+Admin(Lock|Suspend)User")
# Tried in this order, so that the later ones take from the earlier ones nothing that these need.
_ENDS_SOMETHING = re.compile(r"leave|forget|kick|ban|delete|logout|deactivate|upgrade|changePassword", re.IGNORECASE)
# Properties of bodies that are identifiers wherever they stand.
_IDENTIFIERS = {"user_id", "room_id", "event_id", "device_id", "server_name", "room_alias", "timeout"}
_HONEST = {502, 504}  # another server could not be reached
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class Known:
    """What exists on the server. `values`: by the name of the parameter or property."""

    urls: dict[str, str]  # by API
    tokens: dict[str, str]  # by person
    passwords: dict[str, dict[str, Any]]  # what proves a person in user-interactive authentication
    values: dict[str, list[Any]]


class Sender:
    """Completes what was generated with what exists, sends it, and notes complaints."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._http = requests.Session()
        self._allowed = listed_in(PROJECT / "tests/specification/exceptions.txt")
        self.complaints: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()
        self.succeeded: set[str] = set()

    def send(self, operation: Operation, case: Any, data: Any) -> None:
        """One request."""
        person = self._person(operation, data)
        path = self._path(operation, case, data)
        headers = {name: value for name, value in dict(case.headers or {}).items() if _is_sendable(name, value)}
        headers.pop("Authorization", None)
        if person is not None:
            headers["Authorization"] = f"Bearer {self._known.tokens[person]}"
        query = {name: self._replaced(name, value, data) for name, value in dict(case.query or {}).items()}
        body = self._body(operation, case, person, data)
        if isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
        url = self._known.urls[operation.api] + path
        try:
            response = self._http.request(
                operation.method,
                url,
                params=_text(query),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=30,
            )
        except (requests.exceptions.InvalidHeader, UnicodeEncodeError, ValueError):
            return  # the library will not send it
        self._judge(operation, response, body)

    def _person(self, operation: Operation, data: Any) -> str | None:
        if operation.api != "client-server":
            return None
        own = _OWN_PEOPLE.get(operation.operation_id)
        if own is not None:
            return own
        if _ADMINISTERED.fullmatch(operation.operation_id):
            return "admin"
        if operation.operation_id == "pingAppservice":
            return "bridge"
        return data.draw(st.sampled_from(["alice", "alice", "alice", "alice", "bob", "bob", "guest", "bridge", None]))

    def _path(self, operation: Operation, case: Any, data: Any) -> str:
        def parameter(match: re.Match[str]) -> str:
            made = unquote(str((case.path_parameters or {}).get(match[1], "x")))
            if match[1] == "userId" and _ADMINISTERED.fullmatch(operation.operation_id):
                return quote(self._known.values["administered"][0])  # none of those whom the others act as
            name = "guests" if match[1] == "userId" and operation.api == "server-server" else match[1]
            return quote(str(self._replaced(name, made, data)), safe="") or "%20"

        return re.sub(r"\{(\w+)\}", parameter, operation.path)

    def _replaced(self, name: str, made: Any, data: Any) -> Any:
        """What exists, mostly, rather than what was made."""
        if name.endswith("timeout") or name == "timeout_ms":
            return 0 if isinstance(made, int | float) else made
        pool = self._known.values.get(name)
        return data.draw(st.sampled_from(pool)) if pool and data.draw(st.integers(0, 9)) < 8 else made

    def _body(self, operation: Operation, case: Any, person: str | None, data: Any) -> bytes | None:
        body = case.body
        if isinstance(body, NotSet):
            return None
        if isinstance(body, bytes | str):
            return body if isinstance(body, bytes) else body.encode(errors="surrogatepass")
        body = self._completed(body, data)
        if isinstance(body, dict) and person in self._known.passwords and data.draw(st.booleans()):
            body = {**body, "auth": self._known.passwords[person]}
        return json.dumps(body).encode()

    def _completed(self, value: Any, data: Any) -> Any:
        if isinstance(value, list):
            return [self._completed(item, data) for item in value]
        if not isinstance(value, dict):
            return value
        pairs = ((self._key(key, data), item) for key, item in value.items())
        return {
            key: self._replaced(key, item, data) if key in _IDENTIFIERS else self._completed(item, data)
            for key, item in pairs
        }

    def _key(self, key: str, data: Any) -> str:
        """Identifiers are the keys of some objects."""
        pool = {"@": "user_id", "!": "room_id", "$": "event_id"}.get(key[:1])
        return str(self._replaced(pool, key, data)) if pool and len(key) > 1 else key

    def _judge(self, operation: Operation, response: requests.Response, body: bytes | None) -> None:
        self.statuses[response.status_code] += 1
        if response.status_code < 400:
            self.succeeded.add(operation.name)
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        content = response.content if kind == "application/json" else None
        headers = {name.lower(): value for name, value in response.headers.items()}
        answer = Answer(response.status_code, kind, headers, content)
        found = [*error_faults(answer), *faults([operation], answer)]
        if response.status_code >= 500 and response.status_code not in _HONEST:
            found.append(f"the server failed: {response.text[:200]}")
        for fault in found:
            complaint = f"{operation.name} {response.status_code} {fault}"
            if complaint in self.complaints or any(re.fullmatch(pattern, complaint) for pattern in self._allowed):
                continue
            target = urlsplit(response.request.url or "")
            asked = f"{operation.method} {target.path}?{target.query} {(body or b'')[:1000]!r}"
            self.complaints[complaint] = f"{asked}\n    → {response.text[:1000]}"


def _is_sendable(name: str, value: Any) -> bool:
    return bool(_TOKEN.fullmatch(name)) and isinstance(value, str) and value.isascii() and value.isprintable()


def _text(query: dict[str, Any]) -> list[tuple[str, str]]:
    """As it goes into a URL."""
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        for item in value if isinstance(value, list) else [value]:
            text = item if isinstance(item, str) else json.dumps(item)
            pairs.append((name, text.encode(errors="replace").decode()))
    return pairs


def generated() -> Iterator[tuple[Operation, Any]]:
    """Every operation, with schemathesis' view of it."""
    by_place = {(operation.place.uri, operation.place.pointer): operation for operation in operations()}
    for uri in dict.fromkeys(operation.place.uri for operation in operations()):
        schema = schemathesis.openapi.from_path(uri.removeprefix("file://"))
        for result in schema.get_all_operations():
            if isinstance(result, Err):  # a schema of the identity service, which is not among the data
                print(f"({' '.join(str(result.err()).split())})")
                continue
            made = result.ok()
            for (place, _), operation in by_place.items():
                same = operation.value["operationId"] == made.definition.raw.get("operationId")
                if place == uri and same and operation.method.lower() == made.method:
                    yield operation, made


def _turn(operation: Operation) -> int:
    """Reading comes first, then writing, then what ends things."""
    if _ENDS_SOMETHING.search(operation.operation_id):
        return 2
    return 0 if operation.method == "GET" else 1


def try_operation(sender: Sender, operation: Operation, made: Any, latest: float) -> None:
    """A number of requests, unless the time is over."""
    for mode, examples in ((GenerationMode.POSITIVE, EXAMPLES * 2 // 3), (GenerationMode.NEGATIVE, EXAMPLES // 3)):

        @seed(SEED)
        @settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )  # fmt: skip
        @given(case=made.as_strategy(generation_mode=mode), data=st.data())
        def attempt(case: Any, data: Any) -> None:
            if time.monotonic() < latest:
                sender.send(operation, case, data)

        with contextlib.suppress(Unsatisfiable):  # there is nothing that could be wrong with a request
            attempt()


def main() -> int:
    known = Known(**json.load(sys.stdin))
    for name, values in (("mx-user-id", "user_id"), ("mx-room-id", "room_id"), ("mx-event-id", "event_id")):
        schemathesis.openapi.format(name, st.sampled_from(known.values[values]))
    sender = Sender(known)
    begin = time.monotonic()
    count = 0
    for operation, made in sorted(generated(), key=lambda pair: _turn(pair[0])):
        count += 1
        try_operation(sender, operation, made, begin + SECONDS)
    for complaint, shown in sorted(sender.complaints.items()):
        print(f"{complaint}\n    {shown}")
    refused = {operation.name for operation in operations()} - sender.succeeded
    print(f"never with success: {', '.join(sorted(refused))}")
    sent = sum(sender.statuses.values())
    print(
        f"seed {SEED}: {sent} requests to {count} operations in {time.monotonic() - begin:.0f} s, "
        f"{len(sender.succeeded)} of them with success; {dict(sorted(sender.statuses.items()))}; "
        f"{len(sender.complaints)} complaints"
    )
    if time.monotonic() > begin + SECONDS:
        print("The time was over before everything was tried: HEARTH_SECONDS or HEARTH_EXAMPLES say how much there is.")
    return 1 if sender.complaints or sent == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
