"""Pinging application services."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pytest

from homeserver.errors import BadStatus, ConnectionFailed, ConnectionTimeout, Forbidden, MatrixError, UrlNotSet
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.http_client import HttpAnswer, HttpFailure
from homeserver.services.appservice_ping import AppservicePing
from homeserver.services.appservices import Appservice, read_registration

TEXT = "{id: irc, url: 'http://irc.test', as_token: a, hs_token: secret, sender_localpart: ircbot, namespaces: {}}"


@pytest.fixture
def irc() -> Appservice:
    return read_registration(TEXT, "hearth.test")


@dataclass
class FakeHttp:
    """Takes a quarter of a second to answer."""

    clock: FrozenClock
    status: int | Exception = 200
    asked: tuple[str, str, bytes, str | None] | None = None

    async def send(
        self,
        method: str,
        url: str,
        body: bytes,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        max_bytes: int = 65_536,
    ) -> HttpAnswer:
        self.asked = (method, url, body, token)
        self.clock.advance(0.25)
        if isinstance(self.status, Exception):
            raise self.status
        return HttpAnswer(self.status, b"no")


async def test_ping_tells_how_long_it_took(irc: Appservice) -> None:
    http = FakeHttp(clock := FrozenClock())
    assert await AppservicePing(http, clock).ping(irc, "irc", "meow") == 250  # type: ignore[arg-type]
    assert http.asked is not None
    method, url, body, token = http.asked
    assert (method, url, token) == ("POST", "http://irc.test/_matrix/app/v1/ping", "secret")
    assert orjson.loads(body) == {"transaction_id": "meow"}


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        (403, BadStatus),
        (HttpFailure("x"), ConnectionFailed),
        (HttpFailure("x", is_timeout=True), ConnectionTimeout),
    ],
)
async def test_failed_ping_says_why(irc: Appservice, fault: int | Exception, refusal: type[MatrixError]) -> None:
    clock = FrozenClock()
    with pytest.raises(refusal):
        await AppservicePing(FakeHttp(clock, fault), clock).ping(irc, "irc", None)  # type: ignore[arg-type]


async def test_ping_is_for_oneself_only(irc: Appservice) -> None:
    clock = FrozenClock()
    with pytest.raises(Forbidden):
        await AppservicePing(FakeHttp(clock), clock).ping(irc, "other", None)  # type: ignore[arg-type]


async def test_ping_needs_a_url() -> None:
    clock, silent = FrozenClock(), read_registration(TEXT.replace("'http://irc.test'", "null"), "hearth.test")
    with pytest.raises(UrlNotSet):
        await AppservicePing(FakeHttp(clock), clock).ping(silent, "irc", None)  # type: ignore[arg-type]
