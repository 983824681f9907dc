from typing import Any

import signedjson.sign
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.events import Event
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signatures import (
    generate_signing_key,
    sign_event,
    sign_json,
    signatures_to_check,
    verify,
    verify_json,
)
from tests.properties.pdus import contents, values, versions_and_pdus

KEY = generate_signing_key("1", b"k" * 32)
VERIFY_KEY = bytes(KEY.verify_key)
Case = tuple[RoomVersion, dict[str, Any]]


@given(contents)
def test_we_sign_as_signedjson_does(obj: dict[str, Any]) -> None:
    signed = sign_json(obj, "example.org", KEY)
    assert signed == signedjson.sign.sign_json(dict(obj), "example.org", KEY)
    assert verify_json(signed, "example.org", "ed25519:1", VERIFY_KEY)


@given(contents, values)
def test_a_signature_covers_everything_but_unsigned(obj: dict[str, Any], anything: Any) -> None:
    signed = sign_json(obj, "example.org", KEY)
    assert verify_json({**signed, "unsigned": anything}, "example.org", "ed25519:1", VERIFY_KEY)
    assert not verify_json({**signed, "added": anything}, "example.org", "ed25519:1", VERIFY_KEY)


@given(versions_and_pdus)
def test_a_signed_event_verifies_whole_and_redacted(case: Case) -> None:
    version, pdu = case
    event = Event.from_pdu(sign_event({**pdu, "signatures": {}}, version, "example.org", KEY), version)
    for copy in (event, event.redacted()):
        for check in signatures_to_check(copy):
            if check.server_name == "example.org":
                assert verify(check.message, check.signatures["ed25519:1"], VERIFY_KEY)


@given(st.dictionaries(st.sampled_from(["example.org", "other.org"]), values), st.binary(max_size=40))
def test_no_signatures_however_malformed_verify_or_crash(signatures: dict[str, Any], key: bytes) -> None:
    for malformed in (signatures, {"example.org": {"ed25519:1": signatures}}):
        assert not verify_json({"signatures": malformed}, "example.org", "ed25519:1", key)
