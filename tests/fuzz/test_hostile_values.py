"""Bodies that look right and hold what nobody should send: never a 5xx, and what was let in does no harm when read.

On both engines: what one of them cannot store (U+0000 in a text, an integer beyond 64 bits) the other may.
"""

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from client_api.endpoints import ENDPOINTS
from federation.inbound.endpoints import ENDPOINTS as FEDERATION_ENDPOINTS
from federation.outbound.failures import FederationError
from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.hashes import content_hash
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signatures import sign_event
from homeserver.web.endpoint import Endpoint
from schemas.documents import load
from tests.client_api.whole_site import SERVER_NAME, WholeSite, user
from tests.federation.hearth import Hearth
from tests.federation.test_receiving import make
from tests.federation.visited import Visited, visited_site
from tests.fuzz.requests import Attempt, Mischief
from tests.fuzz.shapes import Shapes
from tests.fuzz.templates import edus, events
from tests.fuzz.test_no_request_breaks_the_server import SEED, complaint, wanted

ALICE, BOB, CAROL = user("alice"), user("bob"), "@carol:guest.test"


@dataclass
class World:
    """A room with people of two servers in it."""

    visited: Visited
    room_id: str
    event_id: str
    device_id: str
    known: dict[str, list[str]]  # by parameter of paths
    shapes: Shapes

    @property
    def site(self) -> WholeSite:
        return self.visited.site

    async def send(self, attempt: Attempt, row: Endpoint = ENDPOINTS[0]) -> str | None:
        """What is wrong with the answer to a client's request."""
        headers = {"Content-Type": "application/json"}
        if attempt.token is not None:
            headers["Authorization"] = f"Bearer {attempt.token}"
        url = URL(self.site.url + attempt.url, encoded=True)
        async with self.site.client.request(
            attempt.method, url, data=attempt.body, headers=headers, allow_redirects=False
        ) as answer:
            return complaint(row, attempt, answer.status, await answer.read())


