"""Memberships: who may come in, who must go, and what stays."""

from typing import Any

import pytest

from homeserver.errors import BadState, Forbidden, NotFound, UnableToGrantJoin, Unknown, UserSuspended
from storage import memberships
from tests.services.spine import ALICE, BOB, CAROL, Person, Spine

JOIN_RULES = "m.room.join_rules"


async def membership(spine: Spine, room_id: str, person: Person) -> str | None:
    """The membership, which memory and database must agree on."""
    stored = await spine.state.event(room_id, "m.room.member", person.user_id)
    async with spine.database.read() as tx:
        row = await memberships.membership_of(tx, room_id, person.user_id)
    in_state = None if stored is None else stored.event.membership
    assert in_state == (None if row is None else row.membership)
    head = await spine.heads.get(room_id)
    assert head is not None
    assert (person.user_id in head.joined) == (in_state == "join")
    assert (person.user_id in head.invited) == (in_state == "invite")
    return in_state


async def private(spine: Spine, *joined: Person, rule: dict[str, Any] | None = None, **body: Any) -> str:
    room_id = await spine.new_room(preset="private_chat", **body)
    for person in joined:
        await spine.membership.invite(ALICE, room_id, person.user_id)
        await spine.membership.join(person, room_id)
    if rule is not None:
        await spine.put(ALICE, room_id, JOIN_RULES, rule, "")
    return room_id


async def test_a_private_room_is_joined_by_invite_only(spine: Spine) -> None:
    room_id = await private(spine)
    with pytest.raises(Forbidden):
        await spine.membership.join(BOB, room_id)
    await spine.membership.invite(ALICE, room_id, BOB.user_id)
    assert await membership(spine, room_id, BOB) == "invite"
    assert await spine.membership.join(BOB, room_id) == room_id
    assert await membership(spine, room_id, BOB) == "join"


async def test_joining_a_room_that_one_is_in_changes_nothing(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    before = await spine.state.event(room_id, "m.room.member", BOB.user_id)
    assert await spine.membership.join(BOB, room_id) == room_id
    assert await spine.state.event(room_id, "m.room.member", BOB.user_id) is before


async def test_a_member_event_shows_the_profile(spine: Spine) -> None:
    spine.profiles.fields[BOB.user_id] = {"displayname": "Bob", "avatar_url": "mxc://x/y"}
    room_id = await spine.new_room(joined=[BOB])
    stored = await spine.state.event(room_id, "m.room.member", BOB.user_id)
    assert stored is not None
    assert stored.event.content == {"displayname": "Bob", "avatar_url": "mxc://x/y", "membership": "join"}
    spine.profiles.fields[BOB.user_id] = {"displayname": "Robert"}
    await spine.membership.profile_changed(BOB.user_id)
    async with spine.database.read() as tx:
        row = await memberships.membership_of(tx, room_id, BOB.user_id)
    assert row is not None
    assert (row.display_name, row.avatar_url) == ("Robert", None)


async def test_kicked_user_cannot_rejoin_invite_only_room(spine: Spine) -> None:
    room_id = await private(spine, BOB)
    await spine.membership.kick(ALICE, room_id, BOB.user_id, reason="noise")
    assert await membership(spine, room_id, BOB) == "leave"
    with pytest.raises(Forbidden):
        await spine.membership.join(BOB, room_id)


async def test_kicking_needs_power_and_somebody_to_kick(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB, CAROL])
    with pytest.raises(Forbidden):
        await spine.membership.kick(BOB, room_id, CAROL.user_id)
    await spine.membership.leave(CAROL, room_id)
    with pytest.raises(Forbidden):
        await spine.membership.kick(ALICE, room_id, CAROL.user_id)


