"""Joining, inviting, leaving, kicking, banning and knocking."""

from typing import Any

import pytest

from homeserver.core.hashes import unpadded_base64
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signatures import generate_signing_key, sign_json
from tests.core.room_dag import RoomDag, started_room

ALICE, BOB, CAROL, DAVE = "@alice:a.example", "@bob:b.example", "@carol:c.example", "@dave:d.example"
ALL = list(ROOM_VERSIONS)
KNOCKING = [v for v in ALL if ROOM_VERSIONS[v].knocking]
RESTRICTED = [v for v in ALL if ROOM_VERSIONS[v].restricted_joins]


def set_levels(room: RoomDag, **content: Any) -> None:
    """Bob gets 50; Alice stays above all."""
    users = {BOB: 50} if room.version.privileged_creators else {ALICE: 100, BOB: 50}
    room.power_levels(ALICE, users, content=content)


@pytest.mark.parametrize("version", ALL)
def test_creator_joins_first_whatever_the_join_rule(version: str) -> None:
    room = RoomDag(version)
    assert room.member_refusal(ALICE, "join") is None
    assert room.member_refusal(BOB, "join") is not None


@pytest.mark.parametrize("version", ALL)
def test_a_membership_is_state_with_a_membership(version: str) -> None:
    room = started_room(version)
    rule = "5.1" if version in ("1", "2", "3", "4", "5", "12") else "4.1"
    assert room.refusal("m.room.member", ALICE, {"membership": "join"}) == rule
    assert room.refusal("m.room.member", ALICE, {}, ALICE) == rule


@pytest.mark.parametrize(
    ("version", "rule"), [("1", "5.6"), ("6", "4.6"), ("7", "4.7"), ("8", "4.8"), ("11", "4.8"), ("12", "5.8")]
)
def test_unknown_memberships_are_refused(version: str, rule: str) -> None:
    room = started_room(version)
    assert room.member_refusal(ALICE, "visiting") == rule
    assert room.refusal("m.room.member", ALICE, {"membership": ["join"]}, ALICE) == rule


@pytest.mark.parametrize("version", ALL)
def test_anyone_joins_a_public_room_but_nobody_joins_another(version: str) -> None:
    room = started_room(version)
    assert room.member_refusal(BOB, "join") is None
    assert room.member_refusal(ALICE, "join", BOB) is not None


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("join_rule", ["invite", "knock"])
def test_only_the_invited_join_an_invite_only_room(version: str, join_rule: str) -> None:
    room = started_room(version, BOB, join_rule=join_rule)
    knows_rule = join_rule == "invite" or room.version.knocking
    assert room.member_refusal(CAROL, "join") is not None
    room.member(ALICE, "invite", CAROL)
    assert (room.member_refusal(CAROL, "join") is None) == knows_rule
    assert (room.member_refusal(BOB, "join") is None) == knows_rule


@pytest.mark.parametrize("version", ALL)
def test_a_room_without_join_rules_is_invite_only(version: str) -> None:
    room = RoomDag(version)
    room.member(ALICE, "join")
    assert room.member_refusal(BOB, "join") is not None
    room.member(ALICE, "invite", BOB)
    assert room.member_refusal(BOB, "join") is None


@pytest.mark.parametrize("join_rule", ["private", "nonsense", 5, None, ["public"]])
def test_unknown_join_rules_let_nobody_join(join_rule: Any) -> None:
    room = started_room("12")
    room.member(ALICE, "invite", BOB)
    room.join_rule(ALICE, join_rule)
    assert room.member_refusal(BOB, "join") == "5.3.7"


@pytest.mark.parametrize("version", ALL)
def test_kicked_user_cannot_rejoin_invite_only_room(version: str) -> None:
    room = started_room(version, BOB, join_rule="invite")
    room.member(ALICE, "leave", BOB)
    assert room.member_refusal(BOB, "join") is not None


@pytest.mark.parametrize("version", ALL)
def test_banned_user_neither_joins_nor_is_invited_nor_leaves(version: str) -> None:
    room = started_room(version, BOB)
    room.member(ALICE, "ban", BOB)
    assert room.member_refusal(BOB, "join") is not None
    assert room.member_refusal(ALICE, "invite", BOB) is not None
    assert room.member_refusal(BOB, "leave") is not None


