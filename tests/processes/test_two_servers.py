"""Two Hearths, federated."""

from tests.servers.fixtures import NewUser, StartServer


async def test_a_room_is_shared_by_two_servers_and_both_talk(start_server: StartServer, new_user: NewUser) -> None:
    here, there = await start_server("here"), await start_server("there")
    alice, bob = await new_user(here, "alice"), await new_user(there, "bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="hall", name="Hall")
    await alice.send(room_id, "before bob")
    await alice.sync()

    assert await bob.join(f"#hall:{here.name}") == room_id
    await bob.sync()
    await alice.send(room_id, "hello bob")
    await bob.wait_for_text(room_id, "hello bob")
    await bob.send(room_id, "hello alice")
    await alice.wait_for_text(room_id, "hello alice")
    assert "before bob" in [e["content"].get("body") for e in await bob.history(room_id)]
    assert {m for m in (await bob.get(f"rooms/{room_id}/joined_members"))["joined"]} == {alice.user_id, bob.user_id}


async def test_an_invite_reaches_a_user_of_another_server(start_server: StartServer, new_user: NewUser) -> None:
    here, there = await start_server("here"), await start_server("there")
    alice, bob = await new_user(here, "alice"), await new_user(there, "bob")
    room_id = await alice.create_room(preset="private_chat", invite=[bob.user_id], is_direct=True)
    invite = await bob.wait_for_invite(room_id)
    assert any(e["type"] == "m.room.create" for e in invite["invite_state"]["events"])
    await bob.join(room_id)
    await alice.send(room_id, "just us")
    await bob.wait_for_text(room_id, "just us")


async def test_messages_of_an_outage_arrive_afterwards_in_order(start_server: StartServer, new_user: NewUser) -> None:
    here, there = await start_server("here"), await start_server("there")
    alice, bob = await new_user(here, "alice"), await new_user(there, "bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id, via=here.name)
    await alice.send(room_id, "first")
    await bob.wait_for_text(room_id, "first")
    await there.stop()
    for n in range(5):
        await alice.send(room_id, f"missed {n}")
    await there.start()
    # Being heard from ends the back-off at once.
    await bob.send(room_id, "back again")
    await alice.wait_for_text(room_id, "back again")
    await bob.wait_for_text(room_id, "missed 4", seconds=60)
    bodies = [event["content"].get("body", "") for event in await bob.history(room_id)]
    missed = [body for body in bodies if body.startswith("missed")]
    assert missed == [f"missed {n}" for n in range(5)]