async def test_a_banned_user_stays_out_until_unbanned(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    await spine.membership.ban(ALICE, room_id, BOB.user_id)
    assert await membership(spine, room_id, BOB) == "ban"
    with pytest.raises(Forbidden):
        await spine.membership.join(BOB, room_id)
    await spine.membership.unban(ALICE, room_id, BOB.user_id)
    assert await membership(spine, room_id, BOB) == "leave"
    await spine.membership.join(BOB, room_id)


async def test_only_the_banned_are_unbanned(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    with pytest.raises(BadState):
        await spine.membership.unban(ALICE, room_id, BOB.user_id)


async def test_somebody_who_never_was_there_can_be_banned(spine: Spine) -> None:
    room_id = await spine.new_room()
    await spine.membership.ban(ALICE, room_id, BOB.user_id)
    assert await membership(spine, room_id, BOB) == "ban"


async def test_an_invite_can_be_rejected(spine: Spine) -> None:
    room_id = await private(spine)
    await spine.membership.invite(ALICE, room_id, BOB.user_id)
    await spine.membership.leave(BOB, room_id)
    assert await membership(spine, room_id, BOB) == "leave"


async def test_leaving_twice_is_no_error_but_strangers_cannot_leave(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    await spine.membership.leave(BOB, room_id)
    await spine.membership.leave(BOB, room_id)
    with pytest.raises(Forbidden):
        await spine.membership.leave(CAROL, room_id)


async def test_a_room_is_forgotten_after_leaving_only(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    with pytest.raises(Unknown):
        await spine.membership.forget(BOB, room_id)
    await spine.membership.leave(BOB, room_id)
    await spine.membership.forget(BOB, room_id)
    async with spine.database.read() as tx:
        row = await memberships.membership_of(tx, room_id, BOB.user_id)
    assert row is not None
    assert row.forgotten
    await spine.membership.join(BOB, room_id)
    async with spine.database.read() as tx:
        row = await memberships.membership_of(tx, room_id, BOB.user_id)
    assert row is not None
    assert not row.forgotten


async def test_a_knock_is_answered_with_an_invite(spine: Spine) -> None:
    room_id = await private(spine, rule={"join_rule": "knock"})
    await spine.membership.knock(BOB, room_id, reason="please")
    assert await membership(spine, room_id, BOB) == "knock"
    await spine.membership.invite(ALICE, room_id, BOB.user_id)
    await spine.membership.join(BOB, room_id)


async def test_nobody_knocks_on_a_room_that_does_not_want_it(spine: Spine) -> None:
    room_id = await private(spine)
    with pytest.raises(Forbidden):
        await spine.membership.knock(BOB, room_id)


async def test_members_of_the_named_room_may_join_a_restricted_one(spine: Spine) -> None:
    space = await spine.new_room(joined=[BOB])
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room_id = await private(spine, rule=rule)
    with pytest.raises(Forbidden):
        await spine.membership.join(CAROL, room_id)
    await spine.membership.join(BOB, room_id)
    stored = await spine.state.event(room_id, "m.room.member", BOB.user_id)
    assert stored is not None
    assert stored.event.content["join_authorised_via_users_server"] == ALICE.user_id


async def test_a_restricted_room_without_anybody_powerful_lets_nobody_in(spine: Spine) -> None:
    space = await spine.new_room(joined=[BOB, CAROL])
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room_id = await private(spine, CAROL, rule=rule, power_level_content_override={"invite": 50})
    await spine.membership.leave(ALICE, room_id)
    with pytest.raises(UnableToGrantJoin):
        await spine.membership.join(BOB, room_id)


async def test_guests_join_where_they_are_welcome(spine: Spine) -> None:
    guest = Person("@guest:hearth.example", is_guest=True)
    with pytest.raises(Forbidden):
        await spine.membership.join(guest, await spine.new_room())
    state = [{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}]
    room_id = await spine.new_room(initial_state=state)
    assert await spine.membership.join(guest, room_id) == room_id


async def test_an_unknown_room_cannot_be_joined(spine: Spine) -> None:
    with pytest.raises(NotFound):
        await spine.membership.join(BOB, "!unknown:elsewhere.example")


async def test_counts_and_servers_follow_the_members(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB, CAROL])
    await spine.membership.leave(BOB, room_id)
    for heads in (spine.heads, Spine(spine.database).heads):
        head = await heads.get(room_id)
        assert head is not None
        assert head.joined == {ALICE.user_id, CAROL.user_id}
        assert head.hosts == {"hearth.example": 2}


async def test_a_member_event_sent_as_state_is_the_operation_it_amounts_to(spine: Spine) -> None:
    room_id = await spine.new_room()
    content = {"membership": "join", "displayname": "Bobby"}
    event_id = await spine.membership.set_by_state(BOB, room_id, BOB.user_id, content)
    stored = await spine.events.get(event_id)
    assert stored is not None
    assert stored.event.content == content
    await spine.membership.set_by_state(ALICE, room_id, BOB.user_id, {"membership": "ban"})
    assert await membership(spine, room_id, BOB) == "ban"


async def test_suspended_users_may_leave_and_not_much_else(spine: Spine) -> None:
    room_id = await spine.new_room(joined=[BOB])
    event_id = await spine.say(BOB, room_id)
    suspended = Person(BOB.user_id, is_suspended=True)
    for attempt in (
        spine.say(suspended, room_id),
        spine.membership.invite(suspended, room_id, CAROL.user_id),
        spine.membership.join(suspended, await spine.new_room()),
        spine.new_room(suspended),
    ):
        with pytest.raises(UserSuspended):
            await attempt
    await spine.send.redact(suspended, room_id, event_id, {}, None)
    await spine.membership.leave(suspended, room_id)
