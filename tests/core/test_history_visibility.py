"""Who sees which events, by the room's history visibility where the event stands."""

from typing import Any

import pytest

from homeserver.core.events import Event
from homeserver.core.history_visibility import may_see_event, server_may_see_event, visibility_of
from tests.core.sample_events import V11, a_pdu

BOB = "@bob:remote.example"
REMOTE = "remote.example"
VISIBILITIES = ("world_readable", "shared", "invited", "joined")


def an_event(**changes: Any) -> Event:
    return Event.from_pdu(a_pdu(V11, **changes), V11)


def a_change_to(visibility: str) -> Event:
    return an_event(type="m.room.history_visibility", state_key="", content={"history_visibility": visibility})


@pytest.mark.parametrize(
    ("visibility", "membership", "joined_later", "expected"),
    [
        ("world_readable", "leave", False, True),
        ("world_readable", "ban", False, True),
        ("shared", "join", False, True),
        ("shared", "leave", True, True),
        ("shared", "invite", True, True),
        ("shared", "leave", False, False),
        ("shared", "invite", False, False),
        ("invited", "invite", False, True),
        ("invited", "join", False, True),
        ("invited", "leave", True, False),
        ("invited", "knock", True, False),
        ("joined", "join", False, True),
        ("joined", "invite", True, False),
        ("joined", "leave", True, False),
        ("not understood", "leave", True, True),
        ("not understood", "leave", False, False),
    ],
)
def test_visibility_and_membership_decide(visibility: str, membership: str, joined_later: bool, expected: bool) -> None:
    assert may_see_event(visibility, membership, joined_later, an_event(), BOB) is expected


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_member_sees_everything_while_joined(visibility: str) -> None:
    assert may_see_event(visibility, "join", False, an_event(), BOB)


@pytest.mark.parametrize("membership", ["invite", "join", "leave", "ban", "knock"])
def test_own_member_events_are_always_visible(membership: str) -> None:
    event = an_event(type="m.room.member", state_key=BOB, content={"membership": membership})
    assert may_see_event("joined", "leave", False, event, BOB)
    assert not may_see_event("joined", "leave", False, event, "@carol:example.org")


def test_change_of_visibility_is_seen_by_the_visibility_before_or_after() -> None:
    assert may_see_event("joined", "leave", False, a_change_to("world_readable"), BOB)
    assert may_see_event("world_readable", "leave", False, a_change_to("joined"), BOB)
    assert not may_see_event("joined", "leave", False, a_change_to("invited"), BOB)


def test_message_of_the_type_of_a_visibility_event_changes_nothing() -> None:
    event = an_event(type="m.room.history_visibility", content={"history_visibility": "world_readable"})
    assert not may_see_event("joined", "leave", False, event, BOB)


@pytest.mark.parametrize("content", [None, {}, {"history_visibility": "hidden"}, {"history_visibility": ["joined"]}])
def test_visibility_defaults_to_shared(content: dict[str, Any] | None) -> None:
    assert visibility_of(content) == "shared"


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_visibility_is_read_from_the_content(visibility: str) -> None:
    assert visibility_of({"history_visibility": visibility}) == visibility


@pytest.mark.parametrize(
    ("visibility", "membership", "expected"),
    [
        ("world_readable", "leave", True),
        ("shared", "leave", True),
        ("invited", "invite", True),
        ("invited", "join", True),
        ("invited", "leave", False),
        ("joined", "join", True),
        ("joined", "invite", False),
        ("joined", "ban", False),
    ],
)
def test_server_sees_what_one_of_its_users_saw(visibility: str, membership: str, expected: bool) -> None:
    memberships = [("@alice:example.org", "join"), (BOB, membership)]
    assert server_may_see_event(visibility, memberships, REMOTE) is expected


def test_server_name_is_compared_whole() -> None:
    memberships = [("@bob:not.remote.example", "join"), ("@bob:remote.example:8448", "join")]
    assert not server_may_see_event("joined", iter(memberships), REMOTE)


def test_server_sees_the_member_events_of_its_own_users() -> None:
    event = an_event(type="m.room.member", state_key=BOB, content={"membership": "join"})
    assert server_may_see_event("joined", [], REMOTE, event)
    assert not server_may_see_event("joined", [], "elsewhere.example", event)


def test_server_sees_a_change_of_visibility_by_the_visibility_after_too() -> None:
    assert server_may_see_event("joined", [], REMOTE, a_change_to("shared"))
    assert not server_may_see_event("joined", [(BOB, "leave")], REMOTE, a_change_to("invited"))
