"""The authorization rules but those on memberships and on changes of power levels."""

import pytest

from homeserver.core.auth_rules import (
    AuthError,
    MissingEvents,
    auth_events_of,
    auth_state_of,
    auth_types_for,
    check_auth,
    check_state_independent,
    select_auth_events,
)
from homeserver.core.event_builder import EventDraft
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.room_dag import RoomDag, started_room

ALICE, BOB, CAROL = "@alice:a.example", "@bob:b.example", "@carol:c.example"
ALL = list(ROOM_VERSIONS)
BEFORE_12 = ALL[:-1]


def independent_refusal(room: RoomDag, auth_events: list[str], event_type: str = "m.room.topic") -> str | None:
    event = room.event(event_type, ALICE, {"membership": "leave"}, ALICE, auth_events=auth_events)
    try:
        check_state_independent(event, [room.events[event_id] for event_id in auth_events])
    except AuthError as error:
        return error.rule
    return None


@pytest.mark.parametrize("version", ALL)
def test_a_well_formed_create_event_is_allowed(version: str) -> None:
    create = RoomDag(version).create
    check_auth(create, {})
    check_state_independent(create, [])


@pytest.mark.parametrize("version", ALL)
def test_a_create_event_has_no_previous_events(version: str) -> None:
    room = RoomDag(version)
    room.room_id = None if room.version.room_id_is_create_event_hash else room.room_id
    content = {"creator": ALICE}
    event = room.event("m.room.create", ALICE, content, "", prev=[room.create], state={})
    with pytest.raises(AuthError) as raised:
        check_auth(event, {})
    assert (raised.value.rule, raised.value.reason) == ("1.1", "an m.room.create event has no prev_events")


@pytest.mark.parametrize("version", BEFORE_12)
def test_the_room_id_is_of_the_creators_server_before_version_12(version: str) -> None:
    room = RoomDag(version)
    assert room.refusal("m.room.create", BOB, {"creator": BOB}, "", prev=[], state={}) == "1.2"


def test_the_create_event_of_version_12_has_no_room_id() -> None:
    room = RoomDag("12")
    assert room.refusal("m.room.create", ALICE, {}, "other", prev=[], state={}) == "1.2"


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("claimed", ["nonsense", 12, None, ["1"]])
def test_a_create_event_names_a_known_room_version(version: str, claimed: object) -> None:
    room = RoomDag(version, create_content={"room_version": claimed})
    with pytest.raises(AuthError, match=r"rule 1\.3"):
        check_auth(room.create, {})


@pytest.mark.parametrize("version", ALL)
def test_a_create_event_names_its_creator_before_version_11(version: str) -> None:
    room = RoomDag(version)
    room.room_id = None if room.version.room_id_is_create_event_hash else room.room_id
    expected = None if room.version.implicit_room_creator else "1.4"
    assert room.refusal("m.room.create", ALICE, {}, "", prev=[], state={}) == expected


@pytest.mark.parametrize("creators", ["@bob:b.example", {}, [1], ["bob"], ["@bob"], ["@" + "b" * 255 + ":b.example"]])
def test_additional_creators_are_user_ids_in_version_12(creators: object) -> None:
    with pytest.raises(AuthError, match=r"rule 1\.4"):
        check_auth(RoomDag("12", create_content={"additional_creators": creators}).create, {})
    check_auth(RoomDag("11", create_content={"additional_creators": creators}).create, {})


@pytest.mark.parametrize("version", ALL)
def test_auth_events_name_no_key_twice(version: str) -> None:
    room = started_room(version)
    state = room.state_after[room.last.event_id]
    first = room.power_levels(ALICE, {} if version == "12" else {ALICE: 100}, content={"ban": 60})
    auth_events = [*state.values(), first.event_id]
    auth_events = [e for e in auth_events if room.events[e].type in ("m.room.create", "m.room.power_levels")]
    auth_events = auth_events[1:] if version == "12" else auth_events
    assert independent_refusal(room, auth_events) == ("3.1" if version == "12" else "2.1")


@pytest.mark.parametrize("version", ALL)
def test_auth_events_are_only_those_that_the_event_needs(version: str) -> None:
    room = started_room(version)
    state = room.state_after[room.last.event_id]
    auth_events = [state["m.room.join_rules", ""]]
    assert independent_refusal(room, auth_events) == ("3.2" if version == "12" else "2.2")
    message = room.send("m.room.message", ALICE, {"body": "no state"})
    assert independent_refusal(room, [message.event_id]) == ("3.2" if version == "12" else "2.2")


