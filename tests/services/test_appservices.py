"""Registrations of application services."""

import pytest

from homeserver.services.appservices import Appservice, Appservices, InvalidRegistration, read_registration

GOOD = """
id: irc
url: http://localhost:9000/
as_token: a
hs_token: h
sender_localpart: ircbot
namespaces:
  users: [{exclusive: true, regex: "@irc_.*"}, {exclusive: false, regex: "@.*:elsewhere"}]
  aliases: [{exclusive: true, regex: "#irc_.*"}]
  rooms: []
push_ephemeral: true
protocols: [irc]
"""


@pytest.fixture
def irc() -> Appservice:
    return read_registration(GOOD, "hearth.test")


def test_registration_is_read(irc: Appservice) -> None:
    assert (irc.id, irc.url, irc.sender) == ("irc", "http://localhost:9000", "@ircbot:hearth.test")
    assert (irc.rate_limited, irc.receives_ephemeral, irc.protocols) == (True, True, ("irc",))


def test_tokens_are_not_shown(irc: Appservice) -> None:
    assert "as_token" not in repr(irc)
    assert "hs_token" not in repr(irc)


def test_exclusive_names_belong_to_one(irc: Appservice) -> None:
    everybody = Appservices([irc])
    assert everybody.owner_of("users", "@irc_a:hearth.test") is irc
    assert everybody.owner_of("users", "@ircbot:hearth.test") is irc
    assert everybody.owner_of("users", "@a:elsewhere") is None
    assert everybody.owner_of("aliases", "#irc_a:hearth.test") is irc
    assert everybody.by_token("a") is irc
    assert not irc.may_act_as("@alice:hearth.test")


def test_two_may_not_share_a_token(irc: Appservice) -> None:
    other = read_registration(GOOD.replace("id: irc", "id: other"), "hearth.test")
    with pytest.raises(InvalidRegistration):
        Appservices([irc, other])


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "- a",
        GOOD.replace("id: irc", "id: 5"),
        GOOD.replace("url: http://localhost:9000/", ""),
        GOOD.replace("sender_localpart: ircbot", "sender_localpart: IRC Bot"),
        GOOD.replace('"@irc_.*"', '"@irc_("'),
        GOOD.replace("exclusive: true", "exclusive: maybe"),
        GOOD.replace("protocols: [irc]", "protocols: irc"),
        GOOD.replace("rooms: []", "rooms: [5]"),
        GOOD + "ip_range_whitelist: [somewhere]",
        GOOD + "org.matrix.msc3202: maybe",
    ],
)
def test_faults_of_a_registration_are_told_with_its_place(text: str) -> None:
    with pytest.raises(InvalidRegistration, match=r"irc\.yaml"):
        read_registration(text, "hearth.test", "irc.yaml")


def test_unstable_keys_are_read() -> None:
    more = """
de.sorunome.msc2409.push_ephemeral: true
org.matrix.msc3202: true
io.element.msc4190: true
io.element.msc4502.scopes: ["urn:matrix:client:io.element.msc4502:rooms:is_joined"]
rate_limited: false
ip_range_whitelist: [10.0.0.0/8, "::1"]
"""
    bridge = read_registration(GOOD.replace("push_ephemeral: true", "") + more, "hearth.test")
    assert (bridge.receives_ephemeral, bridge.receives_unstable_ephemeral) == (False, True)
    assert bridge.wants_ephemeral
    assert (bridge.receives_device_news, bridge.manages_devices, bridge.rate_limited) == (True, True, False)
    asked = ("10.1.2.3", "::1", "11.0.0.1", "")
    assert [bridge.may_ask_from(ip) for ip in asked] == [True, True, False, False]


@pytest.mark.parametrize("url", ["null", "''", "websocket"])
def test_without_a_url_it_is_not_asked(url: str) -> None:
    bridge = read_registration(GOOD.replace("http://localhost:9000/", url), "hearth.test")
    assert bridge.url is None
    assert Appservices([bridge]).covering("users", "@irc_a:hearth.test") == []


def test_users_of_other_servers_lie_in_no_namespace(irc: Appservice) -> None:
    assert irc.covers("users", "@irc_a:hearth.test")
    assert not irc.covers("users", "@irc_a:elsewhere")
    assert not irc.may_act_as("@a:elsewhere")
    assert irc.covers("aliases", "#irc_a:elsewhere")


def test_historical_names_of_senders_are_taken() -> None:
    assert read_registration(GOOD.replace("ircbot", "_IRC-Bot.1"), "hearth.test").sender == "@_IRC-Bot.1:hearth.test"