@pytest.mark.parametrize("version", RESTRICTED)
def test_restricted_join_is_authorised_by_a_joined_user_who_may_invite(version: str) -> None:
    room = started_room(version, BOB, join_rule="restricted")
    set_levels(room, invite=50)
    rule = "5.3.5.2" if version == "12" else "4.3.5.2"
    assert room.member_refusal(CAROL, "join") == rule
    assert room.member_refusal(CAROL, "join", join_authorised_via_users_server=DAVE) == rule
    assert room.member_refusal(CAROL, "join", join_authorised_via_users_server=[BOB]) == rule
    assert room.member_refusal(CAROL, "join", join_authorised_via_users_server=BOB) is None
    set_levels(room, invite=51)
    assert room.member_refusal(CAROL, "join", join_authorised_via_users_server=BOB) == rule
    room.member(ALICE, "invite", CAROL)
    assert room.member_refusal(CAROL, "join") is None


def test_restricted_rooms_start_with_version_8_and_knock_restricted_ones_with_version_10() -> None:
    for version in ALL:
        restricted = started_room(version, join_rule="restricted")
        both = started_room(version, join_rule="knock_restricted")
        rules = ROOM_VERSIONS[version]
        authorised = {"join_authorised_via_users_server": ALICE}
        assert (restricted.member_refusal(BOB, "join", **authorised) is None) == rules.restricted_joins
        assert (both.member_refusal(BOB, "join", **authorised) is None) == rules.knock_restricted_joins
        assert (both.member_refusal(BOB, "knock") is None) == rules.knock_restricted_joins


@pytest.mark.parametrize("version", ALL)
def test_members_invite_whom_is_neither_joined_nor_banned(version: str) -> None:
    room = started_room(version, BOB)
    number = (
        "5.3" if version in ("1", "2", "3", "4", "5") else {"6": "4.3", "7": "4.3", "12": "5.4"}.get(version, "4.4")
    )
    assert room.member_refusal(BOB, "invite", CAROL) is None
    assert room.member_refusal(DAVE, "invite", CAROL) == f"{number}.2"
    assert room.member_refusal(BOB, "invite", ALICE) == f"{number}.3"
    set_levels(room, invite=51)
    assert room.member_refusal(BOB, "invite", CAROL) == f"{number}.5"


@pytest.mark.parametrize("version", ALL)
def test_members_and_invited_leave_but_others_do_not(version: str) -> None:
    room = started_room(version, BOB)
    room.member(ALICE, "invite", CAROL)
    assert room.member_refusal(BOB, "leave") is None
    assert room.member_refusal(CAROL, "leave") is None
    assert room.member_refusal(DAVE, "leave") is not None


@pytest.mark.parametrize("version", ALL)
def test_kicking_needs_the_level_and_more_than_the_target(version: str) -> None:
    room = started_room(version, BOB, CAROL)
    set_levels(room)
    assert room.member_refusal(BOB, "leave", CAROL) is None
    assert room.member_refusal(CAROL, "leave", BOB) is not None
    assert room.member_refusal(BOB, "leave", ALICE) is not None
    assert room.member_refusal(DAVE, "leave", CAROL) is not None
    set_levels(room, kick=51)
    assert room.member_refusal(BOB, "leave", CAROL) is not None


@pytest.mark.parametrize("version", ALL)
def test_unbanning_needs_ban_and_kick_level(version: str) -> None:
    room = started_room(version, BOB)
    set_levels(room)
    room.member(BOB, "ban", CAROL)
    assert room.member_refusal(BOB, "leave", CAROL) is None
    set_levels(room, ban=51)
    assert room.member_refusal(BOB, "leave", CAROL) is not None
    set_levels(room, kick=51)
    assert room.member_refusal(BOB, "leave", CAROL) is not None


@pytest.mark.parametrize("version", ALL)
def test_banning_needs_the_level_and_more_than_the_target(version: str) -> None:
    room = started_room(version, BOB, CAROL)
    set_levels(room)
    assert room.member_refusal(BOB, "ban", CAROL) is None
    assert room.member_refusal(BOB, "ban", DAVE) is None
    assert room.member_refusal(BOB, "ban", ALICE) is not None
    assert room.member_refusal(BOB, "ban", BOB) is not None
    assert room.member_refusal(DAVE, "ban", CAROL) is not None
    set_levels(room, ban=51)
    assert room.member_refusal(BOB, "ban", CAROL) is not None


