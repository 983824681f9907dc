"""Whatever is sent to whichever endpoint, the answer is a 4xx with an error code and a sentence, never a 5xx."""

import io
import json
import os
import random
from pathlib import Path

import aiohttp
import yarl

from client_api.endpoints import ENDPOINTS
from federation.inbound.endpoints import ENDPOINTS as FEDERATION_ENDPOINTS
from homeserver.web.endpoint import Auth, Endpoint
from tests.fuzz.requests import Attempt, Mischief
from tests.servers.fixtures import NewUser, StartServer
from tests.servers.homeserver import Homeserver

SEED = int(os.environ.get("HEARTH_FUZZ_SEED") or random.SystemRandom().randrange(2**32))
# These end the session that the test goes on with.
_ENDS_THE_SESSION = {"logout", "logout_all", "deactivateAccount", "deleteDevice", "deleteDevices", "changePassword"}
# Statuses that the specification gives to requests that were well formed: another server could not be reached.
_HONEST = {502, 504}
_ERRCODES = ("M_", "ORG.MATRIX.MSC", "IO.ELEMENT.MSC")
# People look at these: what is wrong is said in a page.
_PAGES = {"authFallback", "authFallbackPage", "redirectToSSO", "redirectToIdP", "unsubscribe", "unsubscribePage"}


def wanted(endpoint: Endpoint) -> bool:
    return endpoint.operation_id not in _ENDS_THE_SESSION


async def sent(http: aiohttp.ClientSession, server: Homeserver, attempt: Attempt) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"}
    if attempt.token is not None:
        headers["Authorization"] = f"Bearer {attempt.token}"
    url = yarl.URL(server.url + attempt.url, encoded=True)
    async with http.request(attempt.method, url, data=attempt.body, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.read()


def complaint(endpoint: Endpoint, attempt: Attempt, status: int, content: bytes) -> str | None:
    """What is wrong with the answer, None where nothing is."""
    what = f"{attempt.method} {attempt.url} {(attempt.body or b'')[:300]!r} → {status} {content[:300]!r}"
    if status >= 500 and status not in _HONEST:
        return what
    if endpoint.operation_id in _PAGES and content.startswith(b"<!doctype html>"):
        return None
    if status >= 400:
        try:
            body = json.loads(content)
        except ValueError:
            return what
        if "flows" not in body and not (body.get("errcode", "").startswith(_ERRCODES) and body.get("error")):
            return what
    return None


async def test_no_request_breaks_the_server(start_server: StartServer, new_user: NewUser, tmp_path: Path) -> None:
    impatient = tmp_path / "impatient.yaml"
    impatient.write_text("limits: {sync_timeout: 1}")  # whatever the request says
    server = await start_server("fuzzed", HS_EXTRA_CONFIG=str(impatient))
    alice, bob = await new_user(server, "alice"), await new_user(server, "bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="room")
    await bob.join(room_id)
    event_id = await alice.send(room_id, "something")
    known = {
        "roomId": [room_id], "eventId": [event_id],
        "userId": [alice.user_id, bob.user_id], "deviceId": [alice.device_id],
        "roomIdOrAlias": [room_id, f"#room:{server.name}"], "roomAlias": [f"#room:{server.name}"],
        "eventType": ["m.room.message", "m.room.topic", "m.room.member"], "stateKey": ["", alice.user_id],
        "type": ["m.direct"], "receiptType": ["m.read"], "kind": ["override", "content"], "txnId": ["1", "2"],
        "serverName": [server.name], "keyName": ["displayname"], "mediaId": ["abcdefgh"], "tag": ["m.favourite"],
    }  # fmt: skip
    mischief = Mischief(SEED, known)
    complaints: list[str] = []
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        for endpoint in (*ENDPOINTS, *FEDERATION_ENDPOINTS):
            if not wanted(endpoint):
                continue
            tokens = [None, "nonsense", alice.token, bob.token, alice.token, bob.token]
            if endpoint.auth in (Auth.NONE, Auth.FEDERATION):
                tokens = [None]
            for attempt in mischief.attempts(endpoint, tokens, lambda body: json.dumps(body).encode()):
                status, content = await sent(http, server, attempt)
                found = complaint(endpoint, attempt, status, content)
                if found is not None:
                    complaints.append(f"{endpoint.operation_id}: {found}")
    assert not complaints, f"seed {SEED}: {len(complaints)} bad answers\n" + "\n".join(complaints[:40])
    # It goes on working, and nothing of it was logged as a failure of the server's own.
    await alice.send(await alice.create_room(), "still here")
    assert "Traceback" not in server.log, server.log[-6000:]


async def test_a_body_over_the_limit_is_refused(start_server: StartServer, new_user: NewUser) -> None:
    server = await start_server("limited")
    alice = await new_user(server, "alice")
    room_id = await alice.create_room()
    headers = {"Authorization": f"Bearer {alice.token}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        url = f"{server.url}/_matrix/client/v3/rooms/{room_id}/send/m.room.message/1"
        for size in (70_000, 3_000_000):  # more than an event may hold, more than a request may
            body = io.BytesIO(json.dumps({"msgtype": "m.text", "body": "x", "more": "x" * size}).encode())
            async with http.put(url, data=body) as answer:
                assert (answer.status, (await answer.json())["errcode"]) == (413, "M_TOO_LARGE")
