"""createRoom: which events a room begins with, in which order, and what is refused."""

from typing import Any

import pytest
from sqlalchemy import select

from homeserver.core.power_levels import INFINITE_LEVEL
from homeserver.errors import InvalidParam, InvalidRoomState, RoomInUse, UnsupportedRoomVersion
from storage.tables import events as events_table
from tests.services.spine import ALICE, BOB, CAROL, SERVER, Spine


async def content(spine: Spine, room_id: str, event_type: str, state_key: str = "") -> dict[str, Any] | None:
    stored = await spine.state.event(room_id, event_type, state_key)
    return None if stored is None else stored.event.content


async def timeline(spine: Spine, room_id: str) -> list[tuple[str, str]]:
    head = await spine.heads.get(room_id)
    assert head is not None
    statement = select(events_table.c.type, events_table.c.state_key).where(events_table.c.room_nid == head.room_nid)
    async with spine.database.read() as tx:
        rows = await tx.fetch_all(statement.order_by(events_table.c.position))
    return [(row.type, row.state_key) for row in rows]


async def test_the_events_come_in_the_order_of_the_specification(spine: Spine) -> None:
    room_id = await spine.new_room(
        preset="private_chat",
        room_alias_name="pub",
        name="The pub",
        topic="Beer",
        invite=[BOB.user_id],
        initial_state=[{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}],
    )
    assert await timeline(spine, room_id) == [
        ("m.room.create", ""),
        ("m.room.member", ALICE.user_id),
        ("m.room.power_levels", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.join_rules", ""),
        ("m.room.history_visibility", ""),
        ("m.room.guest_access", ""),
        ("m.room.encryption", ""),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.member", BOB.user_id),
    ]


@pytest.mark.parametrize(
    ("preset", "join_rule", "guest_access"),
    [
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", None),
    ],
)
async def test_presets_set_the_rules_of_the_room(
    spine: Spine, preset: str, join_rule: str, guest_access: str | None
) -> None:
    room_id = await spine.new_room(preset=preset)
    assert await content(spine, room_id, "m.room.join_rules") == {"join_rule": join_rule}
    expected = None if guest_access is None else {"guest_access": guest_access}
    assert await content(spine, room_id, "m.room.guest_access") == expected
    assert await content(spine, room_id, "m.room.history_visibility") == {"history_visibility": "shared"}


async def test_without_a_preset_the_visibility_decides(spine: Spine) -> None:
    room_id, _ = await spine.create_room.create(ALICE, {"visibility": "public"})  # type: ignore[arg-type]
    assert await content(spine, room_id, "m.room.join_rules") == {"join_rule": "public"}
    assert await spine.directory.is_public(room_id)
    room_id, _ = await spine.create_room.create(ALICE, {})  # type: ignore[arg-type]
    assert await content(spine, room_id, "m.room.join_rules") == {"join_rule": "invite"}
    assert not await spine.directory.is_public(room_id)


async def test_initial_state_overrides_the_preset(spine: Spine) -> None:
    state = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room_id = await spine.new_room(initial_state=state)
    assert await content(spine, room_id, "m.room.join_rules") == {"join_rule": "knock"}


async def test_name_and_topic_override_initial_state(spine: Spine) -> None:
    state = [{"type": "m.room.name", "content": {"name": "old"}}]
    room_id = await spine.new_room(initial_state=state, name="new", topic="Beer")
    assert await content(spine, room_id, "m.room.name") == {"name": "new"}
    topic = await content(spine, room_id, "m.room.topic")
    assert topic == {"topic": "Beer", "m.topic": {"m.text": [{"body": "Beer", "mimetype": "text/plain"}]}}


async def test_power_levels_can_be_overridden(spine: Spine) -> None:
    room_id = await spine.new_room(power_level_content_override={"events_default": 25})
    levels = await content(spine, room_id, "m.room.power_levels")
    assert levels is not None
    assert levels["events_default"] == 25
    assert levels["state_default"] == 50


async def test_power_levels_that_forbid_what_was_asked_for_are_an_invalid_room(spine: Spine) -> None:
    with pytest.raises(InvalidRoomState):
        await spine.new_room(
            room_version="11", name="x", power_level_content_override={"users": {ALICE.user_id: 0}, "state_default": 50}
        )
    async with spine.database.read() as tx:
        assert await tx.fetch_value(select(events_table.c.event_nid)) is None


async def test_trusted_invitees_are_as_powerful_as_the_creator(spine: Spine) -> None:
    old = await spine.new_room(preset="trusted_private_chat", invite=[BOB.user_id], room_version="11")
    levels = await content(spine, old, "m.room.power_levels")
    assert levels is not None
    assert levels["users"] == {ALICE.user_id: 100, BOB.user_id: 100}
    new = await spine.new_room(
        preset="trusted_private_chat",
        invite=[BOB.user_id],
        room_version="12",
        creation_content={"additional_creators": [CAROL.user_id, BOB.user_id]},
    )
    create = await content(spine, new, "m.room.create")
    assert create is not None
    assert create["additional_creators"] == [CAROL.user_id, BOB.user_id]
    head = await spine.heads.get(new)
    assert head is not None
    assert (await spine.send.power_levels(head)).user(BOB.user_id) == INFINITE_LEVEL


async def test_creators_are_not_listed_where_they_stand_above_all(spine: Spine) -> None:
    levels = await content(spine, await spine.new_room(room_version="12"), "m.room.power_levels")
    assert levels is not None
    assert levels["users"] == {}
    assert levels["events"]["m.room.tombstone"] > levels["state_default"]


async def test_a_direct_chat_says_so_in_its_invites(spine: Spine) -> None:
    room_id = await spine.new_room(preset="trusted_private_chat", invite=[BOB.user_id], is_direct=True)
    invite = await content(spine, room_id, "m.room.member", BOB.user_id)
    assert invite is not None
    assert invite["is_direct"] is True


async def test_the_creation_content_cannot_choose_version_or_creator(spine: Spine) -> None:
    room_id = await spine.new_room(
        room_version="10", creation_content={"creator": BOB.user_id, "room_version": "1", "m.federate": False}
    )
    create = await content(spine, room_id, "m.room.create")
    assert create == {"creator": ALICE.user_id, "room_version": "10", "m.federate": False}


async def test_a_taken_alias_is_refused_and_makes_no_room(spine: Spine) -> None:
    room_id = await spine.new_room(room_alias_name="pub")
    assert await spine.directory.resolve(f"#pub:{SERVER}") == (room_id, [SERVER])
    with pytest.raises(RoomInUse):
        await spine.new_room(BOB, room_alias_name="pub")
    assert await spine.membership.joined_rooms(BOB) == []  # type: ignore[arg-type]


async def test_what_is_not_supported_is_refused(spine: Spine) -> None:
    with pytest.raises(UnsupportedRoomVersion):
        await spine.new_room(room_version="999")
    with pytest.raises(InvalidParam):
        await spine.new_room(invite_3pid=[{"medium": "email", "address": "a@b.c"}])
    with pytest.raises(InvalidParam):
        await spine.new_room(room_alias_name="a:b")


async def test_rooms_made_at_the_same_moment_are_two(spine: Spine) -> None:
    assert await spine.new_room() != await spine.new_room()
