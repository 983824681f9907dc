from typing import Any

import pytest

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_builder import EventDraft, build_event, build_pdu
from homeserver.core.event_format import EventTooLarge, InvalidEvent, check_pdu
from homeserver.core.events import Event
from homeserver.core.hashes import compute_event_id, content_hash_matches, reference_hash, unpadded_base64
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signatures import generate_signing_key, signatures_to_check, verify
from tests.core.sample_events import ALL_VERSIONS, EVENT_ID, V1, V6, V11, V12, a_create_pdu, a_room_id

KEY = generate_signing_key("1", b"k" * 32)
every_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: "v" + v.identifier)


def a_draft(version: RoomVersion, **changes: Any) -> EventDraft:
    fields: dict[str, Any] = {
        "type": "m.room.message",
        "sender": "@alice:example.org",
        "content": {"body": "hello"},
        "room_id": a_room_id(version),
    }
    return EventDraft(**{**fields, **changes})


def a_create_event(version: RoomVersion) -> Event:
    return Event.from_pdu(a_create_pdu(version), version)


def built(version: RoomVersion, draft: EventDraft) -> Event:
    create = a_create_event(version)
    return build_event(
        draft, version, prev_events=[create], auth_events=[create], depth=2, origin_server_ts=1_000,
        server_name="example.org", signing_key=KEY, event_id_opaque="unique",
    )  # fmt: skip


@every_version
def test_a_built_event_passes_all_that_a_received_one_must(version: RoomVersion) -> None:
    event = built(version, a_draft(version, unsigned={"age": 1}, state_key="k"))
    check_pdu(event.pdu, version)
    assert content_hash_matches(event.pdu, version)
    assert event.event_id == compute_event_id(event.pdu, version)
    (check,) = signatures_to_check(event)
    assert verify(check.message, check.signatures["ed25519:1"], bytes(KEY.verify_key))
    assert (event.state_key, event.depth, event.origin_server_ts) == ("k", 2, 1_000)
    assert event.pdu["unsigned"] == {"age": 1}


@every_version
def test_a_built_event_names_those_it_builds_on(version: RoomVersion) -> None:
    create = a_create_event(version)
    event = built(version, a_draft(version))
    assert event.prev_events == event.auth_events == (create.event_id,)
    assert set(event.pdu) - {"event_id"} == {
        "type", "sender", "content", "room_id", "depth", "origin_server_ts", "prev_events", "auth_events", "hashes",
        "signatures",
    }  # fmt: skip


def test_versions_1_and_2_write_down_the_hashes_of_what_they_refer_to() -> None:
    create = a_create_event(V1)
    event = built(V1, a_draft(V1))
    assert event.event_id == "$unique:example.org"
    assert event.pdu["prev_events"] == [[create.event_id, {"sha256": unpadded_base64(reference_hash(create.pdu, V1))}]]
    with pytest.raises(ValueError, match="needs the event itself"):
        build_event(
            a_draft(V1), V1, prev_events=["$a:b"], auth_events=[], depth=1, origin_server_ts=0, server_name="b",
            signing_key=KEY, event_id_opaque="x",
        )  # fmt: skip


def test_event_ids_are_enough_to_refer_to_from_version_3() -> None:
    event = build_event(
        a_draft(V12), V12, prev_events=[EVENT_ID], auth_events=[], depth=1, origin_server_ts=0,
        server_name="example.org", signing_key=KEY,
    )  # fmt: skip
    assert event.pdu["prev_events"] == [EVENT_ID]


def test_a_version_12_create_event_is_built_without_a_room_id() -> None:
    draft = a_draft(V12, type="m.room.create", state_key="", content={"room_version": "12"}, room_id=None)
    event = build_event(
        draft, V12, prev_events=[], auth_events=[], depth=1, origin_server_ts=0, server_name="example.org",
        signing_key=KEY,
    )  # fmt: skip
    assert "room_id" not in event.pdu
    assert event.room_id == "!" + event.event_id[1:]


def test_redacts_goes_where_the_room_version_keeps_it() -> None:
    for version, in_content in ((V6, False), (V11, True)):
        draft = a_draft(version, type="m.room.redaction", content={"reason": "spam"}, redacts="$bad")
        event = built(version, draft)
        assert event.redacts == "$bad"
        assert ("redacts" in event.content) is in_content
        assert ("redacts" in event.pdu) is not in_content
        assert draft.content == {"reason": "spam"}


def test_an_event_that_is_too_large_is_not_built() -> None:
    with pytest.raises(EventTooLarge):
        built(V12, a_draft(V12, content={"body": "a" * 65_536}))
    with pytest.raises(EventTooLarge):
        built(V12, a_draft(V12, type="a" * 256))


def test_an_event_that_nobody_would_accept_is_not_built() -> None:
    with pytest.raises(CanonicalJSONError):
        built(V12, a_draft(V12, content={"n": 1.5}))
    with pytest.raises(InvalidEvent):
        built(V12, a_draft(V12, sender="nobody"))


def test_a_template_is_hashed_but_not_signed() -> None:
    pdu = build_pdu(
        a_draft(V1), V1, prev_events=[("$a:b", "hash")], auth_events=[], depth=1, origin_server_ts=0,
        origin="example.org", event_id="$x:example.org",
    )  # fmt: skip
    assert content_hash_matches(pdu, V1)
    assert pdu["prev_events"] == [["$a:b", {"sha256": "hash"}]]
    assert pdu["origin"] == "example.org"
    assert "signatures" not in pdu


def test_versions_1_and_2_need_an_event_id() -> None:
    with pytest.raises(ValueError, match="needs an event id"):
        build_pdu(a_draft(V1), V1, prev_events=[], auth_events=[], depth=1, origin_server_ts=0)
