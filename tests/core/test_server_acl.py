"""Which servers an access control list lets take part."""

from typing import Any

import pytest

from homeserver.core.server_acl import ServerAcl


def acl(**content: Any) -> ServerAcl:
    return ServerAcl.of(content)


def test_without_the_event_every_server_is_allowed() -> None:
    assert ServerAcl.of(None).allows("anyone.example")
    assert ServerAcl.of(None).allows("1.2.3.4:8448")


def test_without_an_allow_list_nobody_is_allowed() -> None:
    assert not acl().allows("good.example")
    assert not acl(deny=["evil.example"]).allows("good.example")


def test_deny_wins_over_allow() -> None:
    rules = acl(allow=["*"], deny=["evil.example", "*.evil.example"])
    assert rules.allows("good.example")
    assert rules.allows("notevil.example")
    assert not rules.allows("evil.example")
    assert not rules.allows("very.evil.example")


@pytest.mark.parametrize("name", ["evil.example:8448", "EVIL.example", "Evil.Example:1"])
def test_port_and_case_do_not_matter(name: str) -> None:
    assert not acl(allow=["*"], deny=["evil.EXAMPLE"]).allows(name)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("ev?l.example", "evil.example", True),
        ("ev?l.example", "evl.example", False),
        ("*.ev*.example", "a.evil.example", True),
        ("*", "anything", True),
        ("evil.*", "evil.example", True),
        ("evil?example", "evil.example", True),
        ("evil.example", "evilXexample", False),
        ("[ab].example", "a.example", False),
    ],
)
def test_entries_are_globs(pattern: str, name: str, matches: bool) -> None:
    assert acl(allow=[pattern]).allows(name) is matches


@pytest.mark.parametrize("name", ["1.2.3.4", "1.2.3.4:8448", "[2001:db8::1]", "[2001:db8::1]:8448"])
def test_ip_literals_can_be_denied(name: str) -> None:
    assert not acl(allow=["*"], allow_ip_literals=False).allows(name)
    assert acl(allow=["*"], allow_ip_literals=True).allows(name)
    assert acl(allow=["*"]).allows(name)


@pytest.mark.parametrize("flag", [None, 0, "false", []])
def test_only_the_boolean_false_denies_ip_literals(flag: object) -> None:
    assert acl(allow=["*"], allow_ip_literals=flag).allows("1.2.3.4")


def test_names_that_look_a_little_like_addresses_are_names() -> None:
    rules = acl(allow=["*"], allow_ip_literals=False)
    assert rules.allows("1.2.3.4.example")
    assert rules.allows("1.2.3")


@pytest.mark.parametrize("junk", [None, "*", {"0": "*"}, 5])
def test_malformed_lists_count_as_absent(junk: object) -> None:
    assert not acl(allow=junk).allows("good.example")
    assert acl(allow=["*"], deny=junk).allows("good.example")


def test_entries_that_are_no_strings_are_ignored() -> None:
    assert acl(allow=[None, 5, "good.example"], deny=[{}]).allows("good.example")


def test_ipv6_port_is_cut_but_not_the_address() -> None:
    assert not acl(allow=["*"], deny=["[2001:db8::1]"]).allows("[2001:db8::1]:8448")
    assert not acl(allow=["*"], deny=["[2001:db8::1]"]).allows("[2001:DB8::1]")
