import base64
import hashlib
from typing import Any

import pytest

from homeserver.core.canonical_json import CanonicalJSONError, encode
from homeserver.core.hashes import (
    bytes_of_base64,
    compute_event_id,
    content_hash,
    content_hash_matches,
    reference_hash,
    unpadded_base64,
)
from tests.core.sample_events import V1, V3, V5, V6, V10, V11, V12, a_create_pdu, a_pdu

# https://spec.matrix.org/v1.19/appendices/#event-signing
MINIMAL: dict[str, Any] = {
    "room_id": "!x:domain",
    "sender": "@a:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "signatures": {},
    "hashes": {},
    "type": "X",
    "content": {},
    "prev_events": [],
    "auth_events": [],
    "depth": 3,
    "unsigned": {"age_ts": 1000000},
}
REDACTABLE: dict[str, Any] = {
    "content": {"body": "Here is the message content"},
    "event_id": "$0:domain",
    "origin": "domain",
    "origin_server_ts": 1000000,
    "type": "m.room.message",
    "room_id": "!r:domain",
    "sender": "@u:domain",
    "signatures": {},
    "unsigned": {"age_ts": 1000000},
}


def hashed(pdu: dict[str, Any], digest: str) -> dict[str, Any]:
    return {**pdu, "hashes": {"sha256": digest}}


@pytest.mark.parametrize(
    ("pdu", "digest"),
    [
        (MINIMAL, "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"),
        (REDACTABLE, "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"),
    ],
)
def test_the_specifications_content_hashes_come_out(pdu: dict[str, Any], digest: str) -> None:
    for version in (V1, V12):
        assert content_hash(pdu, version) == digest
        assert content_hash_matches(hashed(pdu, digest), version)
        assert content_hash_matches(hashed(pdu, digest + "="), version)


@pytest.mark.parametrize("digest", ["", "A" * 43, "5jM4wQpv6lnBo7CLIghJuHdW-s2CMBJPUOGOC89ncos", "é", "!", None, 3, []])
def test_another_hash_does_not_match(digest: Any) -> None:
    assert not content_hash_matches(hashed(MINIMAL, digest), V1)


@pytest.mark.parametrize("hashes", [None, {}, [], "x", {"sha1": "x"}])
def test_a_missing_hash_does_not_match(hashes: Any) -> None:
    assert not content_hash_matches({**MINIMAL, "hashes": hashes}, V1)


def test_a_changed_body_breaks_the_content_hash_but_not_the_event_id() -> None:
    pdu = a_pdu(V12)
    pdu["hashes"] = {"sha256": content_hash(pdu, V12)}
    edited = {**pdu, "content": {"body": "forged"}}
    assert content_hash_matches(pdu, V12)
    assert not content_hash_matches(edited, V12)
    assert compute_event_id(edited, V12) == compute_event_id(pdu, V12)


def test_the_reference_hash_is_sha256_of_the_redacted_event_without_signatures() -> None:
    pdu = a_pdu(V12, unsigned={"age": 4}, extra=1)
    essential = {**pdu, "content": {}}
    for key in ("signatures", "unsigned", "extra"):
        del essential[key]
    assert reference_hash(pdu, V12) == hashlib.sha256(encode(essential)).digest()


def test_event_ids_follow_the_format_of_the_room_version() -> None:
    assert compute_event_id(a_pdu(V1), V1) == "$opaque:example.org"
    v3, v10 = a_pdu(V3), a_pdu(V10)
    # Find an event whose hash shows the difference between the alphabets.
    while b"/" not in base64.b64encode(reference_hash(v3, V3)):
        v3["depth"] += 1
    v10["depth"] = v3["depth"]
    assert reference_hash(v3, V3) == reference_hash(v10, V10)
    plain, urlsafe = compute_event_id(v3, V3), compute_event_id(v10, V10)
    assert plain.replace("+", "-").replace("/", "_") == urlsafe
    assert "/" in plain
    assert len(plain) == 44


def test_room_version_11_hashes_more_of_a_create_event() -> None:
    pdu = a_create_pdu(V11)
    other = {**pdu, "content": {**pdu["content"], "type": "m.space"}}
    assert reference_hash(pdu, V11) != reference_hash(other, V11)
    assert reference_hash(pdu, V10) == reference_hash(other, V10)


def test_floats_are_hashed_in_old_room_versions_and_refused_in_new_ones() -> None:
    pdu = a_pdu(V5, type="m.room.power_levels", content={"ban": 50.0, "kick": 2**60})
    assert len(reference_hash(pdu, V5)) == 32
    assert content_hash_matches(hashed(pdu, content_hash(pdu, V5)), V5)
    with pytest.raises(CanonicalJSONError):
        reference_hash(pdu, V6)
    assert not content_hash_matches(pdu, V6)


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foob", "Zm9vYg"), (b"fooba", "Zm9vYmE")],
)
def test_base64_is_unpadded_and_read_with_or_without_padding(data: bytes, text: str) -> None:
    assert unpadded_base64(data) == text
    assert bytes_of_base64(text) == data
    assert bytes_of_base64(text + "=" * (-len(text) % 4)) == data


@pytest.mark.parametrize("text", ["A", "Zm9-", "Zm 9v", "é", "Z=g"])
def test_what_is_not_base64_stands_for_nothing(text: str) -> None:
    assert bytes_of_base64(text) is None