@pytest.mark.parametrize("version", KNOCKING)
def test_knocking_where_the_join_rule_lets_one(version: str) -> None:
    room = started_room(version, BOB, join_rule="knock")
    assert room.member_refusal(CAROL, "knock") is None
    assert room.member_refusal(CAROL, "knock", DAVE) is not None
    assert room.member_refusal(BOB, "knock") is not None
    room.member(CAROL, "knock")
    assert room.member_refusal(CAROL, "knock") is None
    assert room.member_refusal(CAROL, "join") is not None
    assert room.member_refusal(CAROL, "leave") is None
    assert room.member_refusal(ALICE, "invite", CAROL) is None
    room.member(ALICE, "ban", CAROL)
    assert room.member_refusal(CAROL, "knock") is not None
    room.join_rule(ALICE, "invite")
    assert room.member_refusal(DAVE, "knock") is not None


def test_knocking_is_unknown_before_version_7() -> None:
    assert started_room("6", join_rule="knock").member_refusal(BOB, "knock") == "4.6"


# Third-party invites

KEY = generate_signing_key("1", b"k" * 32)
OTHER_KEY = generate_signing_key("1", b"o" * 32)


def public_key(key: Any) -> str:
    return unpadded_base64(bytes(key.verify_key))


def invited_by_email(version: str = "11", **content: Any) -> RoomDag:
    room = started_room(version, BOB, join_rule="invite")
    room.send("m.room.third_party_invite", ALICE, content or {"public_key": public_key(KEY)}, "token")
    return room


def accept(room: RoomDag, signed: object, sender: str = ALICE) -> str | None:
    return room.member_refusal(sender, "invite", CAROL, third_party_invite={"display_name": "c…", "signed": signed})


def signed_for(user_id: str = CAROL, token: str = "token", key: Any = KEY) -> dict[str, Any]:
    return sign_json({"mxid": user_id, "token": token}, "id.example", key)


@pytest.mark.parametrize("version", ALL)
def test_an_invite_by_email_is_allowed_with_the_identity_servers_signature(version: str) -> None:
    assert accept(invited_by_email(version), signed_for()) is None


def test_the_inviter_by_email_need_not_be_in_the_room_any_longer() -> None:
    room = invited_by_email()
    set_levels(room)
    room.member(ALICE, "leave")
    assert accept(room, signed_for()) is None


def test_any_of_the_public_keys_will_do() -> None:
    keys: list[Any] = [{"public_key": "!"}, "nonsense", {}, {"public_key": public_key(KEY)}]
    assert accept(invited_by_email(public_key=public_key(OTHER_KEY), public_keys=keys), signed_for()) is None
    url_safe = public_key(KEY).replace("+", "-").replace("/", "_")
    assert accept(invited_by_email(public_key=url_safe), signed_for()) is None


def test_an_invite_by_email_is_refused_by_the_rule_that_it_breaks() -> None:
    room = invited_by_email()
    signed = signed_for()
    assert accept(room, None) == "4.4.1.2"
    assert room.member_refusal(ALICE, "invite", CAROL, third_party_invite="x") == "4.4.1.2"
    assert accept(room, {"mxid": CAROL}) == "4.4.1.3"
    assert accept(room, {"token": "token"}) == "4.4.1.3"
    assert accept(room, signed_for(DAVE)) == "4.4.1.4"
    assert accept(room, signed_for(token="another")) == "4.4.1.5"
    assert accept(room, signed, sender=BOB) == "4.4.1.6"
    assert accept(room, signed_for(key=OTHER_KEY)) == "4.4.1.8"
    assert accept(room, {**signed, "extra": 1}) == "4.4.1.8"
    assert accept(room, {**signed, "signatures": []}) == "4.4.1.8"
    assert accept(room, {**signed, "signatures": {"id.example": {"ed25519:1": 5}}}) == "4.4.1.8"
    room.member(ALICE, "ban", CAROL)
    assert accept(room, signed) == "4.4.1.1"
