"""Where Synapse knowingly decides otherwise than the specification says, and Hearth follows the specification.

Each of these fails once Synapse changes its mind, so the list stays true.
"""

from typing import Any

import pytest

from homeserver.core.auth_rules import AuthError, check_auth
from homeserver.core.events import Event
from tests.core.room_dag import RoomDag, started_room
from tests.differential.reference import Synapse

ALICE, BOB, CAROL = "@alice:a.example", "@bob:b.example", "@carol:c.example"


def verdicts(synapse: Synapse, room: RoomDag, event: Event, *without: tuple[str, str]) -> tuple[str | None, str | None]:
    """(rule by which Hearth refuses the event after the last one, Synapse's error); None: allowed."""
    state = {key: value for key, value in room.state_after[room.last.event_id].items() if key not in without}
    answer = synapse.ask(
        {
            "version": room.version.identifier,
            "pdus": {e.event_id: e.pdu for e in (*room.events.values(), event)},
            "checks": [{"event": event.event_id, "state": list(state.values())}],
            "independent": [],
            "resolutions": [],
            "redactions": [],
        }
    )
    try:
        check_auth(event, room.loaded(state))
    except AuthError as error:
        return error.rule, answer["checks"][0]
    return None, answer["checks"][0]


def power_levels(room: RoomDag, **content: Any) -> Event:
    return room.event("m.room.power_levels", ALICE, {"users": {ALICE: 100}, **content}, "")


def test_members_of_other_servers_in_rooms_that_are_not_federated(synapse: Synapse) -> None:
    """Rule 3 is about the sender. Synapse also refuses memberships about users of other servers. Such a room has one
    server only, so nobody else can disagree."""
    room = started_room("11", create_content={"m.federate": False})
    invite = room.event("m.room.member", ALICE, {"membership": "invite"}, BOB)
    ours, theirs = verdicts(synapse, room, invite)
    assert ours is None
    assert theirs is not None
    assert "unfederatable" in theirs


def test_values_of_m_federate_that_are_neither_true_nor_false(synapse: Synapse) -> None:
    """Rule 3 asks whether it is `false`. Synapse asks whether it is `true`."""
    room = started_room("11", create_content={"m.federate": "no"})
    ours, theirs = verdicts(synapse, room, room.event("m.room.member", BOB, {"membership": "join"}, BOB))
    assert ours is None
    assert theirs is not None


@pytest.mark.parametrize("user_id", ["@bob:not a domain", "@bob:", "@" + "b" * 255 + ":b.example"])
def test_user_ids_in_power_levels_that_are_none(synapse: Synapse, user_id: str) -> None:
    """Rule 9.3 wants valid user ids. Synapse looks for the `@` and the `:` only."""
    room = started_room("11")
    assert verdicts(synapse, room, power_levels(room, users={ALICE: 100, user_id: 1})) == ("9.3", None)


@pytest.mark.parametrize("level", [True, "1_0"])
def test_levels_that_python_takes_for_integers(synapse: Synapse, level: object) -> None:
    """Rule 9.1 wants integers or strings of digits. Synapse takes what Python's `int` does."""
    room = started_room("6")
    assert verdicts(synapse, room, power_levels(room, users={ALICE: 100, BOB: level})) == ("9.1", None)


@pytest.mark.parametrize("content", [{"ban": "many"}, {"events": []}, {"events": {"m.room.topic": None}}])
def test_first_power_levels_of_old_rooms_with_values_that_are_no_levels(synapse: Synapse, content: Any) -> None:
    """Rules 9.1 and 9.2 of room versions up to 9 say nothing about these. Synapse lets the first power levels of a
    room have them, and fails (with an internal error) at all that follow; Hearth refuses them at once."""
    room = started_room("9")
    event = power_levels(room, **content)
    assert verdicts(synapse, room, event, ("m.room.power_levels", "")) == ("9.1", None)


def test_power_levels_with_a_state_key(synapse: Synapse) -> None:
    """Rule 9.5 compares with the room's power levels. Synapse compares with those of the same state key, which no
    event may cite, and so lets anything pass. Nothing looks at such events."""
    room = started_room("11", BOB)
    room.power_levels(ALICE, {ALICE: 100, BOB: 50})
    event = room.event("m.room.power_levels", BOB, {"users": {ALICE: 100, BOB: 90}}, "other")
    assert verdicts(synapse, room, event) == ("9.9.1", None)


def test_redactions_of_nothing_in_the_first_room_versions(synapse: Synapse) -> None:
    """Rule 11.3 refuses a redaction that neither power nor the same server justifies. Synapse lets one pass that names
    no event."""
    room = started_room("2", BOB)
    assert verdicts(synapse, room, room.event("m.room.redaction", BOB, {})) == ("11.3", None)
