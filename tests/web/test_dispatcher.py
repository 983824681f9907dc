"""Claims about what happens to a request before and after its handler."""

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest

from homeserver import errors
from homeserver.config.account_sections import RateLimit, RateLimits
from homeserver.config.server_sections import Limits
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.telemetry import Telemetry, add_db_ms
from homeserver.web.dispatcher import Dispatcher
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.rate_limits import RateLimiter
from homeserver.web.request import Request
from tests.web.conftest import MakeSite

C = "/_matrix/client/v3"


async def echo(request: Request) -> dict[str, Any]:
    """What the handler was given."""
    requester = request.requester
    return {
        "body": request.body,
        "path": request.path,
        "query": dict(request.query.pairs()),
        "user": requester and requester.user_id,
        "origin": request.origin,
        "ip": request.client_ip,
    }


def row(method: str, path: str, handler: Any = echo, **more: Any) -> Endpoint:
    return Endpoint(more.pop("id", "op"), method, path, handler, **{"auth": Auth.NONE, **more})


async def test_handler_gets_its_parameters_and_its_json_comes_back(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", C + "/rooms/{roomId}/name", body="")])
    status, body, headers = await site.ask("PUT", C + "/rooms/%21a%3Ab/name?x=1&y=%20", json={"n": [1]})
    assert status == 200
    assert body["path"] == {"roomId": "!a:b"}
    assert body["body"] == {"n": [1]}
    assert body["query"] == {"x": "1", "y": " "}
    assert body["ip"] == "127.0.0.1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Date"].endswith("GMT")


