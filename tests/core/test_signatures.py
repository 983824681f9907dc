from typing import Any

import pytest
import signedjson.sign
from nacl.signing import VerifyKey

from homeserver.core.events import Event
from homeserver.core.hashes import content_hash
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signatures import (
    generate_signing_key,
    key_id_of,
    required_signers,
    sign_event,
    sign_json,
    signatures_to_check,
    verify,
    verify_json,
)
from tests.core.sample_events import ALL_VERSIONS, V1, V6, V8, V12, a_pdu
from tests.core.test_hashes import MINIMAL, REDACTABLE

# https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors
SEED = bytes.fromhex("6090c103d5e7af6b15a970fd563ed75549e6159719ae5c3c31dee4316fb75c0d")
KEY = generate_signing_key("1", SEED)
VERIFY_KEY = bytes(KEY.verify_key)
OTHER_VERIFY_KEY = bytes(generate_signing_key("1", b"o" * 32).verify_key)


def signature_of(signed: dict[str, Any]) -> str:
    assert set(signed["signatures"]) == {"domain"}
    return signed["signatures"]["domain"]["ed25519:1"]


@pytest.mark.parametrize(
    ("obj", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_the_specifications_json_signatures_come_out(obj: dict[str, Any], signature: str) -> None:
    signed = sign_json(obj, "domain", KEY)
    assert signed == {**obj, "signatures": {"domain": {"ed25519:1": signature}}}
    assert verify_json(signed, "domain", "ed25519:1", VERIFY_KEY)


@pytest.mark.parametrize(
    ("pdu", "signature"),
    [
        (MINIMAL, "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"),
        (REDACTABLE, "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"),
    ],
)
def test_the_specifications_event_signatures_come_out(pdu: dict[str, Any], signature: str) -> None:
    hashed = {**pdu, "hashes": {"sha256": content_hash(pdu, V1)}}
    signed = sign_event(hashed, V1, "domain", KEY)
    assert signature_of(signed) == signature
    assert {key: signed[key] for key in pdu if key not in ("signatures", "hashes")} == {
        key: pdu[key] for key in pdu if key not in ("signatures", "hashes")
    }


def test_signing_leaves_other_signatures_and_the_original_alone() -> None:
    first = sign_json({"a": 1, "unsigned": {"b": 2}}, "domain", KEY)
    second = sign_json(first, "domain", generate_signing_key("2", b"s" * 32))
    third = sign_json(second, "other", KEY)
    assert list(first["signatures"]["domain"]) == ["ed25519:1"]
    assert list(third["signatures"]["domain"]) == ["ed25519:1", "ed25519:2"]
    assert third["unsigned"] == {"b": 2}
    assert verify_json(third, "domain", "ed25519:1", VERIFY_KEY)
    assert verify_json({**third, "unsigned": {}}, "other", "ed25519:1", VERIFY_KEY)


def test_signedjson_and_we_verify_each_other() -> None:
    obj: dict[str, Any] = {"é": [1, None, True], "f": 1.5, "big": 2**70}
    verify_key: Any = VerifyKey(VERIFY_KEY)
    verify_key.alg, verify_key.version = "ed25519", "1"
    signedjson.sign.verify_signed_json(sign_json(obj, "domain", KEY), "domain", verify_key)
    assert verify_json(signedjson.sign.sign_json(obj, "domain", KEY), "domain", "ed25519:1", VERIFY_KEY)


def test_a_changed_object_does_not_verify() -> None:
    signed = sign_json({"a": 1}, "domain", KEY)
    assert not verify_json({**signed, "a": 2}, "domain", "ed25519:1", VERIFY_KEY)
    assert not verify_json(signed, "domain", "ed25519:1", OTHER_VERIFY_KEY)
    assert not verify_json(signed, "domain", "ed25519:2", VERIFY_KEY)
    assert not verify_json(signed, "other", "ed25519:1", VERIFY_KEY)


@pytest.mark.parametrize(
    "signatures", [None, [], "x", {"domain": None}, {"domain": {"ed25519:1": 3}}, {"domain": {"ed25519:1": "é"}},
                   {"domain": {"ed25519:1": "Zg"}}, {"domain": {"ed25519:1": "A" * 86}}],
)  # fmt: skip
def test_malformed_signatures_do_not_verify(signatures: Any) -> None:
    assert not verify_json({"signatures": signatures}, "domain", "ed25519:1", VERIFY_KEY)


def test_what_cannot_be_encoded_does_not_verify() -> None:
    signed = sign_json({"a": 1}, "domain", KEY)
    assert not verify_json({**signed, "a": "\ud800"}, "domain", "ed25519:1", VERIFY_KEY)


def test_keys_and_signatures_of_the_wrong_size_do_not_verify() -> None:
    assert not verify(b"m", b"short", VERIFY_KEY)
    assert not verify(b"m", KEY.sign(b"m").signature, VERIFY_KEY[:-1])
    assert verify(b"m", KEY.sign(b"m").signature, VERIFY_KEY)


def test_a_key_is_named_by_algorithm_and_version() -> None:
    assert key_id_of(generate_signing_key("a_1", SEED)) == "ed25519:a_1"
    with pytest.raises(ValueError, match="32 bytes"):
        generate_signing_key("1", b"short")


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: "v" + v.identifier)
def test_a_redacted_copy_verifies_with_the_signature_of_the_whole(version: RoomVersion) -> None:
    pdu = sign_event(a_pdu(version, signatures={}, unsigned={"age": 1}), version, "example.org", KEY)
    event = Event.from_pdu(pdu, version)
    for copy in (event, event.redacted()):
        (check,) = signatures_to_check(copy)
        assert check.server_name == "example.org"
        assert verify(check.message, check.signatures["ed25519:1"], VERIFY_KEY)
        assert not verify(check.message, check.signatures["ed25519:1"], OTHER_VERIFY_KEY)


def test_signatures_of_unknown_algorithms_are_left_out() -> None:
    signatures = {"example.org": {"rsa:1": "Zg", "ed25519:1": "Zg", "ed25519:2": "!"}, "other.org": {"ed25519:1": "Zg"}}
    (check,) = signatures_to_check(Event.from_pdu(a_pdu(V12, signatures=signatures), V12))
    assert check.signatures == {"ed25519:1": b"f"}


def test_a_server_that_did_not_sign_has_no_signatures_to_check() -> None:
    (check,) = signatures_to_check(Event.from_pdu(a_pdu(V12, signatures={}), V12))
    assert (check.server_name, check.signatures) == ("example.org", {})


def signers(version: RoomVersion, **changes: Any) -> set[str]:
    return set(required_signers(Event.from_pdu(a_pdu(version, **changes), version)))


def test_the_senders_server_must_sign() -> None:
    assert signers(V12) == {"example.org"}
    assert signers(V12, sender="@a:b.org:8448") == {"b.org:8448"}


def test_the_server_in_the_event_id_must_sign_in_versions_1_and_2() -> None:
    assert signers(V1, event_id="$a:other.org") == {"example.org", "other.org"}
    assert signers(V6, event_id="$a:other.org") == {"example.org"}


def test_the_authorising_server_must_sign_a_restricted_join() -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@admin:other.org"}
    member = {"type": "m.room.member", "state_key": "@alice:example.org", "content": content}
    assert signers(V8, **member) == {"example.org", "other.org"}
    assert signers(V6, **member) == {"example.org"}
    assert signers(V8, **{**member, "type": "m.room.message"}) == {"example.org"}


@pytest.mark.parametrize("authoriser", [None, 3, "", "nobody"])
def test_a_restricted_join_authorised_by_nobody_can_be_signed_by_nobody(authoriser: Any) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": authoriser}
    assert "" in signers(V8, type="m.room.member", state_key="@alice:example.org", content=content)


def test_the_sender_need_not_sign_an_invite_made_from_a_third_party_invite() -> None:
    content = {"membership": "invite", "third_party_invite": {"signed": {}}}
    assert signers(V12, type="m.room.member", state_key="@b:c", content=content) == set()
    assert signers(V1, type="m.room.member", state_key="@b:c", content=content, event_id="$a:c") == {"c"}
    assert signers(V12, type="m.room.member", state_key="@b:c", content={**content, "membership": "join"}) == {
        "example.org"
    }