@pytest.fixture
async def world(database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[World]:
    caplog.set_level(logging.ERROR)
    async with visited_site(database_url, tmp_path) as visited:
        site, guest = visited.site, visited.guest
        room_id = await site.room("bob", room_alias_name="room", room_version="10")
        await guest.join("carol", room_id)
        event_id = await site.send(room_id, "something")
        device_id = str((await site.ok("GET", "/account/whoami"))["device_id"])
        alias, users = f"#room:{SERVER_NAME}", [ALICE, BOB, CAROL]
        known = {
            "roomId": [room_id], "eventId": [event_id], "userId": [ALICE, BOB], "deviceId": [device_id],
            "roomIdOrAlias": [room_id, alias], "roomAlias": [alias], "stateKey": ["", ALICE],
            "eventType": ["m.room.message", "m.room.topic", "m.room.member"], "type": ["m.direct", "m.push_rules"],
            "receiptType": ["m.read", "m.fully_read"], "kind": ["override", "content"], "txnId": ["1", "2"],
            "serverName": [SERVER_NAME], "keyName": ["displayname", "m.tz"], "tag": ["m.favourite"], "version": ["1"],
        }  # fmt: skip
        formats = {
            "mx-user-id": users, "mx-room-id": [room_id], "mx-event-id": [event_id], "mx-room-alias": [alias],
            "mx-server-name": [SERVER_NAME, guest.name],
        }  # fmt: skip
        yield World(visited, room_id, event_id, device_id, known, Shapes(SEED, formats))


def no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was logged as a failure of the server's own."""
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    failures = [f"{record.getMessage()} {record.exc_text or record.exc_info}" for record in errors]
    assert not failures, f"seed {SEED}: {failures[:5]}"


def dumped(body: Any) -> bytes:
    return json.dumps(body).encode()


def with_schema(table: tuple[Endpoint, ...], area: str) -> list[tuple[Endpoint, dict[str, Any]]]:
    """The rows that want a body, each with its schema."""
    return [
        (row, load(row.body if "." in row.body else f"{area}.{row.body}") if row.body else {"type": "object"})
        for row in table
        if row.body is not None and wanted(row)
    ]


async def read_everything(world: World) -> list[str]:
    """What is wrong with what people read afterwards."""
    room, event = quote(world.room_id), quote(world.event_id)
    body = {"lists": {"a": {"ranges": [[0, 9]], "required_state": [["*", "*"]], "timeline_limit": 50}}}
    search = {"search_categories": {"room_events": {"search_term": "something"}}}
    long = '{"room":{"timeline":{"limit":100}}}'
    reads: list[tuple[str, str, Any]] = [
        ("GET", "/_matrix/client/v3/sync", None),
        ("GET", f"/_matrix/client/v3/sync?full_state=true&filter={quote(long)}", None),
        ("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", body),
        *(("GET", f"/_matrix/client/v3/rooms/{room}/{part}", None) for part in (
            "messages?dir=b&limit=100", "state", "members", "joined_members", "aliases", "initialSync",
            f"context/{event}?limit=20", f"event/{event}",
        )),
        ("GET", f"/_matrix/client/v1/rooms/{room}/relations/{event}?limit=50", None),
        ("GET", f"/_matrix/client/v1/rooms/{room}/threads", None),
        ("GET", f"/_matrix/client/v1/rooms/{room}/hierarchy", None),
        ("GET", f"/_matrix/client/v1/room_summary/{room}", None),
        *(("GET", f"/_matrix/client/v3/{part}", None) for part in (
            "notifications", "publicRooms", "joined_rooms", "pushrules/", "devices", "pushers", f"profile/{ALICE}",
            "room_keys/version", "initialSync", "keys/changes?from=s0_0&to=s1_1", f"presence/{ALICE}/status",
        )),
        ("POST", "/_matrix/client/v3/search", search),
        ("POST", "/_matrix/client/v3/user_directory/search", {"search_term": "a"}),
        ("POST", "/_matrix/client/v3/keys/query", {"device_keys": {ALICE: [], BOB: [], CAROL: []}}),
    ]  # fmt: skip
    found = []
    for name in ("alice", "bob"):
        for method, path, content in reads:
            attempt = Attempt(method, path, None if content is None else dumped(content), world.site.tokens[name])
            found.append(await world.send(attempt))
    return [wrong for wrong in found if wrong is not None]


async def test_bodies_of_the_right_shape_do_no_harm(world: World, caplog: pytest.LogCaptureFixture) -> None:
    mischief = Mischief(SEED, world.known)
    complaints: list[str] = []
    tokens = [world.site.tokens["alice"]] * 3 + [world.site.tokens["bob"]]
    for row, schema in with_schema(ENDPOINTS, "client"):
        for number in range(8):
            body = dumped(world.shapes.body(schema))
            wrong = await world.send(Attempt(row.method, mischief.path(row), body, tokens[number % 4]), row)
            if wrong is not None:
                complaints.append(f"{row.operation_id}: {wrong}")
    complaints += await read_everything(world)
    assert not complaints, f"seed {SEED}: {len(complaints)} bad answers\n" + "\n".join(complaints[:20])
    no_failure(caplog)


async def test_hostile_events_are_refused_or_read_by_everybody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    site, room = world.site, quote(world.room_id)
    templates = events(ALICE, BOB, world.event_id, world.room_id, SERVER_NAME)
    complaints: list[str] = []
    for number in range(110):
        kind, state_key, content = templates[number % len(templates)]
        body = dumped(content if number < len(templates) else world.shapes.wrong(content))
        where = f"send/{kind}/h{number}" if state_key is None else f"state/{kind}/{quote(state_key)}"
        attempt = Attempt("PUT", f"/_matrix/client/v3/rooms/{room}/{where}", body, site.tokens["alice"])
        wrong = await world.send(attempt)
        if wrong is not None:
            complaints.append(wrong)
    complaints += await read_everything(world)
    assert not complaints, f"seed {SEED}: {len(complaints)} bad answers\n" + "\n".join(complaints[:20])
    no_failure(caplog)


async def test_hostile_servers_are_refused_or_ignored(world: World, caplog: pytest.LogCaptureFixture) -> None:
    guest, shapes = world.visited.guest, world.shapes
    known = edus(CAROL, ALICE, world.device_id, world.event_id, world.room_id)
    templates = events(CAROL, BOB, world.event_id, world.room_id, guest.name)
    for number in range(120):
        kind, content = known[number % len(known)]
        edu = {"edu_type": kind, "content": content if number < len(known) else shapes.wrong(content)}
        await said(world, f"e{number}", [], [edu])
    for number in range(60):
        kind, state_key, content = templates[number % len(templates)]
        honest = (await make(guest, world.room_id, CAROL, kind, content, state_key=state_key)).pdu
        for place, changed in (("a", {**honest, "content": shapes.wrong(content)}), ("b", shapes.wrong(honest))):
            try:
                pdu = signed(guest, changed)
            except (CanonicalJSONError, TypeError, AttributeError, KeyError):
                pdu = changed  # it cannot even be hashed
            await said(world, f"{place}{number}", [pdu], [])
    assert not await read_everything(world)
    no_failure(caplog)


def signed(server: Hearth, pdu: dict[str, Any]) -> dict[str, Any]:
    """As its server would have it: hashes and signature are right, whatever else is not."""
    version = ROOM_VERSIONS["10"]
    pdu = {**pdu, "signatures": {}}
    pdu["hashes"] = {"sha256": content_hash(pdu, version)}
    return sign_event(pdu, version, server.name, server.base.signing_key)


async def said(world: World, txn_id: str, pdus: list[Any], edus: list[Any]) -> None:
    """A transaction, if it can be signed at all."""
    content = {"origin": world.visited.guest.name, "origin_server_ts": 1, "pdus": pdus, "edus": edus}
    await asked(world, "PUT", f"/_matrix/federation/v1/send/{txn_id}", content)


async def asked(world: World, method: str, target: str, content: Any) -> None:
    """A request of the other server, which may be refused but not fail."""
    with contextlib.suppress(FederationError, ValueError):  # it could not even be signed: what failed is in the log
        await world.visited.requests.json(SERVER_NAME, method, target, content, insistent=True)


async def test_bodies_of_other_servers_do_no_harm(world: World, caplog: pytest.LogCaptureFixture) -> None:
    mischief = Mischief(SEED, {**world.known, "userId": [ALICE, CAROL]})
    for row, schema in with_schema(FEDERATION_ENDPOINTS, "federation"):
        for _ in range(15):
            await asked(world, row.method, mischief.path(row), world.shapes.body(schema))
    assert not await read_everything(world)
    no_failure(caplog)
