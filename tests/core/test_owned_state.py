"""State that belongs to users (proposal 3757): the rule for state keys of its room versions."""

import pytest

from homeserver.core.auth_rule_numbers import numbers_of
from homeserver.core.event_format import EventTooLarge
from homeserver.core.room_versions import EXPERIMENTAL_VERSIONS
from tests.core.room_dag import RoomDag, started_room

ALICE, BOB, CAROL = "@alice:a.example", "@bob:b.example", "@carol:c.example"


@pytest.fixture(params=list(EXPERIMENTAL_VERSIONS))
def room(request: pytest.FixtureRequest) -> RoomDag:
    """Alice made it; everybody may send the state that the tests are about."""
    room = started_room(request.param, BOB, CAROL)
    room.power_levels(ALICE, {ALICE: 100}, content={"events": {"org.example": 0}})
    return room


@pytest.mark.parametrize(
    ("sender", "state_key", "rule"),
    [
        (BOB, BOB, None),
        (BOB, f"{BOB}_device_:!@#", None),
        (BOB, "anything", None),
        (ALICE, BOB, None),
        (ALICE, f"{BOB}_device", None),
        (ALICE, "@nobody:hs2", None),
        (BOB, CAROL, ".1.3"),
        (BOB, f"{CAROL}_device", ".1.3"),
        (BOB, f"{ALICE}_device", ".1.3"),
        (BOB, f"@prefix_{BOB}_device", ".1.3"),
        (BOB, f"{BOB}device", ".1.3"),
        (ALICE, "@oops", ".1.1"),
        (ALICE, f"{ALICE}@device", ".1.1"),
        (BOB, f"{BOB}_{'x' * 255}", None),
        (BOB, f"{BOB}_{'x' * 256}", ".1.2"),
        (BOB, "x" * 256, ".2"),
    ],
)
def test_state_keys_belong_to_whom_they_name(room: RoomDag, sender: str, state_key: str, rule: str | None) -> None:
    number = numbers_of(room.version).state_key
    assert room.refusal("org.example", sender, {}, state_key) == (None if rule is None else f"{number}{rule}")


def test_a_state_key_has_a_limit_there_too(room: RoomDag) -> None:
    with pytest.raises(EventTooLarge):
        room.refusal("org.example", BOB, {}, f"{BOB}_{'x' * 511}")
