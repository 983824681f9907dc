from typing import Any

from hypothesis import given

from homeserver.core.hashes import compute_event_id, content_hash, content_hash_matches, reference_hash
from homeserver.core.redaction import redact
from homeserver.core.room_versions import RoomVersion
from tests.properties.pdus import values, versions_and_pdus

Case = tuple[RoomVersion, dict[str, Any]]


@given(versions_and_pdus)
def test_redaction_changes_neither_reference_hash_nor_event_id(case: Case) -> None:
    version, pdu = case
    redacted = redact(pdu, version)
    assert reference_hash(redacted, version) == reference_hash(pdu, version)
    assert compute_event_id(redacted, version) == compute_event_id(pdu, version)


@given(versions_and_pdus, values)
def test_no_hash_covers_unsigned_and_signatures(case: Case, anything: Any) -> None:
    version, pdu = case
    other = {**pdu, "unsigned": anything, "signatures": anything}
    assert content_hash(other, version) == content_hash(pdu, version)
    assert reference_hash(other, version) == reference_hash(pdu, version)


@given(versions_and_pdus)
def test_the_order_of_keys_does_not_matter(case: Case) -> None:
    version, pdu = case
    backwards = dict(reversed(pdu.items()))
    assert content_hash(backwards, version) == content_hash(pdu, version)
    assert reference_hash(backwards, version) == reference_hash(pdu, version)


@given(versions_and_pdus)
def test_the_content_hash_shows_any_change_of_content(case: Case) -> None:
    version, pdu = case
    hashed = {**pdu, "hashes": {"sha256": content_hash(pdu, version)}}
    assert content_hash_matches(hashed, version)
    assert not content_hash_matches({**hashed, "content": {**pdu["content"], "added": 1}}, version)
    assert not content_hash_matches({**hashed, "depth": pdu["depth"] + 1}, version)
