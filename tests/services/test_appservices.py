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
    ],
)
def test_faults_of_a_registration_are_told_with_its_place(text: str) -> None:
    with pytest.raises(InvalidRegistration, match=r"irc\.yaml"):
        read_registration(text, "hearth.test", "irc.yaml")
