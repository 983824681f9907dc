import pytest

from federation.outbound.request_signing import (
    InvalidAuthorization,
    authorization,
    parse_authorization,
    signature_holds,
    signed_message,
)
from homeserver.core.canonical_json import encode
from homeserver.core.signatures import generate_signing_key

KEY = generate_signing_key("1", b"k" * 32)
VERIFY_KEY = bytes(KEY.verify_key)
CONTENT = {"b": 1, "a": {"ü": ["x"]}}


def test_the_message_written_by_hand_is_canonical_json() -> None:
    whole = {"method": "PUT", "uri": "/a?b=ü", "origin": "a", "destination": "b:8448", "content": CONTENT}
    assert signed_message("PUT", "/a?b=ü", "a", "b:8448", encode(CONTENT)) == encode(whole)
    without = {"method": "GET", "uri": "/a", "origin": "a"}
    assert signed_message("GET", "/a", "a", None, None) == encode(without)


def test_a_signed_request_verifies() -> None:
    header = authorization("PUT", "/x", "one.example", "two.example:80", encode(CONTENT), KEY)
    signature = parse_authorization(header)
    assert (signature.origin, signature.destination, signature.key_id) == ("one.example", "two.example:80", "ed25519:1")
    assert signature_holds(signature, "PUT", "/x", CONTENT, VERIFY_KEY)


@pytest.mark.parametrize(
    ("method", "target", "content"),
    [("POST", "/x", CONTENT), ("PUT", "/y", CONTENT), ("PUT", "/x", {"a": 1}), ("PUT", "/x", None)],
)
def test_a_changed_request_does_not_verify(method: str, target: str, content: object) -> None:
    signature = parse_authorization(authorization("PUT", "/x", "one.example", "two.example", encode(CONTENT), KEY))
    assert not signature_holds(signature, method, target, content, VERIFY_KEY)


def test_the_destination_is_part_of_what_is_signed() -> None:
    header = authorization("GET", "/x", "one.example", "two.example", None, KEY)
    moved = parse_authorization(header.replace("two.example", "three.example"))
    assert not signature_holds(moved, "GET", "/x", None, VERIFY_KEY)


@pytest.mark.parametrize(
    "header",
    [
        'X-Matrix origin=a.example,destination="b:80",key="ed25519:1",sig="c2ln"',
        "X-Matrix origin=a.example,destination=b:80,key=ed25519:1,sig=c2ln",
        'x-matrix   ORIGIN="a.example" ,\tDestination="b:80" , Key="ed25519:1",sig="c2ln",unknown=1',
        r'X-Matrix origin="a\.example",destination="b:80",key="ed25519:\1",sig="c2ln"',
    ],
)
def test_headers_are_read_quoted_and_unquoted(header: str) -> None:
    signature = parse_authorization(header)
    assert (signature.origin, signature.destination) == ("a.example", "b:80")
    assert (signature.key_id, signature.signature) == ("ed25519:1", b"sig")


def test_old_servers_may_leave_the_destination_out() -> None:
    assert parse_authorization('X-Matrix origin=a,key="ed25519:1",sig="c2ln"').destination is None


@pytest.mark.parametrize(
    "header",
    [
        "Bearer token",
        "X-Matrix",
        'X-Matrix origin="a"',
        'X-Matrix origin="a b",key="ed25519:1",sig="c2ln"',
        'X-Matrix origin="a",key="rsa:1",sig="c2ln"',
        'X-Matrix origin="a",key="ed25519:1",sig="!"',
        'X-Matrix origin="a",origin="b",key="ed25519:1",sig="c2ln"',
        'X-Matrix origin="a"key="ed25519:1",sig="c2ln"',
        'X-Matrix origin="a',
        "X-Matrix " + "a=b," * 2000,
    ],
)
def test_nonsense_is_refused(header: str) -> None:
    with pytest.raises(InvalidAuthorization):
        parse_authorization(header)
