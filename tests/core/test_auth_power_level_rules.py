"""Changes of power levels: nobody gives or takes more than they have."""

from typing import Any

import pytest

from tests.core.room_dag import RoomDag, started_room

ALICE, BOB, CAROL, DAVE = "@alice:a.example", "@bob:b.example", "@carol:c.example", "@dave:d.example"


def room_with_levels(version: str = "11", **content: Any) -> RoomDag:
    """Alice 100, Bob and Carol 50, Dave 0; power levels may be changed at 50."""
    room = started_room(version, BOB, CAROL, DAVE)
    users = {ALICE: 100, BOB: 50, CAROL: 50}
    if version == "12":
        users.pop(ALICE)
    room.power_levels(ALICE, users, content={"events": {"m.room.power_levels": 50}, **content})
    return room


def change(room: RoomDag, sender: str, **changes: Any) -> str | None:
    """The refusal of the current power levels with `changes`; None removes."""
    current = room.events[room.state_after[room.last.event_id]["m.room.power_levels", ""]].content
    content = {name: value for name, value in {**current, **changes}.items() if value is not None}
    return room.refusal("m.room.power_levels", sender, content, "")


def users(**changes: int | None) -> dict[str, int]:
    names = {"alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}
    merged = {"alice": 100, "bob": 50, "carol": 50, **changes}
    return {names[name]: level for name, level in merged.items() if level is not None}


def test_the_first_power_levels_may_say_anything() -> None:
    room = RoomDag("11")
    room.member(ALICE, "join")
    assert room.refusal("m.room.power_levels", ALICE, {"users": {BOB: 1000}}, "") is None


@pytest.mark.parametrize(
    "name", ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]
)
def test_levels_above_ones_own_are_neither_set_nor_removed(name: str) -> None:
    room = room_with_levels()
    assert change(room, BOB, **{name: 50}) is None
    assert change(room, BOB, **{name: 51}) == "9.5.2"
    assert change(room_with_levels(**{name: 51}), BOB, **{name: None}) == "9.5.1"
    assert change(room_with_levels(**{name: 50}), BOB, **{name: None}) is None
    assert change(room_with_levels(**{name: 51}), ALICE, **{name: 20}) is None


@pytest.mark.parametrize("name", ["events", "notifications"])
def test_entries_above_ones_own_are_neither_set_nor_removed(name: str) -> None:
    def entries(**levels: int) -> dict[str, Any]:
        return {name: {"m.room.power_levels": 50, **levels} if name == "events" else levels}

    room = room_with_levels(**entries(low=50, high=51))
    assert change(room, BOB, **entries(high=51)) is None
    assert change(room, BOB, **entries(low=50)) == "9.6.1"
    assert change(room, BOB, **entries(low=50, high=50)) == "9.6.1"
    assert change(room, BOB, **entries(low=51, high=51)) == "9.7.1"
    assert change(room, BOB, **entries(low=50, high=51, new=51)) == "9.7.1"


def test_notifications_are_checked_from_version_6_on() -> None:
    assert change(room_with_levels("6"), BOB, notifications={"room": 90}) == "9.5.1"
    assert change(room_with_levels("5"), BOB, notifications={"room": 90}) is None


def test_equals_are_not_demoted_but_oneself_is() -> None:
    room = room_with_levels()
    assert change(room, BOB, users=users(carol=0)) == "9.8.1"
    assert change(room, BOB, users=users(carol=None)) == "9.8.1"
    assert change(room, BOB, users=users(alice=None)) == "9.8.1"
    assert change(room, BOB, users=users(bob=0)) is None
    assert change(room, BOB, users=users(bob=None)) is None
    assert change(room, ALICE, users=users(carol=0)) is None


def test_nobody_is_promoted_above_oneself() -> None:
    room = room_with_levels()
    assert change(room, BOB, users=users(dave=50)) is None
    assert change(room, BOB, users=users(dave=51)) == "9.9.1"
    assert change(room, BOB, users=users(bob=51)) == "9.9.1"


def test_a_level_written_differently_is_no_change() -> None:
    assert change(room_with_levels("9", ban=" 90"), BOB, ban="+90") is None


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_levels_are_integers_from_version_10_on(version: str) -> None:
    room = room_with_levels(version)
    rule = "10" if version == "12" else "9"
    assert change(room, ALICE, ban="50") == f"{rule}.1"
    assert change(room, ALICE, ban=True) == f"{rule}.1"
    assert change(room, ALICE, notifications={"room": "50"}) == f"{rule}.2"
    assert change(room, ALICE, events=["m.room.topic"]) == f"{rule}.2"
    assert change(room, ALICE, users={BOB: "50"}) == f"{rule}.3"


@pytest.mark.parametrize(("version", "rule"), [("1", "10.1"), ("6", "9.1"), ("11", "9.3"), ("12", "10.3")])
@pytest.mark.parametrize("malformed", [[], "x", {"bob": 50}, {BOB: None}, {BOB: "many"}, {BOB: {}}])
def test_users_are_user_ids_with_levels(version: str, rule: str, malformed: object) -> None:
    assert change(room_with_levels(version), ALICE, users=malformed) == rule


def test_values_that_are_no_levels_are_refused_in_old_versions_too() -> None:
    assert change(room_with_levels("6"), ALICE, ban="many") == "9.1"
    assert change(room_with_levels("6"), ALICE, events="x") == "9.1"
    assert change(room_with_levels("6"), ALICE, ban="60") is None
    assert change(room_with_levels("5"), ALICE, ban=60.5) is None


def test_creators_are_not_listed_in_version_12() -> None:
    room = started_room("12", BOB, create_content={"additional_creators": [CAROL]})
    assert change(room, ALICE, users={ALICE: 100}) == "10.4"
    assert change(room, ALICE, users={CAROL: 100}) == "10.4"
    assert change(room, ALICE, users={BOB: 2**53 - 1}, ban=2**53 - 1) is None


def test_nobody_outranks_a_creator_in_version_12() -> None:
    room = room_with_levels("12", events={"m.room.power_levels": 2**53 - 1}, ban=2**53 - 1)
    assert change(room, ALICE, ban=50) is None
    assert change(room, BOB, ban=50) == "8"
    assert room.member_refusal(BOB, "leave", ALICE) == "5.5.5"


@pytest.mark.parametrize(
    ("version", "rules"),
    [
        ("1", ("10.3.2", "10.6.1", "10.7.1")),
        ("6", ("9.3.2", "9.6.1", "9.7.1")),
        ("12", ("10.6.2", "10.9.1", "10.10.1")),
    ],
)
def test_errors_carry_the_numbers_of_the_rooms_version(version: str, rules: tuple[str, str, str]) -> None:
    room = room_with_levels(version)
    listed = users(alice=None) if version == "12" else users()
    assert change(room, BOB, kick=51) == rules[0]
    assert change(room, BOB, users={**listed, CAROL: 0}) == rules[1]
    assert change(room, BOB, users={**listed, DAVE: 51}) == rules[2]