async def test_older_prefixes_answer_too(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/thing"), row("GET", "/_matrix/media/v3/thing", id="other")])
    for path in ("r0/thing", "api/v1/thing", "v3/thing"):
        assert (await site.ask("GET", f"/_matrix/client/{path}"))[0] == 200
    for path in ("r0/thing", "v1/thing"):
        assert (await site.ask("GET", f"/_matrix/media/{path}"))[0] == 200


async def test_path_of_also_that_leaves_a_parameter_out_gives_it_empty(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/state/{type}/{key}", also=(C + "/state/{type}",))])
    assert (await site.ask("GET", C + "/state/m.room.name"))[1]["path"] == {"type": "m.room.name", "key": ""}


async def test_unknown_paths_and_methods_are_unrecognized(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/thing")])
    status, body, _ = await site.ask("GET", C + "/other")
    assert (status, body["errcode"]) == (404, "M_UNRECOGNIZED")
    status, body, _ = await site.ask("POST", C + "/thing")
    assert (status, body["errcode"]) == (405, "M_UNRECOGNIZED")


async def test_browsers_may_ask_from_anywhere(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/thing")])
    status, body, headers = await site.ask("OPTIONS", C + "/whatever")
    assert (status, body) == (200, b"")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    for path in ("/thing", "/missing"):
        assert (await site.ask("GET", C + path))[2]["Access-Control-Allow-Origin"] == "*"


async def test_federation_answers_carry_no_cors_headers(make_site: MakeSite) -> None:
    site = await make_site([row("GET", "/_matrix/federation/v1/version")])
    assert "Access-Control-Allow-Origin" not in (await site.ask("GET", "/_matrix/federation/v1/version"))[2]


async def test_head_has_the_headers_of_get_and_no_body(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/thing")])
    _, body, _ = await site.ask("GET", C + "/thing")
    status, nothing, headers = await site.ask("HEAD", C + "/thing")
    assert (status, nothing) == (200, b"")
    assert int(headers["Content-Length"]) == len(json.dumps(body, separators=(",", ":")))


BAD_BODIES = [
    (b"", "M_NOT_JSON"),
    (b"{", "M_NOT_JSON"),
    (b"\xff\xfe{}", "M_NOT_JSON"),
    (b'{"a": "\xc3"}', "M_NOT_JSON"),
    (b'{"a": "\x00"}', "M_NOT_JSON"),
    (b'{"a": "\\ud800"}', "M_NOT_JSON"),
    (b'{"a": NaN}', "M_NOT_JSON"),
    (b"[]", "M_BAD_JSON"),
    (b'"text"', "M_BAD_JSON"),
    (b"null", "M_BAD_JSON"),
    (b'{"a": "\\u0000"}', "M_BAD_JSON"),
    (b'{"a": {"b\\u0000": 1}}', "M_BAD_JSON"),
    (b'{"a":' * 300 + b"1" + b"}" * 300, "M_BAD_JSON"),
    (b"[" * 5000, "M_NOT_JSON"),
]


@pytest.mark.parametrize(("body", "errcode"), BAD_BODIES)
async def test_body_that_is_no_good_json_is_refused_with_400(make_site: MakeSite, body: bytes, errcode: str) -> None:
    site = await make_site([row("PUT", C + "/thing", body="")])
    status, answer, _ = await site.ask("PUT", C + "/thing", data=body)
    assert (status, answer["errcode"]) == (400, errcode)


@pytest.mark.parametrize("path", [C + "/thing", "/_matrix/federation/v1/thing"])
async def test_event_content_may_hold_nul_and_nothing_else(make_site: MakeSite, path: str) -> None:
    site = await make_site([row("PUT", path, body="", any_text=True), row("POST", path, body="")])
    assert (await site.ask("PUT", path, data=b'{"a": "\\u0000"}'))[1]["body"] == {"a": "\0"}
    assert (await site.ask("POST", path, data=b'{"a": "\\u0000"}'))[1]["errcode"] == "M_BAD_JSON"


async def test_post_without_a_body_is_an_empty_object(make_site: MakeSite) -> None:
    site = await make_site([row("POST", C + "/thing", body="")])
    assert (await site.ask("POST", C + "/thing"))[1]["body"] == {}


async def test_body_that_nobody_wants_is_not_looked_at(make_site: MakeSite) -> None:
    site = await make_site([row("POST", C + "/thing")])
    assert (await site.ask("POST", C + "/thing", data=b"not json"))[0] == 200


async def test_schema_decides_between_missing_and_wrong(make_site: MakeSite) -> None:
    site = await make_site([row("POST", C + "/createRoom", body="createRoom")])
    assert (await site.ask("POST", C + "/createRoom", json={"name": "x"}))[0] == 200
    status, body, _ = await site.ask("POST", C + "/createRoom", json={"name": 5})
    assert (status, body["errcode"]) == (400, "M_BAD_JSON")
    assert "name" in body["error"]


async def test_array_rows_take_arrays_only(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", C + "/thing", body="", array=True)])
    assert (await site.ask("PUT", C + "/thing", json=[1]))[1]["body"] == [1]
    assert (await site.ask("PUT", C + "/thing", json={}))[1]["errcode"] == "M_BAD_JSON"


async def test_body_over_the_limit_is_too_large_whether_its_length_was_said_or_not(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", C + "/thing", body="")], limits=Limits(client_body=1000, stop_grace=0.2))
    large = b'{"a":"' + b"x" * 2000 + b'"}'

    async def pieces() -> Any:
        for start in range(0, len(large), 300):
            yield large[start : start + 300]

    for data in (large, pieces()):
        status, body, _ = await site.ask("PUT", C + "/thing", data=data)
        assert (status, body["errcode"]) == (413, "M_TOO_LARGE")
    assert (await site.ask("PUT", C + "/thing", data=b"{}"))[0] == 200


async def test_compressed_bodies_are_read(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", C + "/thing", body="")])
    text = b'{"a": "b"}'
    for encoding, packed in (("gzip", gzip.compress(text)), ("deflate", zlib.compress(text))):
        _, body, _ = await site.ask("PUT", C + "/thing", data=packed, headers={"Content-Encoding": encoding})
        assert body["body"] == {"a": "b"}


async def test_small_body_that_unpacks_into_a_huge_one_is_too_large(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", C + "/thing", body="")], limits=Limits(client_body=100_000, stop_grace=0.2))
    bomb = gzip.compress(b'{"a":"' + b"x" * 20_000_000 + b'"}')
    assert len(bomb) < 100_000
    status, body, _ = await site.ask("PUT", C + "/thing", data=bomb, headers={"Content-Encoding": "gzip"})
    assert (status, body["errcode"]) == (413, "M_TOO_LARGE")


async def test_body_that_is_not_packed_as_it_says_is_refused(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", C + "/thing", body="")])
    status, *_ = await site.ask("PUT", C + "/thing", data=b"plain text", headers={"Content-Encoding": "gzip"})
    assert status == 400


async def test_tokens_are_taken_from_the_header_and_from_the_query(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/me", auth=Auth.USER)])
    assert (await site.ask("GET", C + "/me", token="alice"))[1]["user"] == "@alice:test"
    assert (await site.ask("GET", C + "/me?access_token=alice"))[1]["user"] == "@alice:test"
    assert len(site.sessions.lookups) == 1, "the second time, the token was cached"


async def test_missing_and_unknown_tokens_are_401(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/me", auth=Auth.USER)])
    status, body, _ = await site.ask("GET", C + "/me")
    assert (status, body["errcode"]) == (401, "M_MISSING_TOKEN")
    status, body, _ = await site.ask("GET", C + "/me", token="stranger")
    assert (status, body["errcode"], body["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", False)


async def test_guests_are_let_in_only_where_the_row_says_so(make_site: MakeSite) -> None:
    site = await make_site(
        [row("GET", C + "/users", auth=Auth.USER), row("GET", C + "/guests", auth=Auth.GUEST_OK, id="b")]
    )
    status, body, _ = await site.ask("GET", C + "/users", token="guest")
    assert (status, body["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert (await site.ask("GET", C + "/guests", token="guest"))[0] == 200


async def test_optional_auth_takes_no_token_but_no_wrong_one(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/x", auth=Auth.OPTIONAL)])
    assert (await site.ask("GET", C + "/x"))[1]["user"] is None
    assert (await site.ask("GET", C + "/x", token="alice"))[1]["user"] == "@alice:test"
    assert (await site.ask("GET", C + "/x", token="stranger"))[0] == 401


async def test_application_service_says_whom_it_acts_for(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/me", auth=Auth.USER)])
    path = C + "/me?user_id=%40ghost%3Atest&device_id=D1"
    assert (await site.ask("GET", path, token="bridge"))[1]["user"] == "@ghost:test"
    assert site.sessions.lookups == [("bridge", "@ghost:test", "D1")]


async def test_only_application_services_reach_their_endpoints(make_site: MakeSite) -> None:
    site = await make_site([row("POST", C + "/ping", auth=Auth.APPSERVICE)])
    assert (await site.ask("POST", C + "/ping", token="alice"))[0] == 403
    assert (await site.ask("POST", C + "/ping", token="bridge"))[0] == 200


async def test_who_is_no_administrator_is_refused_before_the_body_is_read(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", C + "/rule", auth=Auth.ADMIN, body="")])
    status, body, _ = await site.ask("PUT", C + "/rule", token="alice", data=b"{not json")
    assert (status, body["errcode"]) == (403, "M_FORBIDDEN")
    assert (await site.ask("PUT", C + "/rule", token="admin", json={}))[0] == 200


async def test_signature_is_verified_over_uri_and_body_before_the_handler(make_site: MakeSite) -> None:
    path = "/_matrix/federation/v1/send/{txn}"
    site = await make_site([row("PUT", path, auth=Auth.FEDERATION, body="")])
    url = "/_matrix/federation/v1/send/1%2F2?a=b"
    status, body, _ = await site.ask("PUT", url, json={})
    assert (status, body["errcode"]) == (401, "M_UNAUTHORIZED")
    _, body, _ = await site.ask("PUT", url, json={}, headers={"Authorization": "X-Matrix good"})
    assert body["origin"] == f"signed.test/PUT{url}/True"


async def test_integers_of_any_size_in_federation_bodies_are_exact(make_site: MakeSite) -> None:
    site = await make_site([row("PUT", "/_matrix/federation/v1/x", body="")])
    huge = 10**30
    assert (await site.ask("PUT", "/_matrix/federation/v1/x", json={"n": huge}))[1]["body"] == {"n": huge}


async def test_rate_limit_answers_429_with_the_time_to_wait(make_site: MakeSite) -> None:
    limits = RateLimits(message=RateLimit(0.4, 1))
    site = await make_site([row("PUT", C + "/x", auth=Auth.USER, limit="message")], rate_limits=limits)
    assert (await site.ask("PUT", C + "/x", token="alice"))[0] == 200
    status, body, headers = await site.ask("PUT", C + "/x", token="alice")
    assert (status, body["errcode"], body["retry_after_ms"]) == (429, "M_LIMIT_EXCEEDED", 2501)
    assert headers["Retry-After"] == "3"
    for _ in range(3):
        assert (await site.ask("PUT", C + "/x", token="bridge"))[0] == 200, "an application service may be exempt"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Forbidden("no"), 403),
        (errors.NotFound(), 404),
        (errors.UserInUse(), 400),
        (errors.IncompatibleRoomVersion(room_version="9"), 400),
        (errors.CannotOverwriteMedia(), 409),
        (errors.NotYetUploaded(), 504),
        (errors.RemoteTooLarge(), 502),
        (errors.WrongRoomKeysVersion(current_version="2"), 403),
    ],
)
async def test_errors_have_the_status_and_the_fields_of_their_class(
    make_site: MakeSite, error: errors.MatrixError, status: int
) -> None:
    async def fail(_: Request) -> None:
        raise error

    site = await make_site([row("GET", C + "/x", fail)])
    answer = await site.ask("GET", C + "/x")
    assert answer[0] == status
    assert answer[1] == {"errcode": error.errcode, "error": error.message, **error.extra}


async def test_interactive_authentication_answers_its_flows_with_401(make_site: MakeSite) -> None:
    async def fail(_: Request) -> None:
        raise errors.InteractiveAuthRequired({"session": "s", "flows": [], "params": {}})

    site = await make_site([row("POST", C + "/x", fail, uia=True)])
    assert (await site.ask("POST", C + "/x"))[:2] == (401, {"session": "s", "flows": [], "params": {}})


async def test_unforeseen_failure_is_500_logged_with_its_id_and_without_the_body(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Request) -> None:
        raise LookupError("boom")

    site = await make_site([row("PUT", C + "/x", fail, body="")])
    status, body, _ = await site.ask("PUT", C + "/x", json={"secret": "hunter2"})
    assert (status, body["errcode"]) == (500, "M_UNKNOWN")
    assert "boom" not in body["error"]
    assert "boom" in caplog.text
    request_id = body["error"].split("request ")[1].rstrip(")")
    assert f"request {request_id} (op) failed" in caplog.text
    assert "hunter2" not in caplog.text


async def test_core_errors_are_the_clients_fault(make_site: MakeSite) -> None:
    from homeserver.core.identifiers import server_name_of

    async def fail(_: Request) -> dict[str, str]:
        return {"name": server_name_of("nonsense")}

    site = await make_site([row("GET", C + "/x", fail)])
    status, body, _ = await site.ask("GET", C + "/x")
    assert (status, body["errcode"]) == (400, "M_INVALID_PARAM")


async def test_each_request_has_a_line_with_its_user_and_database_time(make_site: MakeSite) -> None:
    async def work(_: Request) -> dict[str, Any]:
        await asyncio.gather(*(asyncio.create_task(query()) for _ in range(2)))
        return {}

    async def query() -> None:
        add_db_ms(1.25)

    site = await make_site([row("GET", C + "/x", work, auth=Auth.USER, id="doIt")])
    await site.ask("GET", C + "/x?access_token=alice")
    await site.ask("GET", C + "/nowhere?access_token=alice")
    assert "op=doIt user=@alice:test status=200 ms=0.00 db_ms=2.50" in site.lines[0]
    assert "op=unrecognized user=- status=404" in site.lines[1]
    assert site.lines[1].endswith(f"note={C}/nowhere")
    assert "access_token" not in "".join(site.lines)


async def test_requests_are_counted_by_operation_and_status(make_site: MakeSite) -> None:
    site = await make_site([row("GET", C + "/x", id="doIt")])
    for _ in range(3):
        await site.ask("GET", C + "/x")
    _, text, _ = await site.ask("GET", "/metrics")
    assert b'hearth_requests_total{operation="doIt",status="200"} 3' in text
    assert b'hearth_request_seconds_count{operation="doIt"} 3' in text


def build(endpoint: Endpoint, instances: list[object]) -> Dispatcher:
    telemetry = Telemetry(FrozenClock())
    limiter = RateLimiter(RateLimits(), telemetry.clock)
    return Dispatcher([endpoint], instances, None, None, limiter, telemetry)  # type: ignore[arg-type]


class Handlers:
    async def answer(self, _: Request) -> dict[str, Any]:
        return {"me": id(self)}


async def test_row_is_bound_to_the_instance_of_its_class(make_site: MakeSite) -> None:
    handlers = Handlers()
    site = await make_site([row("GET", C + "/x", Handlers.answer)], [object(), handlers])
    assert (await site.ask("GET", C + "/x"))[1] == {"me": id(handlers)}


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (row("GET", C + "/x", Handlers.answer), "no instance of Handlers"),
        (row("GET", C + "/x", limit="coffee"), "no rate limit called 'coffee'"),
        (row("GET", C + "/x", body="brewCoffee"), "no schema called 'client.brewCoffee'"),
    ],
)
def test_row_that_cannot_work_is_found_at_the_start(endpoint: Endpoint, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(endpoint, [])