def test_auth_events_do_not_name_the_create_event_in_version_12() -> None:
    room = started_room("12")
    assert independent_refusal(room, [room.create.event_id]) == "3.2"
    assert independent_refusal(room, []) is None


@pytest.mark.parametrize("version", BEFORE_12)
def test_auth_events_name_the_create_event_before_version_12(version: str) -> None:
    room = started_room(version)
    assert independent_refusal(room, []) == "2.4"
    assert independent_refusal(room, [room.create.event_id]) is None


@pytest.mark.parametrize("version", ALL)
def test_rejected_auth_events_reject(version: str) -> None:
    room = started_room(version)
    event = room.event("m.room.topic", ALICE, {}, "")
    auth_events = [room.events[event_id] for event_id in event.auth_events]
    check_state_independent(event, auth_events)
    with pytest.raises(AuthError, match="3.3" if version == "12" else "2.3"):
        check_state_independent(event, auth_events, rejected={auth_events[0].event_id})


@pytest.mark.parametrize("version", ALL)
def test_auth_events_of_another_room_reject(version: str) -> None:
    room, other = started_room(version), started_room(version, creator="@alice:z.example")
    event = room.event("m.room.topic", ALICE, {}, "")
    auth_events = [room.events[event_id] for event_id in event.auth_events]
    foreign = other.events[other.state_after[other.last.event_id]["m.room.power_levels", ""]]
    auth_events = [foreign if e.type == foreign.type else e for e in auth_events]
    with pytest.raises(AuthError, match="3.5" if version == "12" else "2.5"):
        check_state_independent(event, auth_events)


def test_the_room_id_implies_the_create_event_in_version_12() -> None:
    room, other = started_room("12"), started_room("12", creator="@alice:z.example")
    state = room.loaded(room.state_after[room.last.event_id])
    state["m.room.create", ""] = other.create
    with pytest.raises(AuthError, match=r"rule 2\)"):
        check_auth(room.event("m.room.topic", ALICE, {}, ""), state)


@pytest.mark.parametrize("version", ALL)
def test_nothing_is_allowed_without_a_create_event(version: str) -> None:
    room = started_room(version)
    with pytest.raises(AuthError) as raised:
        check_auth(room.event("m.room.topic", ALICE, {}, ""), {})
    assert raised.value.rule == ("2" if version == "12" else "2.4")


@pytest.mark.parametrize(("version", "rule"), [("1", "3"), ("6", "3"), ("11", "3"), ("12", "4")])
def test_other_servers_send_nothing_where_the_room_is_not_federated(version: str, rule: str) -> None:
    room = started_room(version, create_content={"m.federate": False})
    assert room.member_refusal(BOB, "join") == rule
    assert room.member_refusal("@bob:a.example", "join") is None


@pytest.mark.parametrize(("version", "number"), [("1", 6), ("5", 6), ("6", 5), ("11", 5), ("12", 6)])
def test_only_members_send(version: str, number: int) -> None:
    room = started_room(version, BOB)
    assert room.refusal("m.room.message", CAROL, {}) == str(number)
    room.member(BOB, "leave")
    assert room.refusal("m.room.message", BOB, {}) == str(number)


@pytest.mark.parametrize(("version", "number"), [("1", 8), ("6", 7), ("12", 8)])
def test_each_type_needs_its_level(version: str, number: int) -> None:
    room = started_room(version, BOB)
    assert room.refusal("m.room.topic", BOB, {}, "") == str(number)
    assert room.refusal("m.room.message", BOB, {}) is None
    users = {BOB: 50} if version == "12" else {ALICE: 100, BOB: 50}
    room.power_levels(ALICE, users, content={"events": {"m.room.message": 60, "m.room.name": 20}})
    assert room.refusal("m.room.topic", BOB, {}, "") is None
    assert room.refusal("m.room.name", BOB, {}, "") is None
    assert room.refusal("m.room.message", BOB, {}) == str(number)


@pytest.mark.parametrize(("version", "number"), [("1", 9), ("6", 8), ("12", 9)])
def test_state_keys_of_other_users_are_theirs(version: str, number: int) -> None:
    room = started_room(version, BOB)
    assert room.refusal("org.example.location", ALICE, {}, BOB) == str(number)
    assert room.refusal("org.example.location", ALICE, {}, ALICE) is None


@pytest.mark.parametrize(("version", "rule"), [("1", "7.1"), ("6", "6.1"), ("12", "7.1")])
def test_third_party_invites_need_the_invite_level_only(version: str, rule: str) -> None:
    room = started_room(version, BOB)
    assert room.refusal("m.room.third_party_invite", BOB, {}, "token") is None
    room.power_levels(ALICE, {} if version == "12" else {ALICE: 100}, content={"invite": 10})
    assert room.refusal("m.room.third_party_invite", BOB, {}, "token") == rule


