"""What holds for the authorization rules on any room."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.auth_rules import (
    AuthError,
    auth_state_of,
    auth_types_for,
    check_auth,
    check_state_independent,
)
from homeserver.core.event_format import InvalidEvent
from homeserver.core.events import Event, StateKey
from homeserver.core.power_levels import PowerLevels, parse_level
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.random_rooms import RandomRoom
from tests.core.room_dag import RoomDag, started_room

VERSIONS = st.sampled_from(list(ROOM_VERSIONS))
SEEDS = st.integers(min_value=0, max_value=2**32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
quick = settings(max_examples=40, deadline=None)


def verdict(event: Event, state: dict[StateKey, Event]) -> str | None:
    try:
        check_auth(event, state)
    except AuthError as error:
        return error.rule if error.reason else "no reason"
    return None


@quick
@given(SEEDS, VERSIONS)
def test_verdicts_depend_on_the_selected_state_alone(seed: int, version: str) -> None:
    grown = RandomRoom(Random(seed), version).grow(25)
    for check in grown.checks:
        event = check.event
        keys = {*auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)}
        keys.add(("m.room.create", ""))
        state = grown.room.loaded({key: value for key, value in check.state.items() if key in keys})
        assert verdict(event, state) == check.rule


@quick
@given(SEEDS, VERSIONS)
def test_events_allowed_by_the_state_are_allowed_by_the_auth_events_selected_from_it(seed: int, version: str) -> None:
    room = RandomRoom(Random(seed), version).grow(25).room
    for event in room.events.values():
        check_state_independent(event, [room.events[event_id] for event_id in event.auth_events])
        assert verdict(event, auth_state_of(event, room.events)) is None


SPECIAL: dict[str, Any] = {
    "m.room.member": ("membership", "third_party_invite", "join_authorised_via_users_server"),
    "m.room.power_levels": ("users", "events", "notifications", "ban", "users_default"),
    "m.room.create": ("room_version", "creator", "additional_creators", "m.federate"),
    "m.room.redaction": ("redacts",),
    "m.room.aliases": ("aliases",),
}


@settings(max_examples=200, deadline=None)
@given(VERSIONS, st.sampled_from(list(SPECIAL)), st.data())
def test_any_content_gets_a_verdict(version: str, event_type: str, data: st.DataObject) -> None:
    room = started_room(version, "@bob:b.example")
    keys = st.sampled_from(SPECIAL[event_type])
    memberships = st.sampled_from(("join", "invite", "leave", "ban", "knock"))
    content = data.draw(st.dictionaries(keys, JSON | memberships, max_size=4))
    state_key = data.draw(st.sampled_from((None, "", "@bob:b.example", "@x:y.example", "nobody")))
    sender = data.draw(st.sampled_from(("@alice:a.example", "@bob:b.example")))
    try:
        event = room.event(event_type, sender, content, state_key)
    except InvalidEvent:
        return
    verdict(event, room.loaded(room.state_after[room.last.event_id]))


@settings(max_examples=100, deadline=None)
@given(VERSIONS, st.dictionaries(st.sampled_from(("users", "events", "ban", "users_default", "notifications")), JSON))
def test_any_power_levels_can_be_read(version: str, content: dict[str, Any]) -> None:
    levels = PowerLevels.of(content, RoomDag(version).create)
    assert isinstance(levels.ban, int)
    assert levels.user("@bob:b.example") == levels.users_default or "users" in content
    assert isinstance(levels.event("x", is_state=True), int)
    assert isinstance(levels.notification("room"), int)


@given(st.integers(-(2**53), 2**53), st.sampled_from(("{}", " {}", "{} ", "\t{:+d}\n")))
def test_levels_survive_being_written_as_strings(level: int, form: str) -> None:
    assert parse_level(form.format(level), integers_only=False) == level
    assert parse_level(form.format(level), integers_only=True) is None
