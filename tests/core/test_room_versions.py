import dataclasses

import pytest

from homeserver.core.room_versions import (
    DEFAULT_ROOM_VERSION,
    ROOM_VERSIONS,
    UnsupportedRoomVersion,
    require_room_version,
)
from tests.core.sample_events import versions_with

ALL = [str(n) for n in range(1, 13)]


def test_every_stable_room_version_is_there_under_its_own_name() -> None:
    assert list(ROOM_VERSIONS) == ALL
    assert all(version.identifier == name for name, version in ROOM_VERSIONS.items())


def test_the_default_is_the_one_that_the_specification_recommends() -> None:
    assert require_room_version(DEFAULT_ROOM_VERSION).identifier == "12"


@pytest.mark.parametrize("identifier", ["", "0", "13", "org.matrix.msc3757.12"])
def test_an_unknown_version_is_refused(identifier: str) -> None:
    with pytest.raises(UnsupportedRoomVersion) as refusal:
        require_room_version(identifier)
    assert refusal.value.args == (identifier,)


@pytest.mark.parametrize(
    ("flag", "first", "last"),
    [
        ("event_id_in_pdu", 1, 2),
        ("event_references_carry_hashes", 1, 2),
        ("redaction_auth_rule", 1, 2),
        ("enforces_key_validity", 5, 12),
        ("strict_canonical_json", 6, 12),
        ("special_case_aliases_auth", 1, 5),
        ("redaction_keeps_aliases", 1, 5),
        ("limits_notification_power_levels", 6, 12),
        ("knocking", 7, 12),
        ("restricted_joins", 8, 12),
        ("redaction_keeps_join_rule_allow", 8, 12),
        ("redaction_keeps_join_authorisation", 9, 12),
        ("knock_restricted_joins", 10, 12),
        ("integer_power_levels", 10, 12),
        ("implicit_room_creator", 11, 12),
        ("updated_redaction_rules", 11, 12),
        ("redacts_in_content", 11, 12),
        ("room_id_is_create_event_hash", 12, 12),
        ("privileged_creators", 12, 12),
        ("additional_creators", 12, 12),
        ("create_event_in_auth_events", 1, 11),
    ],
)
def test_each_difference_holds_from_the_version_that_brought_it(flag: str, first: int, last: int) -> None:
    assert versions_with(flag) == ALL[first - 1 : last]


def test_event_ids_were_opaque_then_base64_then_url_safe() -> None:
    assert [ROOM_VERSIONS[n].event_id_format for n in ALL] == ["opaque"] * 2 + ["base64"] + ["urlsafe"] * 9


def test_state_resolution_changed_with_versions_2_and_12() -> None:
    assert [ROOM_VERSIONS[n].state_resolution for n in ALL] == ["v1"] + ["v2"] * 10 + ["v2.1"]


def test_every_version_differs_from_every_other() -> None:
    rows = [dataclasses.astuple(version)[1:] for version in ROOM_VERSIONS.values()]
    assert len(set(rows)) == len(rows)