@pytest.mark.parametrize("version", ["1", "5"])
def test_a_server_sets_its_own_aliases_without_being_joined_up_to_version_5(version: str) -> None:
    room = started_room(version)
    assert room.refusal("m.room.aliases", BOB, {}, "b.example") is None
    assert room.refusal("m.room.aliases", BOB, {}, "a.example") == "4.2"
    assert room.refusal("m.room.aliases", BOB, {}) == "4.1"


def test_aliases_are_ordinary_state_from_version_6_on() -> None:
    room = started_room("6")
    assert room.refusal("m.room.aliases", BOB, {}, "b.example") == "5"
    assert room.refusal("m.room.aliases", ALICE, {}, "b.example") is None


def test_redacting_events_of_other_servers_needs_the_redact_level_up_to_version_2() -> None:
    room = started_room("2", BOB)
    assert room.refusal("m.room.redaction", BOB, {}, redacts="$x:b.example") is None
    assert room.refusal("m.room.redaction", BOB, {}, redacts="$x:a.example") == "11.3"
    assert room.refusal("m.room.redaction", BOB, {}) == "11.3"
    assert room.refusal("m.room.redaction", ALICE, {}, redacts="$x:b.example") is None


@pytest.mark.parametrize("version", ["3", "11", "12"])
def test_redactions_are_ordinary_events_from_version_3_on(version: str) -> None:
    room = started_room(version, BOB)
    assert room.refusal("m.room.redaction", BOB, {"redacts": "$x"}, redacts="$x") is None


@pytest.mark.parametrize("version", ALL)
def test_selected_auth_events_are_what_the_rules_look_at(version: str) -> None:
    room = started_room(version, BOB)
    state = room.state_after[room.last.event_id]
    draft = EventDraft(type="m.room.member", sender=BOB, state_key=CAROL, content={"membership": "invite"}, room_id="!")
    selected = {room.events[event_id].key for event_id in select_auth_events(draft, state, room.version)}
    expected = {("m.room.power_levels", ""), ("m.room.member", BOB), ("m.room.join_rules", "")}
    assert selected == expected | ({("m.room.create", "")} if version != "12" else set())


def test_selection_names_third_party_invite_and_authorising_member() -> None:
    version = ROOM_VERSIONS["11"]
    invite = {"membership": "invite", "third_party_invite": {"signed": {"token": "t"}}}
    assert ("m.room.third_party_invite", "t") in auth_types_for("m.room.member", ALICE, BOB, invite, version)
    join = {"membership": "join", "join_authorised_via_users_server": CAROL}
    assert ("m.room.member", CAROL) in auth_types_for("m.room.member", BOB, BOB, join, version)
    assert ("m.room.member", CAROL) not in auth_types_for("m.room.member", BOB, BOB, join, ROOM_VERSIONS["7"])


@pytest.mark.parametrize(
    "content", [{}, {"membership": 5}, {"membership": "invite", "third_party_invite": []}, {"membership": ["join"]}]
)
def test_selection_takes_malformed_memberships(content: dict[str, object]) -> None:
    keys = auth_types_for("m.room.member", ALICE, ALICE, content, ROOM_VERSIONS["1"])
    assert len(keys) == len(set(keys))


def test_the_create_event_has_no_auth_events() -> None:
    for version in ROOM_VERSIONS.values():
        assert auth_types_for("m.room.create", ALICE, "", {}, version) == []
    assert auth_events_of(RoomDag("12").create) == ()


@pytest.mark.parametrize("version", ALL)
def test_the_state_of_an_events_own_auth_events_has_the_create_event(version: str) -> None:
    room = started_room(version, BOB)
    event = room.event("m.room.message", BOB, {})
    state = auth_state_of(event, room.events)
    assert state["m.room.create", ""] is room.create
    check_auth(event, state)


def test_missing_auth_events_are_all_named_at_once() -> None:
    room = started_room("12", BOB)
    event = room.event("m.room.message", BOB, {})
    with pytest.raises(MissingEvents) as raised:
        auth_state_of(event, {})
    assert raised.value.event_ids == {room.create.event_id, *event.auth_events}


def test_rejected_auth_events_authorise_nothing() -> None:
    room = started_room("12", BOB)
    event = room.event("m.room.message", BOB, {})
    joined = room.state_after[room.last.event_id]["m.room.member", BOB]
    with pytest.raises(AuthError, match="rule 6"):
        check_auth(event, auth_state_of(event, room.events, rejected={joined}))
