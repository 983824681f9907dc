import copy
from typing import Any

from hypothesis import given

from homeserver.core.redaction import redact
from homeserver.core.room_versions import RoomVersion
from tests.properties.pdus import versions_and_pdus

Case = tuple[RoomVersion, dict[str, Any]]


@given(versions_and_pdus)
def test_redacting_twice_is_redacting_once(case: Case) -> None:
    version, pdu = case
    once = redact(pdu, version)
    assert redact(once, version) == once


@given(versions_and_pdus)
def test_redaction_only_takes_away(case: Case) -> None:
    version, pdu = case
    redacted = redact(pdu, version)
    assert all(redacted[key] == pdu[key] for key in redacted if key != "content")
    assert set(redacted["content"]) <= set(pdu["content"])


@given(versions_and_pdus)
def test_redaction_does_not_touch_its_input(case: Case) -> None:
    version, pdu = case
    before = copy.deepcopy(pdu)
    redact(pdu, version)
    assert pdu == before


@given(versions_and_pdus)
def test_what_identifies_an_event_survives(case: Case) -> None:
    version, pdu = case
    redacted = redact(pdu, version)
    for key in ("type", "sender", "room_id", "depth", "prev_events", "auth_events", "hashes", "origin_server_ts"):
        assert redacted[key] == pdu[key]
    assert redacted.get("state_key") == pdu.get("state_key")
    assert "unsigned" not in redacted
