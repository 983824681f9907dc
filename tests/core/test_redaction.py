import copy
from typing import Any

import pytest

from homeserver.core.redaction import kept_content_keys, redact
from homeserver.core.room_versions import RoomVersion
from tests.core.sample_events import ALL_VERSIONS, V1, V8, V9, V10, V11, V12, a_pdu, versions_with

ESSENTIAL = {
    "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth", "prev_events",
    "auth_events", "origin_server_ts",
}  # fmt: skip
UNTIL_V10 = ESSENTIAL | {"prev_state", "origin", "membership"}
LEVELS = {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}


def numbers(version: RoomVersion) -> int:
    return int(version.identifier)


def content_kept(version: RoomVersion) -> dict[str, set[str]]:
    """The tables of the specification, written out once more by version number."""
    number = numbers(version)
    kept = {
        "m.room.member": {"membership"} | ({"join_authorised_via_users_server"} if number >= 9 else set()),
        "m.room.create": {"creator"} if number <= 10 else {"creator", "room_version", "anything"},
        "m.room.join_rules": {"join_rule"} | ({"allow"} if number >= 8 else set()),
        "m.room.power_levels": LEVELS | ({"invite"} if number >= 11 else set()),
        "m.room.aliases": {"aliases"} if number <= 5 else set(),
        "m.room.history_visibility": {"history_visibility"},
        "m.room.redaction": {"redacts"} if number >= 11 else set(),
        "m.room.message": set(),
        "m.room.name": set(),
    }
    return kept


EVERY_CONTENT_KEY = {
    *LEVELS, "invite", "notifications", "membership", "displayname", "reason", "join_authorised_via_users_server",
    "creator", "room_version", "anything", "join_rule", "allow", "aliases", "history_visibility", "redacts", "body",
}  # fmt: skip


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: "v" + v.identifier)
def test_top_level_keys_that_survive_are_those_of_the_room_version(version: RoomVersion) -> None:
    extra = {"unsigned", "age_ts", "redacts", "prev_state", "origin", "membership", "state_key", "event_id", "junk"}
    redacted = redact(a_pdu(version, **dict.fromkeys(extra, "x")), version)
    assert set(redacted) == (UNTIL_V10 if numbers(version) <= 10 else ESSENTIAL)


@pytest.mark.parametrize("event_type", sorted(content_kept(V12)))
@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: "v" + v.identifier)
def test_content_keys_that_survive_are_those_of_the_event_type_and_room_version(
    version: RoomVersion, event_type: str
) -> None:
    content: dict[str, Any] = dict.fromkeys(sorted(EVERY_CONTENT_KEY), "x")
    kept = set(redact(a_pdu(version, type=event_type, content=content), version)["content"])
    if event_type == "m.room.create" and version.updated_redaction_rules:
        assert kept == EVERY_CONTENT_KEY
    else:
        assert kept == content_kept(version)[event_type]


def test_the_signed_part_of_a_third_party_invite_survives_from_version_11() -> None:
    invite = {"display_name": "a", "signed": {"mxid": "@b:c", "token": "t"}}
    content = {"membership": "invite", "third_party_invite": invite, "reason": "r"}
    for version, expected in (
        (V10, {"membership": "invite"}),
        (V11, {"membership": "invite", "third_party_invite": {"signed": invite["signed"]}}),
    ):
        assert redact(a_pdu(version, type="m.room.member", content=content), version)["content"] == expected


@pytest.mark.parametrize("invite", [None, "x", [], {}, {"display_name": "a"}])
def test_a_malformed_third_party_invite_does_not_survive(invite: Any) -> None:
    content = {"membership": "invite", "third_party_invite": invite}
    assert redact(a_pdu(V12, type="m.room.member", content=content), V12)["content"] == {"membership": "invite"}


def test_version_9_repaired_what_version_8_forgot() -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@a:b"}
    assert redact(a_pdu(V8, type="m.room.member", content=content), V8)["content"] == {"membership": "join"}
    assert redact(a_pdu(V9, type="m.room.member", content=content), V9)["content"] == content


def test_the_event_that_is_redacted_is_not_changed() -> None:
    pdu = a_pdu(V1, unsigned={"age": 1}, redacts="$x")
    before = copy.deepcopy(pdu)
    redact(pdu, V1)
    assert pdu == before


def test_aliases_are_special_only_before_version_6() -> None:
    assert [v.identifier for v in ALL_VERSIONS if "m.room.aliases" in kept_content_keys(v)] == ["1", "2", "3", "4", "5"]
    assert versions_with("redaction_keeps_aliases") == ["1", "2", "3", "4", "5"]
