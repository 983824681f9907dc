import pickle
from typing import Any

import pytest

from homeserver.core.events import Event
from homeserver.core.hashes import compute_event_id
from homeserver.core.room_versions import RoomVersion
from tests.core.sample_events import ALL_VERSIONS, EVENT_ID, V1, V3, V10, V11, V12, a_create_pdu, a_pdu

every_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: "v" + v.identifier)


@every_version
def test_an_event_shows_what_its_pdu_says(version: RoomVersion) -> None:
    pdu = a_pdu(version, state_key="k")
    event = Event.from_pdu(pdu, version)
    assert event.pdu is pdu
    assert event.event_id == compute_event_id(pdu, version)
    assert (event.room_version, event.room_id, event.sender) == (version, pdu["room_id"], "@alice:example.org")
    assert (event.type, event.state_key, event.content) == ("m.room.message", "k", pdu["content"])
    assert (event.depth, event.origin_server_ts) == (3, 1_700_000_000_000)
    assert event.prev_events == event.auth_events == (EVENT_ID,)
    assert event.key == ("m.room.message", "k")
    assert event.cache is None


def test_a_known_event_id_is_not_computed_again() -> None:
    assert Event.from_pdu(a_pdu(V12), V12, "$known").event_id == "$known"


def test_a_version_12_room_is_named_after_its_create_event() -> None:
    event = Event.from_pdu(a_create_pdu(V12), V12)
    assert event.room_id == "!" + event.event_id[1:]
    assert "room_id" not in event.pdu
    assert Event.from_pdu(a_create_pdu(V11), V11).room_id == "!room:example.org"


def test_an_empty_state_key_makes_a_state_event() -> None:
    assert Event.from_pdu(a_pdu(V12, state_key=""), V12).is_state
    message = Event.from_pdu(a_pdu(V12), V12)
    assert not message.is_state
    with pytest.raises(ValueError, match="not a state event"):
        _ = message.key


@pytest.mark.parametrize(
    ("content", "membership"), [({"membership": "join"}, "join"), ({}, None), ({"membership": 3}, None)]
)
def test_only_member_events_have_a_membership(content: dict[str, Any], membership: str | None) -> None:
    assert Event.from_pdu(a_pdu(V12, type="m.room.member", content=content), V12).membership == membership
    assert Event.from_pdu(a_pdu(V12, content=content), V12).membership is None


@pytest.mark.parametrize(
    ("version", "target"), [(V1, "$top"), (V3, "$top"), (V10, "$top"), (V11, "$content"), (V12, "$content")]
)
def test_redacts_is_found_where_the_room_version_keeps_it(version: RoomVersion, target: str) -> None:
    both = {"content": {"redacts": "$content"}, "redacts": "$top"}
    assert Event.from_pdu(a_pdu(version, type="m.room.redaction", **both), version).redacts == target
    assert Event.from_pdu(a_pdu(version, **both), version).redacts is None
    malformed = {"content": {"redacts": 3}, "redacts": ["$top"]}
    assert Event.from_pdu(a_pdu(version, type="m.room.redaction", **malformed), version).redacts is None


@every_version
def test_redaction_keeps_the_event_id_and_takes_the_content(version: RoomVersion) -> None:
    event = Event.from_pdu(a_pdu(version, unsigned={"age": 1}), version)
    redacted = event.redacted()
    assert redacted.event_id == event.event_id == compute_event_id(redacted.pdu, version)
    assert redacted.content == {}
    assert event.content == {"msgtype": "m.text", "body": "hello"}


def test_an_event_cannot_be_changed_but_for_its_cache() -> None:
    event = Event.from_pdu(a_pdu(V12), V12)
    with pytest.raises(AttributeError):
        event.depth = 4
    with pytest.raises(AttributeError):
        event.other = 4  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        del event.depth
    event.cache = {"json": b"{}"}
    assert event.cache == {"json": b"{}"}


def test_an_event_can_go_to_another_process() -> None:
    event = Event.from_pdu(a_pdu(V12), V12)
    copy = pickle.loads(pickle.dumps(event))
    assert (copy.event_id, copy.pdu, copy.room_version) == (event.event_id, event.pdu, V12)


def test_the_representation_names_the_event_but_not_its_content() -> None:
    assert repr(Event.from_pdu(a_pdu(V12, state_key="k"), V12, "$id")).startswith(
        "<Event $id m.room.message 'k' by @alice"
    )
    assert "hello" not in repr(Event.from_pdu(a_pdu(V12), V12))
