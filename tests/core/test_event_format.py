import contextlib
import itertools
from typing import Any

import pytest

from homeserver.core.canonical_json import encode
from homeserver.core.event_format import MAX_PDU_BYTES, EventTooLarge, InvalidEvent, check_pdu
from homeserver.core.room_versions import RoomVersion
from tests.core.sample_events import ALL_VERSIONS, V1, V3, V5, V6, V11, V12, a_create_pdu, a_pdu, a_reference

every_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: "v" + v.identifier)


@every_version
def test_a_well_formed_event_passes_unchanged(version: RoomVersion) -> None:
    for pdu in (a_pdu(version), a_pdu(version, state_key="", unsigned={"age": 1}), a_create_pdu(version)):
        assert check_pdu(pdu, version) is pdu


@every_version
def test_unknown_keys_pass(version: RoomVersion) -> None:
    check_pdu(a_pdu(version, junk={"a": [None, {"b": []}]}, origin=3, membership=[]), version)


@pytest.mark.parametrize("pdu", [None, [], "x", 3, True, {}])
@every_version
def test_what_is_no_event_at_all_is_refused(version: RoomVersion, pdu: Any) -> None:
    with pytest.raises(InvalidEvent):
        check_pdu(pdu, version)


@every_version
def test_a_malformed_value_is_refused_or_accepted_but_never_crashes(version: RoomVersion) -> None:
    values = [None, 0, True, "", "x", [], {}, [[]], [3], [{}], {"a": 1}, {"a": {"b": 1}}]
    for key, value in itertools.product(a_pdu(version), values):
        with contextlib.suppress(InvalidEvent):
            check_pdu({**a_pdu(version), key: value}, version)


@every_version
def test_every_key_of_the_format_is_required(version: RoomVersion) -> None:
    for key in a_pdu(version):
        with pytest.raises(InvalidEvent):
            check_pdu(a_pdu(version, **{key: None}), version)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": 3},
        {"state_key": 3},
        {"type": "m.room\0"},
        {"state_key": "\0"},
        {"sender": "alice"},
        {"sender": "@alice"},
        {"room_id": "room"},
        {"room_id": "#room:example.org"},
        {"depth": -1},
        {"depth": True},
        {"depth": "3"},
        {"depth": 2**63},
        {"origin_server_ts": "now"},
        {"origin_server_ts": False},
        {"origin_server_ts": 2**63},
        {"content": []},
        {"hashes": "x"},
        {"signatures": {"a": []}},
        {"signatures": {"a": {"b": 1}}},
        {"unsigned": []},
        {"prev_events": {}},
        {"auth_events": [["a", "b", "c"]]},
        {"prev_events": [""]},
        {"content": {"a": "\ud800"}},
        {"content": {"a": float("nan")}},
    ],
)
@every_version
def test_malformed_values_are_refused(version: RoomVersion, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(version, **changes), version)


def test_a_null_state_key_is_refused() -> None:
    with pytest.raises(InvalidEvent):
        check_pdu({**a_pdu(V12), "state_key": None}, V12)


@every_version
def test_an_event_of_65536_bytes_passes_and_one_more_does_not(version: RoomVersion) -> None:
    room = MAX_PDU_BYTES - len(encode(a_pdu(version, content={"body": ""})))
    check_pdu(a_pdu(version, content={"body": "a" * room}), version)
    with pytest.raises(EventTooLarge):
        check_pdu(a_pdu(version, content={"body": "a" * (room + 1)}), version)


@pytest.mark.parametrize("key", ["type", "state_key"])
def test_type_and_state_key_are_limited_to_255_bytes(key: str) -> None:
    for fits, too_long in (("a" * 255, "a" * 256), ("é" * 127, "é" * 128), ("𐀀" * 63, "𐀀" * 64)):
        check_pdu(a_pdu(V12, **{key: fits}), V12)
        with pytest.raises(EventTooLarge):
            check_pdu(a_pdu(V12, **{key: too_long}), V12)


def test_identifiers_are_limited_to_255_bytes() -> None:
    for version, key, sigil in ((V11, "sender", "@"), (V11, "room_id", "!"), (V1, "event_id", "$")):
        check_pdu(a_pdu(version, **{key: sigil + "a" * 252 + ":b"}), version)
        with pytest.raises(InvalidEvent):
            check_pdu(a_pdu(version, **{key: sigil + "a" * 253 + ":b"}), version)


@every_version
def test_at_most_20_prev_events_and_10_auth_events(version: RoomVersion) -> None:
    reference = a_reference(version)
    check_pdu(a_pdu(version, prev_events=[reference] * 20, auth_events=[reference] * 10), version)
    check_pdu(a_pdu(version, prev_events=[], auth_events=[]), version)
    for too_many in ({"prev_events": [reference] * 21}, {"auth_events": [reference] * 11}):
        with pytest.raises(InvalidEvent):
            check_pdu(a_pdu(version, **too_many), version)


def test_references_have_the_form_of_the_room_version() -> None:
    for version, foreign in ((V1, a_reference(V3)), (V3, a_reference(V1))):
        with pytest.raises(InvalidEvent):
            check_pdu(a_pdu(version, prev_events=[foreign]), version)
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(V1, auth_events=[["$a:b", "hash"]]), V1)


@every_version
def test_depth_may_be_as_large_as_the_room_versions_integers(version: RoomVersion) -> None:
    largest = 2**53 - 1 if version.strict_canonical_json else 2**63 - 1
    check_pdu(a_pdu(version, depth=largest), version)
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(version, depth=largest + 1), version)


def test_floats_and_big_integers_in_content_are_refused_from_version_6() -> None:
    for number in (1.5, 2**53, 2**70):
        check_pdu(a_pdu(V5, content={"n": number}), V5)
        with pytest.raises(InvalidEvent, match="canonical"):
            check_pdu(a_pdu(V6, content={"n": number}), V6)


def test_room_ids_have_the_form_of_the_room_version() -> None:
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(V12, room_id="!room:example.org"), V12)
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(V11, room_id="!" + "r" * 43), V11)


def test_only_a_version_12_create_event_has_no_room_id() -> None:
    check_pdu(a_create_pdu(V12), V12)
    for pdu, version in (
        (a_create_pdu(V12, room_id="!" + "r" * 43), V12),
        (a_create_pdu(V12, state_key="x"), V12),
        (a_create_pdu(V12, state_key=None), V12),
        (a_create_pdu(V11, room_id=None), V11),
        (a_pdu(V12, room_id=None), V12),
    ):
        with pytest.raises(InvalidEvent):
            check_pdu(pdu, version)


@pytest.mark.parametrize("event_id", [None, 3, "opaque", "$", "$opaque", "$opaque:", "$opaque:bad_server", []])
def test_event_ids_of_versions_1_and_2_name_a_server(event_id: Any) -> None:
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(V1, event_id=event_id), V1)


def test_redacts_is_a_string_where_it_stands_at_the_top() -> None:
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(V6, type="m.room.redaction", redacts=3), V6)
    check_pdu(a_pdu(V6, type="m.room.redaction"), V6)
    check_pdu(a_pdu(V6, redacts=3), V6)
    check_pdu(a_pdu(V12, type="m.room.redaction", redacts=3), V12)


@every_version
def test_nesting_that_would_exhaust_the_stack_is_refused(version: RoomVersion) -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(InvalidEvent):
        check_pdu(a_pdu(version, content={"deep": deep}), version)
