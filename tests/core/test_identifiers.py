import pytest

from homeserver.core.identifiers import (
    InvalidIdentifier,
    is_valid_event_id,
    is_valid_new_localpart,
    is_valid_room_alias,
    is_valid_room_id,
    is_valid_server_name,
    is_valid_user_id,
    localpart_of,
    server_name_of,
)


@pytest.mark.parametrize(
    "name",
    [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "localhost",
        "MATRIX.org",
        "a-b.c",
        "hs1",
        "1.2.3",
        "[::ffff:1.2.3.4]",
    ],
)
def test_hostnames_addresses_and_ports_are_server_names(name: str) -> None:
    assert is_valid_server_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":8448",
        "matrix.org:",
        "matrix.org:123456",
        "matrix.org:port",
        "matrix_org",
        "mätrix.org",
        "1.2.3.256",
        "[]",
        "[::1",
        "::1",
        "[1:2:3]",
        "[fe80::1%eth0]",
        "a b",
        "a/b",
        "a.org\n",
        "a" * 256,
        "a:1:2",
        "٣.org",
        "example.org:٣",
    ],
)
def test_other_strings_are_not_server_names(name: str) -> None:
    assert not is_valid_server_name(name)


@pytest.mark.parametrize(
    "user_id",
    ["@alice:example.org", "@:example.org", "@Älice Ü:example.org", "@a\n:example.org", "@a=2f/b+c:[::1]:8448"],
)
def test_historical_user_ids_are_accepted(user_id: str) -> None:
    assert is_valid_user_id(user_id)


@pytest.mark.parametrize(
    "user_id",
    ["", "@", "alice:example.org", "@alice", "@alice:", "@a\0b:example.org", "@a\ud800:example.org", "@a:b:c", "#a:b"],
)
def test_strings_of_another_form_are_not_user_ids(user_id: str) -> None:
    assert not is_valid_user_id(user_id)


def test_user_ids_are_limited_to_255_bytes_not_characters() -> None:
    assert is_valid_user_id("@" + "a" * 242 + ":example.org")
    assert not is_valid_user_id("@" + "a" * 243 + ":example.org")
    assert is_valid_user_id("@" + "é" * 121 + ":example.org")
    assert not is_valid_user_id("@" + "é" * 122 + ":example.org")


def test_room_ids_have_a_domain_or_are_a_hash() -> None:
    assert is_valid_room_id("!opaque:example.org")
    assert is_valid_room_id("!" + "aZ09-_" * 7 + "a")
    assert not is_valid_room_id("!" + "a" * 42)
    assert not is_valid_room_id("!" + "a" * 42 + "+")
    assert not is_valid_room_id("!" + "a" * 43 + "\n")
    assert not is_valid_room_id("$" + "a" * 43)
    assert not is_valid_room_id("!opaque:")


def test_room_aliases_have_a_domain() -> None:
    assert is_valid_room_alias("#räume und so:example.org")
    assert not is_valid_room_alias("#alias")
    assert not is_valid_room_alias("!alias:example.org")
    assert not is_valid_room_alias("#" + "a" * 250 + ":example.org")


def test_event_ids_are_opaque() -> None:
    assert is_valid_event_id("$opaque:example.org")
    assert is_valid_event_id("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk")
    assert not is_valid_event_id("$")
    assert not is_valid_event_id("opaque")
    assert not is_valid_event_id("$" + "a" * 255)
    assert not is_valid_event_id("$a\0")


@pytest.mark.parametrize(
    ("localpart", "valid"),
    [("alice", True), ("a.b_c=d-e/f+9", True), ("", False), ("Alice", False), ("ä", False), ("a b", False)],
)
def test_new_users_get_only_the_characters_of_the_grammar(localpart: str, valid: bool) -> None:
    assert is_valid_new_localpart(localpart) is valid


def test_parts_split_at_the_first_colon() -> None:
    assert server_name_of("@alice:example.org:8448") == "example.org:8448"
    assert localpart_of("@alice:example.org:8448") == "alice"
    assert localpart_of("@:example.org") == ""


@pytest.mark.parametrize("identifier", ["!" + "a" * 43, "@alice", "@alice:", ""])
def test_identifiers_without_a_domain_have_no_server_name(identifier: str) -> None:
    with pytest.raises(InvalidIdentifier):
        server_name_of(identifier)


@pytest.mark.parametrize("identifier", ["@alice", "", ":example.org"])
def test_identifiers_without_a_colon_have_no_localpart(identifier: str) -> None:
    with pytest.raises(InvalidIdentifier):
        localpart_of(identifier)
