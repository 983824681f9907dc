"""The endpoint tables against the specification's facts (specification_endpoints.tsv)."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from client_api.endpoints import ENDPOINTS as CLIENT_ENDPOINTS
from federation.inbound.endpoints import ENDPOINTS as FEDERATION_ENDPOINTS
from homeserver.config.account_sections import RateLimits
from homeserver.web.endpoint import Auth, Endpoint
from tests.architecture.sources import PROJECT, listed

TABLES = {"client": CLIENT_ENDPOINTS, "federation": FEDERATION_ENDPOINTS}
Fact = dict[str, str]
WHO_MAY_ANSWER = {
    "user": {Auth.USER, Auth.GUEST_OK},
    "optional": {Auth.OPTIONAL, Auth.USER, Auth.GUEST_OK},
    "federation": {Auth.FEDERATION},
    "appservice": {Auth.APPSERVICE},
    "none": set(Auth),  # what is open to all may be closed by an operator's choice
}


def facts() -> list[Fact]:
    """The specification's operations: api, method, path, operation_id, auth, rate_limited."""
    with (PROJECT / "tests/architecture/specification_endpoints.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def key(method: str, path: str) -> str:
    """Method and path, whatever the parameters are called."""
    return f"{method} {re.sub(r'{[^}]*}', '{}', path)}"


def built(api: str) -> dict[str, Endpoint]:
    """Each row of a table at each path it answers."""
    return {key(row.method, path): row for row in TABLES[api] for path in row.paths}


def built_facts() -> Iterator[tuple[Fact, Endpoint]]:
    for fact in facts():
        row = built(fact["api"]).get(key(fact["method"], fact["path"]))
        if row is not None:
            yield fact, row


def line(fact: Fact) -> str:
    return f"{fact['api']} {fact['method']} {fact['path']}"


def test_every_operation_is_built_or_listed_as_not_yet_built() -> None:
    done = {line(fact) for fact, _ in built_facts()}
    missing = sorted({line(fact) for fact in facts()} - done - set(listed("not_yet_built.txt")))
    assert not missing, "in the specification, in no table, and not in not_yet_built.txt\n" + "\n".join(missing)


def test_list_of_what_is_not_yet_built_only_shrinks() -> None:
    done = {line(fact) for fact, _ in built_facts()}
    entries = set(listed("not_yet_built.txt"))
    stale = sorted(entries & done | entries - {line(fact) for fact in facts()})
    assert not stale, "built, or unknown to the specification: take out of not_yet_built.txt\n" + "\n".join(stale)


def test_operation_ids_are_the_specifications() -> None:
    named: defaultdict[str, set[str]] = defaultdict(set)  # an invite by user id and one by e-mail address share a path
    for fact in facts():
        named[key(fact["method"], fact["path"])].add(fact["operation_id"])
    wrong = [
        f"{line(fact)}: {row.operation_id}, not {fact['operation_id']}"
        for fact, row in built_facts()
        if row.operation_id not in named[key(fact["method"], fact["path"])]
    ]
    assert not wrong, "logs, metrics and schemas go by the operation id\n" + "\n".join(wrong)


def test_nothing_is_open_that_the_specification_closes() -> None:
    wrong = [
        f"{line(fact)}: {row.auth}, not {fact['auth']}"
        for fact, row in built_facts()
        if row.auth not in WHO_MAY_ANSWER[fact["auth"]]
    ]
    assert not wrong, "who may call an operation is the specification's to say\n" + "\n".join(wrong)


def test_what_the_specification_limits_is_limited() -> None:
    wrong = [line(fact) for fact, row in built_facts() if fact["rate_limited"] == "yes" and row.limit is None]
    assert not wrong, "rate-limited: yes; give the row a limit\n" + "\n".join(wrong)


def test_parameters_are_the_specifications() -> None:
    wrong = [
        f"{line(fact)}: {row.path}"
        for fact, row in built_facts()
        if key("", row.path) == key("", fact["path"]) and row.path != fact["path"]
    ]
    assert not wrong, "one word for one thing: parameters are called as in the specification\n" + "\n".join(wrong)


@pytest.mark.parametrize("api", TABLES)
def test_what_goes_beyond_the_specification_is_listed(api: str) -> None:
    known = {key(fact["method"], fact["path"]) for fact in facts()}
    extra = {
        f"{api} {row.method} {row.path}"
        for row in TABLES[api]
        if row.path.startswith("/_matrix/") and "/unstable/" not in row.path
        if not any(key(row.method, path) in known for path in row.paths)
    }
    wrong = sorted(name for name in extra if not listed("beyond_the_specification.txt").get(name))
    assert not wrong, "unknown to the specification; beyond_the_specification.txt says not why\n" + "\n".join(wrong)


@pytest.mark.parametrize("api", TABLES)
def test_a_path_belongs_to_one_row(api: str) -> None:
    counted = Counter(key(row.method, path) for row in TABLES[api] for path in row.paths)
    assert not [name for name, count in counted.items() if count > 1]


@pytest.mark.parametrize("api", TABLES)
def test_an_operation_id_belongs_to_one_row(api: str) -> None:
    counted = Counter(row.operation_id for row in TABLES[api])
    assert not [name for name, count in counted.items() if count > 1], "another path of an operation goes in `also`"


@pytest.mark.parametrize("api", TABLES)
def test_limits_are_buckets_of_the_config(api: str) -> None:
    buckets = RateLimits().bucket_names()
    assert not [f"{row.operation_id}: {row.limit}" for row in TABLES[api] if row.limit and row.limit not in buckets]


@pytest.mark.parametrize("api", TABLES)
def test_body_schemas_exist(api: str) -> None:
    wrong = [
        f"{row.operation_id}: {row.body}"
        for row in TABLES[api]
        if row.body and not list((PROJECT / "schemas").glob(f"**/{row.body}.json"))
    ]
    assert not wrong, "a row names a schema that is not under schemas/\n" + "\n".join(wrong)
