"""Bridged networks, asked of application services that are a table of answers."""

from typing import Any

import orjson
import pytest

from homeserver.errors import NotFound
from homeserver.runtime.http_client import HttpAnswer, HttpFailure
from homeserver.services.appservices import Appservices, read_registration
from homeserver.services.third_party_networks import ThirdPartyNetworks

REGISTRATION = """
id: {id}
url: {url}
as_token: as-{id}
hs_token: hs-{id}
sender_localpart: {id}
namespaces: {{}}
protocols: {protocols}
"""
IRC, OTHER = "http://irc.test", "http://other.test"
BASE = "/_matrix/app/v1/thirdparty/"


class Bridges:
    """URL → answer; everything else is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.tokens: dict[str, str | None] = {}

    async def send(self, method: str, url: str, body: bytes, *, token: str | None = None, **_: Any) -> HttpAnswer:
        assert (method, body) == ("GET", b"")
        self.tokens[url] = token
        answer = self.answers.get(url)
        if isinstance(answer, HttpFailure):
            raise answer
        if answer is None:
            return HttpAnswer(404, b'{"errcode":"M_NOT_FOUND"}')
        return HttpAnswer(200, answer if isinstance(answer, bytes) else orjson.dumps(answer))


@pytest.fixture
def bridges() -> Bridges:
    return Bridges()


@pytest.fixture
def networks(bridges: Bridges) -> ThirdPartyNetworks:
    registrations = (("irc", IRC, "[irc]"), ("other", OTHER, "[irc, gitter]"), ("mute", "null", "[irc]"))
    texts = [REGISTRATION.format(id=name, url=url, protocols=protocols) for name, url, protocols in registrations]
    read = [read_registration(text, "hearth.test") for text in texts]
    return ThirdPartyNetworks(Appservices(read), bridges)  # type: ignore[arg-type]


async def test_bridges_of_one_protocol_are_shown_as_one(networks: ThirdPartyNetworks, bridges: Bridges) -> None:
    bridges.answers[IRC + BASE + "protocol/irc"] = {"icon": "mxc://a/b", "instances": [{"desc": "One"}]}
    bridges.answers[OTHER + BASE + "protocol/irc"] = {"icon": "", "instances": [{"desc": "Two"}, 5]}
    expected = {"icon": "mxc://a/b", "instances": [{"desc": "One"}, {"desc": "Two"}]}
    assert await networks.protocols() == {"irc": expected}
    assert await networks.protocol("irc") == expected
    assert bridges.tokens[IRC + BASE + "protocol/irc"] == "hs-irc"


async def test_unknown_protocol_is_not_found(networks: ThirdPartyNetworks) -> None:
    with pytest.raises(NotFound):
        await networks.protocol("skype")
    for protocol in ("skype", "irc"):
        with pytest.raises(NotFound):
            await networks.search("user", protocol, {})


async def test_fields_go_to_the_bridges_that_speak_the_protocol(networks: ThirdPartyNetworks, bridges: Bridges) -> None:
    url = IRC + BASE + "location/irc?channel=%23a%26b"
    bridges.answers[url] = [{"alias": "#a:hearth.test", "protocol": "irc", "fields": {}}]
    found = await networks.search("location", "irc", {"channel": "#a&b"})
    assert found == [{"alias": "#a:hearth.test", "protocol": "irc", "fields": {}}]


async def test_every_bridge_is_asked_for_an_alias_or_a_user(networks: ThirdPartyNetworks, bridges: Bridges) -> None:
    bridges.answers[OTHER + BASE + "user?userid=%40x%3Ah"] = [{"userid": "@x:h"}]
    assert await networks.reverse("user", "userid", "@x:h") == [{"userid": "@x:h"}]
    with pytest.raises(NotFound):
        await networks.reverse("location", "alias", "#x:h")


@pytest.mark.parametrize("answer", [b"<html>", b"5", {"instances": 5}, HttpFailure("gone")])
async def test_broken_bridge_does_not_hide_the_others(
    networks: ThirdPartyNetworks, bridges: Bridges, answer: Any
) -> None:
    bridges.answers[IRC + BASE + "protocol/irc"] = answer
    bridges.answers[OTHER + BASE + "protocol/irc"] = {"instances": [{"desc": "Two"}]}
    assert (await networks.protocol("irc"))["instances"] == [{"desc": "Two"}]
