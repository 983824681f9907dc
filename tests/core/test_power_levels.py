"""Who has which power level, and what needs which."""

import math
from typing import Any

import pytest

from homeserver.core.power_levels import INFINITE_LEVEL, PowerLevels, creator_of, parse_level, privileged_creators
from tests.core.room_dag import RoomDag

ALICE, BOB, CAROL = "@alice:a.example", "@bob:b.example", "@carol:c.example"


def levels(content: dict[str, Any] | None, version: str = "11", **create: Any) -> PowerLevels:
    return PowerLevels.of(content, RoomDag(version, create_content=create).create)


@pytest.mark.parametrize("version", ["1", "6", "10", "11"])
def test_creator_has_100_and_others_nothing_without_power_levels(version: str) -> None:
    without = levels(None, version)
    assert (without.user(ALICE), without.user(BOB)) == (100, 0)


def test_creator_is_nobody_special_once_there_are_power_levels() -> None:
    assert levels({}).user(ALICE) == 0


@pytest.mark.parametrize("content", [None, {}, {"users": {BOB: 100}}])
def test_creators_stand_above_all_levels_in_version_12(content: dict[str, Any] | None) -> None:
    room = levels(content, "12", additional_creators=[CAROL])
    assert room.user(ALICE) == room.user(CAROL) == INFINITE_LEVEL == math.inf
    assert room.user(BOB) == (100 if content else 0)


def test_additional_creators_mean_nothing_before_version_12() -> None:
    room = RoomDag("11", create_content={"additional_creators": [CAROL]})
    assert privileged_creators(room.create) == frozenset()
    assert PowerLevels.of(None, room.create).user(CAROL) == 0


def test_creator_is_the_sender_of_the_create_event_from_version_11_on() -> None:
    assert creator_of(RoomDag("11", create_content={"creator": BOB}).create) == ALICE
    assert creator_of(RoomDag("10", create_content={"creator": BOB}).create) == BOB


def test_defaults_of_absent_levels() -> None:
    for room in (levels(None), levels({})):
        assert (room.invite, room.kick, room.ban, room.redact) == (0, 50, 50, 50)
        assert (room.users_default, room.events_default, room.state_default) == (0, 0, 50)
        assert room.event("m.room.topic", is_state=True) == 50
        assert room.event("m.room.message", is_state=False) == 0
        assert room.notification("room") == 50


def test_levels_are_read_from_the_content() -> None:
    room = levels(
        {
            "users": {BOB: 20},
            "users_default": 5,
            "events": {"m.room.topic": 7},
            "state_default": 30,
            "events_default": 3,
            "notifications": {"room": 60},
            "invite": 1,
            "kick": 2,
            "ban": 4,
            "redact": 6,
        }
    )
    assert (room.user(BOB), room.user(CAROL)) == (20, 5)
    assert (room.event("m.room.topic", is_state=True), room.event("m.room.name", is_state=True)) == (7, 30)
    assert room.event("m.room.message", is_state=False) == 3
    assert (room.notification("room"), room.notification("other")) == (60, 50)
    assert (room.invite, room.kick, room.ban, room.redact) == (1, 2, 4, 6)


@pytest.mark.parametrize(
    ("value", "level"),
    [("50", 50), (" 00100 ", 100), ("+7", 7), (" -7\t", -7), (50.57, 50), (5.114698e4, 51146), (-1.9, -1), (3, 3)],
)
def test_old_room_versions_accept_strings_and_floats_as_levels(value: object, level: int) -> None:
    assert parse_level(value, integers_only=False) == level


@pytest.mark.parametrize(
    "value", ["", "abc", "1.5", "1_000", "٣", "- 7", "++7", "0x10", True, None, [], {}, math.inf, math.nan, "9" * 5000]
)
def test_other_values_are_no_level_in_any_room_version(value: object) -> None:
    assert parse_level(value, integers_only=False) is None
    assert parse_level(value, integers_only=True) is None


@pytest.mark.parametrize("value", ["50", 50.0])
def test_only_integers_are_levels_from_version_10_on(value: object) -> None:
    assert parse_level(value, integers_only=True) is None
    assert levels({"ban": value}, "10").ban == 50
    assert levels({"ban": 7, "users": {BOB: value}}, "10").user(BOB) == 0


@pytest.mark.parametrize("name", ["users", "events", "notifications"])
def test_maps_of_levels_that_are_none_count_as_empty(name: str) -> None:
    room = levels({name: ["not", "a", "map"]})
    assert (room.user(BOB), room.event("x", is_state=True), room.notification("room")) == (0, 50, 50)
