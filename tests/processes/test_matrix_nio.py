"""A real client library: matrix-nio, with end-to-end encryption, two users with two devices."""

from pathlib import Path

import nio
import pytest

from tests.processes.nio_devices import new_device
from tests.servers.fixtures import StartServer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def test_matrix_nio_talks_plainly_and_encrypted_between_two_users_with_two_devices(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server("nio")
    alice = await new_device(server, tmp_path, "alice", "laptop", register=True)
    bob = await new_device(server, tmp_path, "bob", "laptop", register=True)
    phone = await new_device(server, tmp_path, f"@bob:{server.name}", "phone")
    devices = [alice, bob, phone]
    try:
        created = await alice.client.room_create(
            name="Hearth", invite=[bob.client.user_id], initial_state=[nio.EnableEncryptionBuilder().as_dict()]
        )
        assert isinstance(created, nio.RoomCreateResponse), created
        plain = await alice.client.room_create(name="Plain", invite=[bob.client.user_id])
        assert isinstance(plain, nio.RoomCreateResponse)
        await bob.sync()
        for room_id in (created.room_id, plain.room_id):
            assert isinstance(await bob.client.join(room_id), nio.JoinResponse)
        for _ in range(2):
            for device in devices:
                await device.sync()

        await alice.say(plain.room_id, "in the open")
        await bob.wait_for("in the open")
        await phone.wait_for("in the open")
        await alice.say(created.room_id, "a secret")
        for device in (bob, phone):
            await device.wait_for("a secret")
            assert device.encrypted == ["a secret"]
        await bob.say(created.room_id, "kept")
        await alice.wait_for("kept")
        await phone.wait_for("kept")

        typing = await bob.client.room_typing(plain.room_id)
        assert isinstance(typing, nio.RoomTypingResponse)
        messages = await alice.client.room_messages(plain.room_id, alice.client.next_batch, limit=50)
        assert isinstance(messages, nio.RoomMessagesResponse)
        assert "in the open" in [getattr(e, "body", None) for e in messages.chunk]
    finally:
        for device in devices:
            await device.client.close()
